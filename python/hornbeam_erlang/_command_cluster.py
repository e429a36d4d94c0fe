# SPDX-License-Identifier: Apache-2.0
"""The options of the command that make its node one of a cluster: its name, what it listens on for
other nodes, its cookie, whom it joins.

Runs in: the process of the command (`_command`). Without a name the node is not distributed, and
every other option here is refused.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from . import _cookie
from .terms import Atom

# No EPMD and no name: nothing is started, nobody can connect.
NOT_DISTRIBUTED = ("-start_epmd", "false")

NODE = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9_.:-]+")

# The options that a node without a name has no use for.
NAMED_ONLY = (
    "cookie_file",
    "join",
    "join_dns",
    "dist_interface",
    "dist_port",
    "dist_ports",
    "dist_tls",
    "net_ticktime",
)


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Adds the options to the command line."""
    group = command.add_argument_group(
        "cluster", f"off without a name; the cookie may also be in the variable {_cookie.VARIABLE}"
    )
    names = group.add_mutually_exclusive_group()
    names.add_argument("--name", type=long_name, metavar="NAME@HOST", help="name with a full host")
    names.add_argument(
        "--sname", type=node_name, metavar="NAME@HOST", help="name with a short host"
    )
    add = group.add_argument
    add(
        "--cookie-file",
        metavar="FILE",
        help="made with a random cookie if missing (~/.erlang.cookie)",
    )
    add("--join", action="append", type=node_name, metavar="NAME@HOST", help="a node to connect to")
    add("--join-dns", metavar="HOST", help="a name whose addresses, or SRV targets, are nodes")
    add("--dist-interface", type=address, metavar="ADDRESS", help="where other nodes connect")
    ports = group.add_mutually_exclusive_group()
    ports.add_argument("--dist-ports", type=ports_of, metavar="MIN-MAX", help="ports for that")
    ports.add_argument(
        "--dist-port", type=port, metavar="PORT", help="the port of all nodes: no EPMD is needed"
    )
    add("--dist-tls", metavar="FILE", help="TLS between nodes; FILE: Erlang's ssl_dist_optfile")
    add("--net-ticktime", type=seconds, metavar="S", help="a silent node is down after S seconds")


def node_name(text: str) -> str:
    """The type of an argument: the name of a node."""
    if len(text) > 255 or not NODE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a node: expected NAME@HOST")
    return text


def long_name(text: str) -> str:
    """The type of --name: Erlang wants a host with a dot, or an address."""
    _, _, host = node_name(text).partition("@")
    if "." not in host and ":" not in host:
        raise argparse.ArgumentTypeError(
            f"{text!r}: the host has no dot; use a full name or an address, or --sname"
        )
    return text


def address(text: str) -> str:
    """The type of --dist-interface."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as reason:
        raise argparse.ArgumentTypeError(str(reason)) from reason


def port(text: str) -> int:
    """The type of --dist-port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 1 to 65535")
    return int(text)


def ports_of(text: str) -> tuple[int, int]:
    """The type of --dist-ports."""
    first, _, last = text.partition("-")
    low, high = port(first), port(last)
    if low > high:
        raise argparse.ArgumentTypeError(f"{text!r}: the first port is above the last one")
    return low, high


def seconds(text: str) -> int:
    """The type of --net-ticktime."""
    if not text.isdecimal() or not 1 <= int(text) <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 86400 seconds")
    return int(text)


def check(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the program with status 2 and the reason where the options do not fit together."""
    if arguments.name is None and arguments.sname is None:
        for option in NAMED_ONLY:
            if getattr(arguments, option) is not None:
                flag = f"--{option.replace('_', '-')}"
                command.error(f"argument {flag}: has no effect without --name or --sname")
    if arguments.dist_tls is not None and not os.path.isfile(arguments.dist_tls):
        command.error(f"argument --dist-tls: {arguments.dist_tls} is not a file")


def is_distributed(arguments: argparse.Namespace) -> bool:
    """Whether the node is one of a cluster."""
    return arguments.name is not None or arguments.sname is not None


def cluster_option(arguments: argparse.Namespace) -> dict[Atom, object] | None:
    """The node's option `cluster`, None when it joins nobody."""
    given = {"nodes": arguments.join, "dns": arguments.join_dns}
    return {Atom(key): value for key, value in given.items() if value is not None} or None


def distribution_flags(arguments: argparse.Namespace) -> list[str]:
    """What the emulator is told of the distribution: nothing starts unless it is asked for."""
    if not is_distributed(arguments):
        return list(NOT_DISTRIBUTED)
    flags = [*name_flags(arguments), *port_flags(arguments)]
    interface = dist_interface(arguments)
    if interface is not None:
        flags += ["-kernel", "inet_dist_use_interface", erlang_address(interface)]
    if arguments.net_ticktime is not None:
        flags += ["-kernel", "net_ticktime", str(arguments.net_ticktime)]
    family = "inet6" if interface is not None and interface.version == 6 else "inet"
    if arguments.dist_tls is not None:
        file = os.path.abspath(arguments.dist_tls)
        flags += ["-proto_dist", f"{family}_tls", "-ssl_dist_optfile", file]
    elif family == "inet6":
        flags += ["-proto_dist", "inet6_tcp"]
    return flags


def name_flags(arguments: argparse.Namespace) -> list[str]:
    return ["-name", arguments.name] if arguments.name else ["-sname", arguments.sname]


def port_flags(arguments: argparse.Namespace) -> list[str]:
    """One port for all nodes of the cluster makes EPMD, which would tell it, superfluous."""
    low, high = arguments.dist_ports or (arguments.dist_port, arguments.dist_port)
    if low is None:
        return []
    flags = ["-kernel", "inet_dist_listen_min", str(low), "inet_dist_listen_max", str(high)]
    if arguments.dist_port is not None:
        flags += ["-start_epmd", "false", "-erl_epmd_port", str(low)]
    return flags


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def dist_interface(arguments: argparse.Namespace) -> Address | None:
    """Where the node listens for others; None for every interface.

    What was asked for, else the address in the node's name, loopback for localhost.
    """
    if arguments.dist_interface is not None:
        return ipaddress.ip_address(arguments.dist_interface)
    host = (arguments.name or arguments.sname).partition("@")[2]
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None


def erlang_address(interface: Address) -> str:
    """The address as Erlang's parser of command lines reads it."""
    size = 1 if interface.version == 4 else 2
    packed = interface.packed
    numbers = [packed[at : at + size] for at in range(0, len(packed), size)]
    return "{" + ",".join(str(int.from_bytes(number, "big")) for number in numbers) + "}"


@contextmanager
def cookie_variables(arguments: argparse.Namespace) -> Iterator[dict[str, str | None]]:
    """Variables of the node's environment that give it its cookie, None for one to unset.

    Erlang reads the cookie from the home directory, from a file that only its owner may read. For
    another cookie than that one the node gets a home of its own, of which hornbeam_command tells
    nobody (HORNBEAM_HOME has the real one): on the command line every user could read the cookie.

    Raises: _cookie.CookieError.
    """
    if not is_distributed(arguments):
        yield {_cookie.VARIABLE: None}
        return
    cookie, is_at_home = _cookie.chosen(arguments.cookie_file, os.environ.get(_cookie.VARIABLE))
    always: dict[str, str | None] = {_cookie.VARIABLE: None, **epmd_variables(arguments)}
    if is_at_home:
        yield {**always, "HOME": str(Path.home())}
        return
    with home_with(cookie) as home:
        yield {**always, **home}


def epmd_variables(arguments: argparse.Namespace) -> dict[str, str]:
    """An EPMD that is started for a node on loopback listens there, too."""
    interface = dist_interface(arguments)
    if interface is not None and interface.is_loopback and "ERL_EPMD_ADDRESS" not in os.environ:
        return {"ERL_EPMD_ADDRESS": str(interface)}
    return {}


@contextmanager
def home_with(cookie: str) -> Iterator[dict[str, str]]:
    """A home directory that holds nothing but the cookie, for as long as the emulator starts, which
    removes it when it has (`hornbeam_command:restore_home/0`)."""
    with TemporaryDirectory(prefix="hornbeam-") as private:
        file = Path(private) / _cookie.FILE_NAME
        file.touch(0o600)
        file.write_text(cookie, encoding="ascii")
        yield {"HOME": private, "HORNBEAM_HOME": str(Path.home())}
