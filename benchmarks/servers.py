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

from load import HOST

APPS = Path(__file__).resolve().parent / "apps"

# Seconds until a server must answer, and until it must have ended after SIGTERM.
START = 30.0
STOP = 20.0


class ServerFailed(Exception):
    """A server did not come up; the text holds what it printed."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row: how it is called, which packages it needs, its command line for a port.

    With `redis` it gets a redis-server of its own, on the port in BENCH_REDIS_PORT.
    """

    name: str
    packages: tuple[str, ...]
    describe: str
    command: Callable[[int], list[str]]
    redis: bool = False


def hornbeam(application: str, *options: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        module = [sys.executable, "-m", "hornbeam_erlang._command"]
        where = ["--bind", f"{HOST}:{port}", "--app-dir", str(APPS)]
        return [*module, *where, *options, application]

    return command


def gunicorn(port: int) -> list[str]:
    shape = ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    where = ["--bind", f"{HOST}:{port}", "--log-level", "warning"]
    return [sys.executable, "-m", "gunicorn", *shape, *where, "bench_wsgi:application"]


def uvicorn(application: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        shape = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--workers", "1"]
        where = ["--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", *shape, *where, application]

    return command


def granian(interface: str, *options: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        shape = ["--interface", interface, "--workers", "1", *options]
        where = ["--host", HOST, "--port", str(port), "--log-level", "warning"]
        program = [sys.executable, "-m", "granian"]
        return [*program, *shape, *where, f"bench_{interface}:application"]

    return command


def hypercorn(port: int) -> list[str]:
    shape = ["--worker-class", "uvloop", "--workers", "1", "--backlog", "2048"]
    where = ["--bind", f"{HOST}:{port}", "--log-level", "warning"]
    return [sys.executable, "-m", "hypercorn", *shape, *where, "bench_asgi:application"]


# Every server must take 10,000 connections at once; granian refuses beyond its backpressure.
MANY = ("--backlog", "2048", "--backpressure", "20000")

OURS = ("--interface", "asgi", "--workers", "1")
UVICORN = ("uvicorn", "uvloop", "httptools", "websockets")
SERVERS = {
    server.name: server
    for server in (
        Server("hornbeam", ("hornbeam",), "WSGI, defaults", hornbeam("bench_wsgi:application")),
        Server("gunicorn", ("gunicorn",), "WSGI, gthread, 2 workers x 4 threads", gunicorn),
        Server(
            "uvicorn",
            UVICORN,
            "ASGI, httptools, uvloop, websockets, 1 worker",
            uvicorn("bench_asgi:application"),
        ),
        Server(
            "hornbeam-asgi",
            ("hornbeam", "uvloop"),
            "ASGI, uvloop, 1 worker",
            hornbeam("bench_asgi:application", *OURS),
        ),
        Server(
            "hornbeam-topics",
            ("hornbeam", "uvloop"),
            "as hornbeam-asgi, with WebSockets that join a topic",
            hornbeam("bench_pubsub:joined", *OURS),
        ),
        Server(
            "hornbeam-pubsub",
            ("hornbeam", "uvloop"),
            "as hornbeam-asgi, with a subscription for each WebSocket",
            hornbeam("bench_pubsub:subscribed", *OURS),
        ),
        Server("granian-wsgi", ("granian",), "WSGI, 1 worker", granian("wsgi", "--no-ws")),
        Server("granian-asgi", ("granian",), "ASGI, 1 worker", granian("asgi", *MANY)),
        Server("hypercorn", ("hypercorn", "uvloop"), "ASGI, uvloop, 1 worker", hypercorn),
        Server(
            "uvicorn-redis",
            (*UVICORN, "redis", "hiredis"),
            "as uvicorn, with pub/sub by redis-server, redis-py and hiredis",
            uvicorn("bench_redis:application"),
            redis=True,
        ),
        Server(
            "hornbeam-w1",
            ("hornbeam",),
            "WSGI, 1 worker",
            hornbeam("bench_wsgi:application", "--workers", "1"),
        ),
    )
}


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


def accepts(port: int) -> bool:
    """Whether something listens on `port`."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def wait_for(process: subprocess.Popen[bytes], port: int, ready: Callable[[int], bool]) -> bool:
    """Waits until `port` is ready; False when the process ended or START seconds passed."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        if ready(port):
            return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def program(
    command: Callable[[int], list[str]], ready: Callable[[int], bool], **environment: str
) -> Iterator[tuple[int, int]]:
    """Runs a command for the time of the block. Yields: its process id and its port.

    Raises: ServerFailed: it ended or was not ready in time.
    """
    port = free_port()
    with (
        TemporaryFile() as log,
        subprocess.Popen(
            command(port),
            cwd=APPS,
            env={**os.environ, "PYTHONPATH": str(APPS), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            if not wait_for(process, port, ready):
                log.seek(0)
                raise ServerFailed(log.read().decode(errors="replace"))
            yield process.pid, port
        finally:
            end(process)


def redis_server(port: int) -> list[str]:
    # Nothing is kept: no snapshots, no log of what was written.
    return ["redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]


@contextlib.contextmanager
def running(server: Server) -> Iterator[tuple[list[int], int]]:
    """Runs `server` for the time of the block. Yields: the processes it consists of, its port.

    Raises: ServerFailed: it ended or did not answer in time.
    """
    with contextlib.ExitStack() as programs:
        pids, environment = [], {}
        try:
            if server.redis:
                pid, port = programs.enter_context(program(redis_server, accepts))
                pids.append(pid)
                environment["BENCH_REDIS_PORT"] = str(port)
            pid, port = programs.enter_context(program(server.command, answers, **environment))
        except (ServerFailed, FileNotFoundError) as reason:
            raise ServerFailed(f"{server.name} did not start: {reason}") from reason
        yield [*pids, pid], port


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and waits for it; kills what is left of its process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP)
