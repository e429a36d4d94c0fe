# SPDX-License-Identifier: Apache-2.0
"""Starts the real `hornbeam` command, or a server to compare with, and ends it, whatever the test
did.

Runs in: the tests. Nothing here waits without a deadline: a node that does not say where it serves,
or does not end, fails the test with what it printed.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeAlias

from hornbeam_erlang._command import VARIABLE
from hornbeam_erlang.codec import encode
from hornbeam_erlang.terms import Atom

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
COMMAND = (sys.executable, "-m", "hornbeam_erlang._command")
GUNICORN = (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket")
UVICORN = (sys.executable, "-m", "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "1")
HYPERCORN = (sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:0")

# What uvicorn calls options of ours.
UVICORN_OPTIONS = {
    "lifespan": "lifespan",
    "loop": "loop",
    "websocket_max_frame_size": "ws-max-size",
}

# Does what the command does with options it was given as a term already.
LAUNCH = """
import os, sys
from hornbeam_erlang._command import command_line, serve
sys.exit(serve(command_line(), dict(os.environ)))
"""

# Seconds. Generous: a busy machine starts a node and two interpreters in a few.
START = 60.0
STOP = 45.0

Option: TypeAlias = tuple[str, object]
Child: TypeAlias = tuple[subprocess.Popen[bytes], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Served:
    """A running command: its process, where it listens, what it wrote on standard error."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    announcement: str
    stderr: IO[bytes]

    def connection(self, timeout: float = 30.0) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=timeout)

    def get(self, path: str = "/") -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = self.connection()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def node_pid(self) -> int:
        """The process id of the Erlang node, the command's only child."""
        return children(self.process.pid)[0]

    def worker_pids(self) -> list[int]:
        """The process ids of the Python workers of the node."""
        return [
            pid for pid in descendants(self.node_pid()) if b"hornbeam_erlang.worker" in name(pid)
        ]

    def errors(self) -> str:
        return text(self.stderr)


def text(file: IO[bytes]) -> str:
    """What a child has written to `file`. Its file position is the child's as well: left alone."""
    return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")


def children(pid: int) -> list[int]:
    """The ids of the child processes of `pid` (Linux)."""
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listing.split()]


def descendants(pid: int) -> list[int]:
    """The ids of the processes below `pid`."""
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def name(pid: int) -> bytes:
    """The command line of a process, NUL between the arguments."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid: int) -> bool:
    """Whether a process with this id runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = STOP) -> None:
    """Waits until `condition` holds; fails naming `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def first_line(process: subprocess.Popen[bytes], seconds: float = START) -> str:
    """The first line on standard output; what came when the process ended or time was up."""
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            if not (byte := os.read(process.stdout.fileno(), 1)):
                break
            line += byte
    return line.decode(errors="replace")


@contextmanager
def child(argv: Sequence[str], variables: Mapping[str, str]) -> Iterator[Child]:
    """A program as a child process and its standard error; it is gone afterwards."""
    with (
        TemporaryFile() as stderr,
        subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield process, stderr
        finally:
            end(process)


@contextmanager
def command(*argv: str, **variables: str) -> Iterator[Child]:
    """The hornbeam command as a child process, as `child`."""
    with child([*COMMAND, *argv], variables) as both:
        yield both


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the command as a person would, and by force when that fails."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # the second one kills the node
        process.wait(STOP)
        raise


def announced(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> Served:
    """What a command serves once it has said where; fails when it does not say."""
    announcement = first_line(process)
    found = re.search(r"https?://([\d.]+):(\d+)", announcement)
    if found is None:
        end(process)
        raise AssertionError(f"not served: {announcement!r}\n{text(stderr)}")
    return Served(process, found[1], int(found[2]), announcement, stderr)


@contextmanager
def serving(app: str, app_dir: Path, *options: str, **variables: str) -> Iterator[Served]:
    """Serves `app` (module:callable in `app_dir`) on a port the kernel chooses.

    Args: options: further options of the command. variables: on top of the environment.
    """
    argv = ("--bind", "127.0.0.1:0", "--app-dir", str(app_dir), *options, app)
    with command(*argv, **variables) as (process, stderr):
        yield announced(process, stderr)


@contextmanager
def peer(argv: Sequence[str], listening: str, variables: Mapping[str, str]) -> Iterator[Served]:
    """A server to compare with, which says on standard error where it listens.

    Args: listening: the pattern of that line; its groups are the URL, the host and the port.
    """
    pattern = re.compile(listening)
    with child(argv, variables) as (process, stderr):
        wait_until(
            lambda: process.poll() is not None or bool(pattern.search(text(stderr))),
            f"{argv[2]} listens",
            START,
        )
        found = pattern.search(text(stderr))
        if found is None or process.poll() is not None:
            raise AssertionError(f"{argv[2]} does not serve:\n{text(stderr)}")
        yield Served(process, found[2], int(found[3]), found[1], stderr)


def gunicorn(
    app: str, app_dir: Path, *options: str, **variables: str
) -> AbstractContextManager[Served]:
    """Serves `app` with gunicorn, the server whose answers ours are compared with; as `serving`."""
    argv = (*GUNICORN, "--chdir", str(app_dir), *options, app)
    return peer(argv, r"Listening at: (http://([\d.]+):(\d+))", variables)


def uvicorn(
    app: str, app_dir: Path, *options: Option, **variables: str
) -> AbstractContextManager[Served]:
    """Serves an ASGI `app` with uvicorn; options are named as hornbeam's."""
    given = (f"--{UVICORN_OPTIONS[name]}={value}" for name, value in options)
    argv = (*UVICORN, "--app-dir", str(app_dir), *given, app)
    return peer(argv, r"running on (http://([\d.]+):(\d+))", variables)


def hypercorn(app: str, app_dir: Path, **variables: str) -> AbstractContextManager[Served]:
    """Serves an ASGI `app` with hypercorn, which speaks HTTP/2 without TLS as well."""
    argv = (*HYPERCORN, "--graceful-timeout", "1", app)
    paths = {"PYTHONPATH": str(app_dir), **variables}
    return peer(argv, r"Running on (http://([\d.]+):(\d+))", paths)


@contextmanager
def node(app: str, app_dir: Path, *options: Option, **variables: str) -> Iterator[Served]:
    """The command's node, with options of hornbeam:start/2 that the command line does not have.

    Args: options: names and values, which come after one worker, this interpreter and any port of
        127.0.0.1; tuples are lists.
    """
    usual: dict[str, object] = {"bind": "127.0.0.1:0", "workers": 1, "python": sys.executable}
    given = {**usual, "pythonpath": (str(app_dir),), **dict(options)}
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    term = encode((app, {Atom(name): value for name, value in lists.items()}))
    argv = (sys.executable, "-c", LAUNCH)
    with child(argv, {**variables, VARIABLE: term.hex()}) as (process, stderr):
        yield announced(process, stderr)
