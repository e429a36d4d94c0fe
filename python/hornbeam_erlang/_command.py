# SPDX-License-Identifier: Apache-2.0
"""The `hornbeam` command: starts an Erlang node in the foreground that serves one application.

Runs in: the process a person or a service manager starts. It hands its options to the module
hornbeam_command of the node as one external term in the environment, passes SIGTERM and SIGINT on
as SIGTERM, and ends with the node's status. The node watches its standard input, a pipe held here,
so it ends as well when this process is killed.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import FrameType

from . import _command_cluster, _command_options, codec
from ._cookie import CookieError
from ._emulator import code_folders, erl
from ._spin import processors
from .errors import StartFailed
from .terms import Atom

VARIABLE = "HORNBEAM_COMMAND"

# Sockets and ports the node may have open at once: each costs the emulator memory at its start.
OPEN_FILES = 65536

# Schedulers sleep when idle, for the workers need the processor; logs on stderr.
EMULATOR_FLAGS = (
    ("-noshell",)
    + ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+Q", str(OPEN_FILES))
    + ("-kernel", "logger")
    + ("[{handler,default,logger_std_h,#{config=>#{type=>standard_error}}}]",)
)

# Two schedulers, one of them in reserve (hornbeam_schedulers). Good fit instead of the emulator's
# address order, which costs a tree operation per block; what it is for, carriers that move between
# schedulers, one scheduler does not have.
TWO_PROCESSORS_FLAGS = ("+S", "2:1") + tuple(
    part for kind in "BHR" for part in (f"+M{kind}as", "gf", f"+M{kind}acul", "0")
)


def parser() -> argparse.ArgumentParser:
    """The command line. What an option does not say is left to the node's defaults."""
    command = argparse.ArgumentParser(
        prog="hornbeam", description="Serve a Python web application from an Erlang node."
    )
    add = command.add_argument
    add("app", metavar="module:callable", help="the application, or module:factory()")
    add(
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="host:port, [v6]:port, port or unix:/path; may be repeated (127.0.0.1:8000)",
    )
    add("--app-dir", default=".", metavar="DIR", help="folder that modules are looked for in (.)")
    add("--workers", type=int, metavar="N", help="Python processes (one per processor)")
    add("--threads", type=int, metavar="N", help="requests a worker runs at once (1)")
    add("--interface", choices=("wsgi", "asgi"), help="what the application speaks (wsgi)")
    add("--timeout", type=int, metavar="MS", help="milliseconds a request may take (30000)")
    add("--max-connections", type=int, metavar="N", help="connections, for each address (16384)")
    add_tls(command)
    _command_options.add_options(command)
    _command_cluster.add_cluster(command)
    add("--version", action="version", version=f"hornbeam {version('hornbeam')}")
    return command  # fmt: skip


def add_tls(command: argparse.ArgumentParser) -> None:
    """Options of TLS; what they mean together is the node's to check."""
    add = command.add_argument_group("TLS", "PEM files; changed ones are read anew").add_argument
    add("--certfile", metavar="FILE", help="certificate and chain; switches TLS on")
    add("--keyfile", metavar="FILE", help="private key (in the certificate's file)")
    add("--keyfile-password", metavar="TEXT", help="what the key is encrypted with")
    add("--cacertfile", metavar="FILE", help="authorities of clients' certificates")
    add("--verify", choices=("none", "optional", "required"), help="clients' certificates (none)")
    add("--ciphers", metavar="NAMES", help="cipher suites, with colons between")
    add("--tls-min-version", choices=("1.2", "1.3"), help="oldest version of TLS (1.2)")


def tls_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Those options under the node's names, None for what was not given."""
    verify, version = arguments.verify, arguments.tls_min_version
    return {
        "ssl": None if arguments.certfile is None else True,
        "certfile": arguments.certfile,
        "keyfile": arguments.keyfile,
        "keyfile_password": arguments.keyfile_password,
        "cacertfile": arguments.cacertfile,
        "verify": None if verify is None else Atom(verify),
        "ciphers": arguments.ciphers,
        "tls_min_version": None if version is None else Atom(f"tlsv{version}"),
    }


def scheduler_flags(count: int) -> tuple[str, ...]:
    """The emulator's schedulers on a machine of `count` processors.

    Of two processors the node takes one and leaves the other to the workers: two schedulers
    cost the node about a quarter more processor time per request (benchmarks/README.md). The
    second is in reserve for what is work of the node alone. With more processors the emulator's
    own choice, one each, stands.
    """
    return TWO_PROCESSORS_FLAGS if count == 2 else ()


def node_options(arguments: argparse.Namespace) -> dict[Atom, object]:
    """The options for hornbeam:start/2, named as there; only those that were given."""
    interface = arguments.interface
    given = {
        "bind": arguments.bind,
        "workers": processors() if arguments.workers is None else arguments.workers,
        "threads": arguments.threads,
        "worker_class": None if interface is None else Atom(interface),
        "timeout": arguments.timeout,
        "max_connections": arguments.max_connections,
        **tls_options(arguments),
        "cluster": _command_cluster.cluster_option(arguments),
        **_command_options.given(arguments),
        "pythonpath": [os.path.abspath(arguments.app_dir)],
        "python": sys.executable if arguments.venv is None else None,
    }
    return {Atom(name): value for name, value in given.items() if value is not None}


def environment(arguments: argparse.Namespace, changes: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment with these changes, and the term that hornbeam_command reads."""
    term = codec.encode((arguments.app, node_options(arguments)))
    variables = {**os.environ, **changes, VARIABLE: term.hex()}
    return {name: value for name, value in variables.items() if value is not None}


def command_line(distribution: Sequence[str] = _command_cluster.NOT_DISTRIBUTED) -> list[str]:
    """The program and the arguments that start the node.

    Args: distribution: further flags of the emulator, `_command_cluster.distribution_flags`.
    Raises: StartFailed.
    """
    flags = (*EMULATOR_FLAGS, *scheduler_flags(processors()), *distribution)
    return [erl(), *flags, "-pa", *code_folders(), "-s", "hornbeam_command", "main"]


class Signals:
    """Passes signals on to the node: SIGTERM for the first one, SIGKILL for every further one."""

    def __init__(self) -> None:
        self.node: subprocess.Popen[bytes] | None = None
        self.received = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.receive)

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received += 1
        if self.node is not None:
            self.node.send_signal(signal.SIGTERM if self.received == 1 else signal.SIGKILL)

    def attach(self, node: subprocess.Popen[bytes]) -> None:
        """From now on `node` gets them; one that came before it was there is delivered."""
        self.node = node
        if self.received:
            node.terminate()


def allow_open_files() -> None:
    """Raises the soft limit of open files as far as the node can use it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(command: Sequence[str], variables: dict[str, str]) -> int:
    """Runs the node until it ends; its exit status, 128 + N when signal N ended it."""
    signals = Signals()
    allow_open_files()
    # A process group of its own: a Ctrl-C at the terminal reaches it through here, once.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=variables, process_group=0) as node:
        signals.attach(node)
        # No deadline: it serves until it is told to stop, and a second signal kills it.
        status = node.wait()
    return status if status >= 0 else 128 - status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (default: the process's own). Returns: the exit status."""
    command = parser()
    arguments = command.parse_args(argv)
    if not os.path.isdir(arguments.app_dir):
        command.error(f"argument --app-dir: {arguments.app_dir} is not a folder")
    _command_cluster.check(command, arguments)
    try:
        flags = _command_cluster.distribution_flags(arguments)
        with _command_cluster.cookie_variables(arguments) as changes:
            return serve(command_line(flags), environment(arguments, changes))
    except (StartFailed, CookieError) as reason:
        print(f"hornbeam: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
