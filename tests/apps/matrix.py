# SPDX-License-Identifier: Apache-2.0
"""Every operation, from every kind of place that may ask for it: `/place/operation/outcome?pids`.

Runs in the workers of tests/live/test_matrix.py, which has the table of what must come out. The
answer is the result as JSON, or the class of the error. `wsgi` and `asgi` are the applications.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import hornbeam_erlang
from hornbeam_erlang import aio, call_timeout

TIMEOUT_MS = 150
SLOW_MS = 700
UNSENDABLE = object()


class Handler:
    """What operations execute; each worker has one under its own process id."""

    def ok(self, *values: Any) -> list[Any]:
        return list(values)

    def timeout(self) -> None:
        time.sleep(SLOW_MS / 1000)

    def killed(self) -> None:
        os.kill(os.getpid(), 9)

    def crash(self) -> None:
        raise KeyError("crash")

    def unsendable(self) -> object:
        return UNSENDABLE


class Items:
    """The same for streams: the first item comes, then what the outcome says."""

    def ok(self) -> Iterable[int]:
        yield from range(3)

    def timeout(self) -> Iterable[int]:
        yield 0
        time.sleep(SLOW_MS / 1000)
        yield 1

    def killed(self) -> Iterable[int]:
        yield 0
        os.kill(os.getpid(), 9)

    def crash(self) -> Iterable[int]:
        yield 0
        raise KeyError("crash")

    def unsendable(self) -> Iterable[object]:
        yield UNSENDABLE


hornbeam_erlang.hook(f"calls-{os.getpid()}", Handler)
hornbeam_erlang.hook(f"items-{os.getpid()}", Items)


def other(pids: list[int]) -> int:
    """The worker that this one is not: what kills a handler must not kill who waits."""
    return next(pid for pid in pids if pid != os.getpid())


def arguments(outcome: str) -> tuple[Any, ...]:
    return {"ok": (1, 2), "timeout": (SLOW_MS,)}.get(outcome, ())


# By name: what it does, from code that may block, and from a coroutine. Others are added here.

Sync = dict[str, Callable[[str, list[int]], Any]]
Async = dict[str, Callable[[str, list[int]], Awaitable[Any]]]


def call(outcome: str, pids: list[int]) -> Any:
    if outcome == "unsendable":
        return hornbeam_erlang.call("ok", UNSENDABLE)
    return hornbeam_erlang.call(outcome, *arguments(outcome))


def cast(outcome: str, pids: list[int]) -> Any:
    if outcome == "unsendable":
        return hornbeam_erlang.cast("ok", UNSENDABLE)
    return hornbeam_erlang.cast(outcome, *arguments(outcome))


def handler(outcome: str, pids: list[int]) -> tuple[str, str, tuple[Any, ...]]:
    return f"calls-{other(pids)}", outcome, (1, 2) if outcome == "ok" else ()


def execute(outcome: str, pids: list[int]) -> Any:
    path, action, values = handler(outcome, pids)
    return hornbeam_erlang.execute(path, action, *values)


def task(outcome: str, pids: list[int]) -> Any:
    path, action, values = handler(outcome, pids)
    task_id = hornbeam_erlang.execute_async(path, action, *values)
    first = hornbeam_erlang.await_result(task_id)
    return [first, hornbeam_erlang.await_result(task_id) == first]


def stream(outcome: str, pids: list[int]) -> Any:
    return list(hornbeam_erlang.stream(f"items-{other(pids)}", outcome))


SYNC: Sync = {"call": call, "cast": cast, "execute": execute, "task": task, "stream": stream}


async def call_async(outcome: str, pids: list[int]) -> Any:
    values = (UNSENDABLE,) if outcome == "unsendable" else arguments(outcome)
    return await aio.call("ok" if outcome == "unsendable" else outcome, *values)


async def cast_async(outcome: str, pids: list[int]) -> Any:
    return cast(outcome, pids)  # it waits for nothing


async def execute_async(outcome: str, pids: list[int]) -> Any:
    path, action, values = handler(outcome, pids)
    return await aio.execute(path, action, *values)


async def task_async(outcome: str, pids: list[int]) -> Any:
    path, action, values = handler(outcome, pids)
    task_id = await aio.execute_async(path, action, *values)
    first = await aio.await_result(task_id)
    return [first, await aio.await_result(task_id) == first]


async def stream_async(outcome: str, pids: list[int]) -> Any:
    return [item async for item in aio.stream(f"items-{other(pids)}", outcome)]


ASYNC: Async = {
    "call": call_async,
    "cast": cast_async,
    "execute": execute_async,
    "task": task_async,
    "stream": stream_async,
}


def attempt(operation: str, outcome: str, pids: list[int]) -> Any:
    """What comes out of it: the result, or the class of the error and whether it was one of ours
    in time."""
    started = time.monotonic()
    try:
        if outcome == "timeout":
            with call_timeout(TIMEOUT_MS):
                return SYNC[operation](outcome, pids)
        return SYNC[operation](outcome, pids)
    except hornbeam_erlang.HornbeamError as exc:
        return failed(exc, started)


async def attempt_async(operation: str, outcome: str, pids: list[int]) -> Any:
    started = time.monotonic()
    try:
        if outcome == "timeout":
            with call_timeout(TIMEOUT_MS):
                return await ASYNC[operation](outcome, pids)
        return await ASYNC[operation](outcome, pids)
    except hornbeam_erlang.HornbeamError as exc:
        return failed(exc, started)


def failed(exc: Exception, started: float) -> dict[str, Any]:
    return {"error": type(exc).__name__, "in_time": time.monotonic() - started < 10}


class Runner:
    """Attempts from within a handler; a task is one that nobody waits for at first."""

    def attempt(self, operation: str, outcome: str, pids: list[int]) -> Any:
        return attempt(operation, outcome, pids)

    async def attempt_async(self, operation: str, outcome: str, pids: list[int]) -> Any:
        return await attempt_async(operation, outcome, pids)


hornbeam_erlang.hook(f"runner-{os.getpid()}", Runner)


def in_thread(operation: str, outcome: str, pids: list[int]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(attempt(operation, outcome, pids)))
    thread.start()
    thread.join()
    return found[0]


def in_hook(operation: str, outcome: str, pids: list[int]) -> Any:
    runner = f"runner-{os.getpid()}"
    return hornbeam_erlang.execute(runner, "attempt", operation, outcome, pids)


def in_task(operation: str, outcome: str, pids: list[int]) -> Any:
    runner = f"runner-{os.getpid()}"
    task_id = hornbeam_erlang.execute_async(runner, "attempt", operation, outcome, pids)
    return hornbeam_erlang.await_result(task_id)


def ready(operation: str, outcome: str, pids: list[int]) -> bool:
    """Whether all workers can be asked."""
    try:
        return all(hornbeam_erlang.execute(f"calls-{pid}", "ok") == [] for pid in pids)
    except hornbeam_erlang.HornbeamError:
        return False


PLACES: dict[str, Callable[[str, str, list[int]], Any]] = {
    "ready": ready,
    "request": attempt,
    "thread": in_thread,
    "hook": in_hook,
    "task": in_task,
}


async def in_async_hook(operation: str, outcome: str, pids: list[int]) -> Any:
    runner = f"runner-{os.getpid()}"
    return await aio.execute(runner, "attempt_async", operation, outcome, pids)


async def in_background(operation: str, outcome: str, pids: list[int]) -> Any:
    return await asyncio.create_task(attempt_async(operation, outcome, pids))


async def in_pool_thread(operation: str, outcome: str, pids: list[int]) -> Any:
    return await asyncio.to_thread(attempt, operation, outcome, pids)


async def ready_async(operation: str, outcome: str, pids: list[int]) -> bool:
    return await asyncio.to_thread(ready, operation, outcome, pids)


ASYNC_PLACES: dict[str, Callable[[str, str, list[int]], Awaitable[Any]]] = {
    "ready": ready_async,
    "request": attempt_async,
    "websocket": attempt_async,
    "hook": in_async_hook,
    "background": in_background,
    "thread": in_pool_thread,
}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The matrix from WSGI."""
    place, operation, outcome = environ["PATH_INFO"].strip("/").split("/")
    result = PLACES[place](operation, outcome, json.loads(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(result).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The matrix from ASGI."""
    if scope["type"] == "lifespan":
        return
    place, operation, outcome = scope["path"].strip("/").split("/")
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    pids = json.loads(scope["query_string"])
    text = json.dumps(await ASYNC_PLACES[place](operation, outcome, pids))
    if scope["type"] == "websocket":
        await send({"type": "websocket.send", "text": text})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
