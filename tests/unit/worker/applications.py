# SPDX-License-Identifier: Apache-2.0
"""WSGI applications and services that show how a worker works; loaded into real workers.

Applications wait on gates: FIFOs that the test opens when it wants them to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import hornbeam_erlang
from hornbeam_erlang import _calls, _served

TEXT = [("Content-Type", "text/plain")]
IMPORTED_AT = {"argv": list(sys.argv), "path": list(sys.path), "cwd": os.getcwd()}
order: list[str] = []

Handler = Callable[[WSGIEnvironment], object]
HANDLERS: dict[str, Handler] = {}


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers with the JSON of what the handler named by the path returns."""
    handler = HANDLERS[environ["PATH_INFO"].split("/")[1]]
    body = json.dumps(handler(environ), default=str).encode()
    start_response("200 OK", TEXT)
    return [body]


def handler(function: Handler) -> Handler:
    HANDLERS[getattr(function, "__name__", "")] = function
    return function


def pass_gate(path: str) -> str:
    return Path(path).read_text()


@handler
def quick(environ: WSGIEnvironment) -> object:
    order.append(environ["QUERY_STRING"])
    return environ["QUERY_STRING"]


@handler
def ordered(environ: WSGIEnvironment) -> object:
    return order


@handler
def gate(environ: WSGIEnvironment) -> object:
    """Waits for the FIFO in the query, the interpreter free meanwhile."""
    return pass_gate(environ["QUERY_STRING"])


@handler
def spin(environ: WSGIEnvironment) -> object:
    """The same, keeping the interpreter busy."""
    while not Path(environ["QUERY_STRING"]).exists():
        sum(range(1000))
    return "spun"


@handler
def where(environ: WSGIEnvironment) -> object:
    return {**IMPORTED_AT, "thread": threading.current_thread().name}


@handler
def prints(environ: WSGIEnvironment) -> object:
    """Writes to the descriptors that are the application's own."""
    print("printed", flush=True)
    os.write(1, b"written\n")
    return "printed"


@handler
def inherited(environ: WSGIEnvironment) -> object:
    """Which of the connection's descriptors a program started by the application sees."""
    code = """
import os
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
print([fd for fd in (3, 4) if is_open(fd)])
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, check=True, close_fds=False).stdout.decode()


def _in_child(results: Any) -> None:
    try:
        hornbeam_erlang.call("anything")
    except hornbeam_erlang.NotConnected as exc:
        results.put(str(exc))


@handler
def fork(environ: WSGIEnvironment) -> object:
    """What a forked child of the worker gets when it calls the node."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(results,))
    child.start()
    text = results.get(timeout=30)
    child.join(30)
    return [text, child.exitcode]


# Calls.


@handler
def call(environ: WSGIEnvironment) -> object:
    """`call` with the JSON arguments of the body; an exception is told by its type and fields."""
    arguments = json.loads(environ["wsgi.input"].read())
    try:
        return ["result", hornbeam_erlang.call(*arguments)]
    except hornbeam_erlang.HornbeamError as exc:
        return [type(exc).__name__, vars(exc), str(exc)]


@handler
def short_call(environ: WSGIEnvironment) -> object:
    try:
        return _calls.call_service("slow", [], {}, int(environ["QUERY_STRING"]), "slow()")
    except hornbeam_erlang.CallTimeout as exc:
        return ["CallTimeout", exc.seconds]


@handler
def cast(environ: WSGIEnvironment) -> object:
    hornbeam_erlang.cast("log_event", "user_login", {"user_id": 123})
    return "cast"


@handler
def cast_and_wait(environ: WSGIEnvironment) -> object:
    """The cast has to leave though the request goes on."""
    hornbeam_erlang.cast("log_event")
    return pass_gate(environ["QUERY_STRING"])


@handler
def call_from_threads(environ: WSGIEnvironment) -> object:
    """Calls from plain threads of the application, all at once."""
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(hornbeam_erlang.call("echo", n)))
        for n in range(int(environ["QUERY_STRING"]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(results)


@handler
def background(environ: WSGIEnvironment) -> object:
    """A thread that calls after the request has ended."""

    def later() -> None:
        hornbeam_erlang.call("from_background", hornbeam_erlang.call("first"))

    threading.Thread(target=later, daemon=True).start()
    return "started"


def nested(depth: int) -> Any:
    """Calls the node, which calls this again, until `depth` is 0."""
    thread = threading.get_ident()
    if depth == 0:
        return [thread]
    return [thread, *hornbeam_erlang.call("nested", depth - 1)]


@handler
def nest(environ: WSGIEnvironment) -> object:
    threads = nested(int(environ["QUERY_STRING"]))
    return [len(threads), len(set(threads))]


# Calls that an event loop of the application awaits.


async def _echo(value: object, timeout_ms: int = 5000) -> Any:
    return await _calls.call_service_async("echo", [value], {}, timeout_ms, "echo()")


@handler
def awaited(environ: WSGIEnvironment) -> object:
    """Several calls at once, and more one after the other, in a loop of the request's thread."""

    async def main() -> object:
        together = await asyncio.gather(*(_echo(n) for n in range(20)))
        return [*together, await _echo("then"), await _echo("last")]

    return asyncio.run(main())


@handler
def awaited_in_background(environ: WSGIEnvironment) -> object:
    """A loop in a thread that goes on after the request."""
    threading.Thread(target=lambda: asyncio.run(_echo("later")), daemon=True).start()
    return "started"


@handler
def awaited_too_long(environ: WSGIEnvironment) -> object:
    try:
        return asyncio.run(_echo("late", 50))
    except hornbeam_erlang.CallTimeout as exc:
        return ["CallTimeout", exc.seconds]


@handler
def awaited_and_cancelled(environ: WSGIEnvironment) -> object:
    """The second call must not get the answer to the first."""

    async def main() -> object:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await _echo("first")
        return await _echo("second")

    return asyncio.run(main())


def sleepy(path: str) -> str:
    return pass_gate(path)


def fails(text: str) -> None:
    raise LookupError(text)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text either")


def fails_unprintably() -> None:
    raise Unprintable


def exits() -> None:
    sys.exit(4)


def add(*numbers: int, start: int = 0) -> int:
    return sum(numbers, start)


def record(item: str) -> None:
    order.append(item)


for service in (nested, sleepy, fails, fails_unprintably, exits, add, record):
    _served.register_service(service.__name__, service)
_served.register_service("unsendable", object)
_served.register_service("surrogates", lambda: fails("\udc80"))
