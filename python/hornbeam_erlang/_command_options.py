# SPDX-License-Identifier: Apache-2.0
"""Options of the `hornbeam` command that the node has under the same name: one table.

Runs in: the process of the command. What a value may be is the node's to check; here it is only
given its type.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from .terms import Atom


@dataclass(frozen=True, slots=True)
class Option:
    """One flag.

    Attributes:
        name: as the node has it; the flag has hyphens.
        read: makes the node's value of the text; None for a flag that takes none.
        metavar: what the value is, with its unit.
        help: with the default in parentheses.
        choices: the values there are.
        repeats: whether it may be given several times, for a list.
    """

    name: str
    read: Callable[[str], object] | None
    metavar: str | None
    help: str
    choices: tuple[object, ...] | None = None
    repeats: bool = False


def integer_or_infinity(text: str) -> object:
    """A number, or no limit.

    Raises: ValueError: neither, for argparse to report.
    """
    return Atom("infinity") if text == "infinity" else int(text)


def seconds(text: str) -> object:
    """A number of seconds, whole or not. Raises: ValueError."""
    return int(text) if text.isdigit() else float(text)


def variable(text: str) -> tuple[str, object]:
    """NAME=VALUE, or NAME alone, which unsets it. Raises: ValueError."""
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError(text)
    return name, value if equals else False


def protocol(text: str) -> object:
    """The node's name of a version of HTTP, of which the number is enough."""
    return Atom("HTTP/" + text.removeprefix("HTTP/"))


def rules(text: str) -> object:
    """What may be called on which nodes: all, none, or rules with commas between."""
    if text in ("all", "none"):
        return Atom(text)
    return [rule(each) for each in text.split(",")]


def rule(text: str) -> tuple[str, ...]:
    """MODULE, FUNCTION and NODE, which may be an address with colons; `*` for what is left out."""
    parts = text.split(":", 2)
    return (*parts, *["*"] * (3 - len(parts)))


def labels(text: str) -> dict[str, str]:
    """Names and values. Raises: ValueError: a part has no `=`."""
    return dict(each.split("=", 1) for each in text.split(","))


def one_of(name: str, help: str, *choices: str) -> Option:
    return Option(name, Atom, None, help, tuple(map(Atom, choices)))


N, MS, BYTES = "N", "MS", "BYTES"
LIMIT = integer_or_infinity

SERVER = (
    Option(
        "http_version",
        protocol,
        None,
        "what clients may speak; may be repeated (both)",
        (Atom("HTTP/1.1"), Atom("HTTP/2")),
        repeats=True,
    ),
    Option("keepalive", seconds, "S", "seconds a connection may idle between requests (2)"),
    Option("max_concurrent_streams", int, N, "requests of an HTTP/2 connection at once (128)"),
    Option("num_acceptors", int, N, "processes that accept connections, for each address (10)"),
)
REQUESTS = (
    Option("queue_limit", int, N, "requests that may wait for a worker (1000)"),
    Option("queue_timeout", LIMIT, MS, "milliseconds they may wait (as --timeout)"),
    Option("graceful_timeout", int, MS, "milliseconds for open requests at the end (30000)"),
    Option("body_buffer", int, BYTES, "bodies up to this size are gathered (65536)"),
    Option("max_body", LIMIT, BYTES, "a larger body is refused (1073741824)"),
    Option("max_headers", int, N, "header names in a request (100)"),
    Option("max_header_size", int, BYTES, "name and value of a header (8190)"),
    Option("max_request_line_size", int, BYTES, "method, target and version (8190)"),
)
WORKERS = (
    Option("max_requests", LIMIT, N, "requests after which a worker is replaced (infinity)"),
    Option("max_requests_jitter", int, N, "a random number up to this is added (0)"),
    Option("venv", str, "DIR", "virtual environment of the workers (that of this command)"),
    Option(
        "erlport",
        str,
        "MODULE",
        "module that Erlang code may call as with ErlPort; may be repeated ([])",
        repeats=True,
    ),
    Option(
        "env",
        variable,
        "NAME=VALUE",
        "environment variable of the workers; NAME alone unsets it; may be repeated ([])",
        repeats=True,
    ),
)
ASGI = (
    one_of("loop", "event loop; auto: uvloop when installed (auto)", "auto", "asyncio", "uvloop"),
    one_of("lifespan", "start-up and shutdown events (auto)", "auto", "on", "off"),
    Option("lifespan_timeout", int, MS, "milliseconds for start-up, and for shutdown (30000)"),
    Option("max_concurrent", int, N, "requests a worker runs at once (1000)"),
    Option("websocket_timeout", LIMIT, MS, "a silent WebSocket is closed (60000)"),
    Option("websocket_ping_interval", LIMIT, MS, "a silent client is sent a ping (20000)"),
    Option("websocket_max_frame_size", int, BYTES, "a larger message is refused (16777216)"),
    Option("websocket_compress", None, None, "permessage-deflate where clients offer it (false)"),
)
SHARED = (
    Option("state_max_entries", LIMIT, N, "keys of the shared state (10000000)"),
    Option("state_max_bytes", LIMIT, BYTES, "keys and values together (1073741824)"),
    Option("cache_max_entries", LIMIT, N, "results in the cache (100000)"),
    Option("cache_max_bytes", LIMIT, BYTES, "results together (268435456)"),
    Option("pubsub_backlog", int, N, "messages kept for slow subscribers (1024)"),
    Option("pubsub_backlog_bytes", int, BYTES, "the same in bytes (16777216)"),
    Option("pubsub_backlog_age", int, MS, "the same in milliseconds (30000)"),
    Option("task_result_ttl", int, MS, "how long results of tasks are kept (3600000)"),
    Option("task_limit", int, N, "tasks and their results (10000)"),
)
NODES = (
    Option("remote_workers", int, N, "workers from other machines that may serve (0)"),
    Option("remote_labels", labels, "NAME=VALUE,...", "labels that such a worker must have (#{})"),
    Option("remote_clients", int, N, "programs that may be attached at once (64)"),
    Option(
        "rpc_allow",
        rules,
        "RULES",
        "what rpc_call may call: all, none, or MODULE[:FUNCTION[:NODE]],... with * for anything"
        " (all)",
    ),
)
GROUPS = {
    "HTTP": SERVER,
    "requests": REQUESTS,
    "workers": WORKERS,
    "ASGI and WebSocket": ASGI,
    "state, cache, topics and tasks": SHARED,
    "other nodes": NODES,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Adds the flags of the table."""
    for title, options in GROUPS.items():
        group = command.add_argument_group(title)
        for option in options:
            add(group, option)


def add(group: argparse._ArgumentGroup, option: Option) -> None:
    flag = "--" + option.name.replace("_", "-")
    if option.read is None:
        group.add_argument(flag, action="store_true", default=None, help=option.help)
        return
    group.add_argument(
        flag,
        type=option.read,
        metavar=option.metavar or "{" + ",".join(map(shown, option.choices or ())) + "}",
        help=option.help,
        choices=option.choices,
        action="append" if option.repeats else "store",
    )


def shown(choice: object) -> str:
    """What is typed for it."""
    return str(choice).removeprefix("HTTP/")


def given(arguments: argparse.Namespace) -> dict[str, object]:
    """The options of the table under the node's names, None for what was not given."""
    options = [option for group in GROUPS.values() for option in group]
    return {option.name: getattr(arguments, option.name) for option in options}
