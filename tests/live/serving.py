# SPDX-License-Identifier: Apache-2.0
"""Starts the real `hornbeam` command, or gunicorn to compare with, and ends it, whatever the test
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
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
COMMAND = (sys.executable, "-m", "hornbeam_erlang._command")
GUNICORN = (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket")

# Seconds. Generous: a busy machine starts a node and two interpreters in a few.
START = 60.0
STOP = 45.0

Child: TypeAlias = tuple[subprocess.Popen[bytes], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Served:
    """A running command: its process, where it listens, what it wrote on standard error."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    announcement: str
    stderr: IO[bytes]

    def connection(self, timeout: float = 10.0) -> HTTPConnection:
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


@contextmanager
def serving(app: str, app_dir: Path, *options: str, **variables: str) -> Iterator[Served]:
    """Serves `app` (module:callable in `app_dir`) on a port the kernel chooses.

    Args: options: further options of the command. variables: on top of the environment.
    """
    argv = ("--bind", "127.0.0.1:0", "--app-dir", str(app_dir), *options, app)
    with command(*argv, **variables) as (process, stderr):
        announcement = first_line(process)
        found = re.search(r"https?://([\d.]+):(\d+)", announcement)
        if found is None:
            end(process)
            raise AssertionError(f"not served: {announcement!r}\n{text(stderr)}")
        yield Served(process, found[1], int(found[2]), announcement, stderr)


@contextmanager
def gunicorn(app: str, app_dir: Path, *options: str, **variables: str) -> Iterator[Served]:
    """Serves `app` with gunicorn, the server whose answers ours are compared with; as `serving`."""
    argv = (*GUNICORN, "--chdir", str(app_dir), *options, app)
    with child(argv, variables) as (process, stderr):
        listening = re.compile(r"Listening at: (http://([\d.]+):(\d+))")
        wait_until(
            lambda: process.poll() is not None or bool(listening.search(text(stderr))),
            "gunicorn listens",
            START,
        )
        found = listening.search(text(stderr))
        if found is None or process.poll() is not None:
            raise AssertionError(f"gunicorn does not serve:\n{text(stderr)}")
        yield Served(process, found[2], int(found[3]), found[1], stderr)
