# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared, as a table, and how one is started and ended.

Runs in: the process of the benchmark. A server is a command line; a row more is a server more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile

APPS = Path(__file__).resolve().parent / "apps"
HOST = "127.0.0.1"

# Seconds until a server must answer, and until it must have ended after SIGTERM.
START = 30.0
STOP = 20.0


class ServerFailed(Exception):
    """A server did not come up; the text holds what it printed."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row: how it is called, which package it needs, its command line for a port."""

    name: str
    package: str
    describe: str
    command: Callable[[int], list[str]]


def hornbeam(*options: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        module = [sys.executable, "-m", "hornbeam_erlang._command"]
        where = ["--bind", f"{HOST}:{port}", "--app-dir", str(APPS)]
        return [*module, *where, *options, "bench_wsgi:application"]

    return command


def gunicorn(port: int) -> list[str]:
    shape = ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    where = ["--bind", f"{HOST}:{port}", "--log-level", "warning"]
    return [sys.executable, "-m", "gunicorn", *shape, *where, "bench_wsgi:application"]


def uvicorn(port: int) -> list[str]:
    shape = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--workers", "1"]
    where = ["--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *shape, *where, "bench_asgi:application"]


def granian(interface: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        shape = ["--interface", interface, "--workers", "1", "--no-ws"]
        where = ["--host", HOST, "--port", str(port), "--log-level", "warning"]
        program = [sys.executable, "-m", "granian"]
        return [*program, *shape, *where, f"bench_{interface}:application"]

    return command


SERVERS = {
    server.name: server
    for server in (
        Server("hornbeam", "hornbeam", "WSGI, defaults", hornbeam()),
        Server("gunicorn", "gunicorn", "WSGI, gthread, 2 workers x 4 threads", gunicorn),
        Server("uvicorn", "uvicorn", "ASGI, httptools and uvloop, 1 worker", uvicorn),
        Server("granian-wsgi", "granian", "WSGI, 1 worker", granian("wsgi")),
        Server("granian-asgi", "granian", "ASGI, 1 worker", granian("asgi")),
        Server("hornbeam-w1", "hornbeam", "WSGI, 1 worker", hornbeam("--workers", "1")),
    )
}
DEFAULT = ("hornbeam", "gunicorn", "uvicorn", "granian-wsgi", "granian-asgi")


def free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Whether the server on `port` answers 200."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def wait_for_answer(process: subprocess.Popen[bytes], port: int) -> bool:
    """Waits until the server answers; False when it ended or START seconds passed."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        if answers(port):
            return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def running(server: Server) -> Iterator[tuple[int, int]]:
    """Runs `server` for the time of the block. Yields: its process id and its port.

    Raises: ServerFailed: it ended or did not answer in time.
    """
    port = free_port()
    with (
        TemporaryFile() as log,
        subprocess.Popen(
            server.command(port),
            cwd=APPS,
            env={**os.environ, "PYTHONPATH": str(APPS)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            if not wait_for_answer(process, port):
                log.seek(0)
                raise ServerFailed(f"{server.name}: {log.read().decode(errors='replace')}")
            yield process.pid, port
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and waits for it; kills its process group when it does not obey."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP)
