# SPDX-License-Identifier: Apache-2.0
"""The `hornbeam-worker` command: attaches Python workers of this machine to a node on another one,
to serve requests of an application, or as providers of hooks.

Runs in: the process that a person or a service manager starts. It loads nothing of the application:
each worker is a child process (`_attached_worker`), replaced when it ends, as the node replaces its
own. SIGTERM and SIGINT drain them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from . import _command_cluster, _cookie
from ._worker_processes import Workers

LABEL_BYTES = 255


def label(text: str) -> tuple[str, str]:
    """The type of --label."""
    name, equals, value = text.partition("=")
    if not name or not equals or max(len(name.encode()), len(value.encode())) > LABEL_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no label: expected NAME=VALUE")
    return name, value


def number(text: str) -> int:
    """The type of --workers and --threads."""
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 1024")
    return int(text)


def seconds(text: str) -> float:
    """The type of --connect-timeout and --graceful-timeout."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, at most 86400")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="hornbeam-worker",
        description="Attach Python workers to a hornbeam node on another machine.",
    )
    add = command.add_argument
    add("app", nargs="?", metavar="module:callable", help="the application, as the node names it")
    add("--hooks", metavar="MODULE", help="instead of it: provide the hooks that MODULE registers")
    add("--node", required=True, type=_command_cluster.node_name, metavar="NAME@HOST")
    add(
        "--cookie-file",
        metavar="FILE",
        help="with the cluster's cookie (~/.erlang.cookie);"
        f" it may also be in the variable {_cookie.VARIABLE}",
    )
    add("--cookie", metavar="TEXT", help="the cookie itself, which all users of this machine see")
    add("--dist-port", type=_command_cluster.port, metavar="PORT", help="without EPMD")
    add("--label", type=label, action="append", default=[], metavar="NAME=VALUE")
    add("--workers", type=number, default=1, metavar="N", help="processes (1)")
    add("--threads", type=number, metavar="N", help="with --hooks: handlers at once (1)")
    add("--app-dir", default=".", metavar="DIR", help="folder that modules are looked for in (.)")
    add("--connect-timeout", type=seconds, default=10.0, metavar="S", help="at the start (10)")
    add("--graceful-timeout", type=seconds, default=30.0, metavar="S", help="at the end (30)")
    add("--version", action="version", version=f"hornbeam {version('hornbeam')}")
    return command  # fmt: skip


def check(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the program with status 2 and the reason where the options do not fit together."""
    if (arguments.app is None) == (arguments.hooks is None):
        command.error("give either module:callable or --hooks MODULE")
    if arguments.threads is not None and arguments.hooks is None:
        command.error("argument --threads: an application has as many as the node says")
    if len(dict(arguments.label)) != len(arguments.label):
        command.error("argument --label: the same name twice")
    if arguments.cookie is not None and arguments.cookie_file is not None:
        command.error("argument --cookie: not together with --cookie-file")
    if not os.path.isdir(arguments.app_dir):
        command.error(f"argument --app-dir: {arguments.app_dir} is not a folder")


def cookie(arguments: argparse.Namespace) -> str:
    """Raises: _cookie.CookieError."""
    if arguments.cookie is not None:
        return _cookie.check(arguments.cookie, "argument --cookie")
    chosen, _ = _cookie.chosen(arguments.cookie_file, os.environ.get(_cookie.VARIABLE))
    return chosen


def job(arguments: argparse.Namespace) -> dict[str, Any]:
    """What each worker is told; `_attach.Wish`, but for its name."""
    return {
        "path": [os.path.abspath(arguments.app_dir)],
        "node": arguments.node,
        "cookie": cookie(arguments),
        "kind": "worker" if arguments.hooks is None else "hooks",
        "app": arguments.app if arguments.hooks is None else arguments.hooks,
        "port": arguments.dist_port,
        "labels": dict(arguments.label),
        "threads": arguments.threads if arguments.hooks is None else arguments.threads or 1,
        "seconds": arguments.connect_timeout,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (default: the process's own). Returns: the exit status."""
    command = parser()
    arguments = command.parse_args(argv)
    check(command, arguments)
    try:
        told = job(arguments)
    except _cookie.CookieError as reason:
        print(f"hornbeam-worker: {reason}", file=sys.stderr)
        return 1
    # Of the same name as before a worker takes the place of the connection that it has lost, of
    # which the node may not know yet; and the node's table of atoms does not grow.
    name = f"hornbeam-worker-{os.getpid()}-{secrets.token_hex(4)}"
    return Workers(told, name, arguments.workers, arguments.graceful_timeout).run()


if __name__ == "__main__":
    sys.exit(main())
