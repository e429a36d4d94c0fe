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
from uuid import uuid4

import hornbeam_erlang
from apps.matrix_operations import NOW, OPERATIONS, UNSENDABLE, Attempt, Operation
from hornbeam_erlang import aio, call_timeout

TIMEOUT_MS = 50
STALL_MS = 400  # more than the timeout, and what is granted to an answer on its way


class Handler:
    """What operations execute; each worker has one under its own process id."""

    def ok(self, *values: Any) -> list[Any]:
        return list(values)

    def timeout(self, milliseconds: int) -> None:
        time.sleep(milliseconds / 1000)

    def killed(self) -> None:
        os.kill(os.getpid(), 9)

    def crash(self) -> None:
        raise KeyError("crash")

    def unsendable(self) -> object:
        return UNSENDABLE


class Items:
    """The same for streams: the first item comes, then what the outcome says."""

    def ok(self, *values: Any) -> Iterable[Any]:
        yield from values

    def timeout(self, milliseconds: int) -> Iterable[int]:
        yield 0
        time.sleep(milliseconds / 1000)
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


# Steps of operations (`matrix_operations`), by their names: what they do in a thread, and what a
# coroutine awaits. The rest are public functions of those names; `aio` has those that wait.


def listed(path: str, action: str, *values: Any) -> list[Any]:
    return list(hornbeam_erlang.stream(path, action, *values))


async def listed_aio(path: str, action: str, *values: Any) -> list[Any]:
    return [item async for item in aio.stream(path, action, *values)]


async def listed_async(path: str, action: str, *values: Any) -> list[Any]:
    return [item async for item in hornbeam_erlang.stream_async(path, action, *values)]


def listed_in_loop(path: str, action: str, *values: Any) -> list[Any]:
    return asyncio.run(listed_async(path, action, *values))


def piped(steps: list[tuple[Any, ...]]) -> list[Any]:
    with hornbeam_erlang.pipeline() as batch:
        pending = [getattr(batch, name)(*values) for name, *values in steps]
    return [each.result() for each in pending]


async def piped_async(steps: list[tuple[Any, ...]]) -> list[Any]:
    async with aio.pipeline() as batch:
        pending = [getattr(batch, name)(*values) for name, *values in steps]
    return [each.result() for each in pending]


def subscribed(topic: str, message: Any) -> list[Any]:
    with hornbeam_erlang.subscription(topic) as messages:
        return [hornbeam_erlang.publish(topic, message), next(iter(messages))]


async def subscribed_async(topic: str, message: Any) -> list[Any]:
    async with await aio.subscription(topic) as messages:
        return [await aio.publish(topic, message), await anext(aiter(messages))]


def cached(key: str, value: Any) -> Any:
    return hornbeam_erlang.cached(key, lambda: value)


async def cached_async(key: str, value: Any) -> Any:
    async def compute() -> Any:
        return value

    return await aio.cached(key, compute)


SPECIAL: dict[str, Callable[..., Any]] = {
    "stream": listed,
    "stream_async": listed_in_loop,
    "pipeline": piped,
    "subscription": subscribed,
    "cached": cached,
}
SPECIAL_ASYNC: dict[str, Callable[..., Awaitable[Any]]] = {
    "stream": listed_aio,
    "stream_async": listed_async,
    "pipeline": piped_async,
    "subscription": subscribed_async,
    "cached": cached_async,
}


def keywords(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`ttl_ms` is given last, as a dict of its own."""
    if values and type(values[-1]) is dict and values[-1].keys() == {"ttl_ms"}:
        return values[:-1], values[-1]
    return values, {}


def take(name: str, *values: Any) -> Any:
    """One step, in a thread."""
    positional, keyword = keywords(values)
    function = SPECIAL.get(name) or getattr(hornbeam_erlang, name)
    return function(*positional, **keyword)


async def take_async(name: str, *values: Any) -> Any:
    """One step; what waits for nothing has no twin in `aio`, and what registers may block."""
    if name in ("register_hook", "unregister_hook"):
        return await asyncio.to_thread(take, name, *values)
    if name not in SPECIAL_ASYNC and not hasattr(aio, name):
        return take(name, *values)
    positional, keyword = keywords(values)
    function = SPECIAL_ASYNC.get(name) or getattr(aio, name)
    return await function(*positional, **keyword)


# The node does not answer this worker: its process there is stopped for a while. The first step may
# overtake that, so it is taken until one meets it.


def stall() -> None:
    hornbeam_erlang.cast("stall", os.getpid(), STALL_MS)


class NeverStalled(Exception):
    """The node went on answering."""


def stalled(*step: Any) -> Any:
    for _ in range(200):
        stall()
        take(*step)
    raise NeverStalled(step)


async def stalled_async(*step: Any) -> Any:
    for _ in range(200):
        stall()
        await take_async(*step)
    raise NeverStalled(step)


def run(operation: Operation, attempt: Attempt) -> Any:
    """What the operation returns, in a thread."""
    steps, reply = operation.steps(attempt), None
    carry_out: Callable[..., Any] = take
    try:
        while True:
            step = steps.send(reply)
            if step != NOW:
                reply = carry_out(*step)
            elif attempt.outcome == "timeout" and not operation.is_slow:
                carry_out = stalled
    except StopIteration as end:
        return end.value


async def run_async(operation: Operation, attempt: Attempt) -> Any:
    """The same in a coroutine; where the outcome is that, a step is cancelled while it waits."""
    steps, reply = operation.steps(attempt), None
    carry_out: Callable[..., Awaitable[Any]] = take_async
    try:
        while True:
            step = steps.send(reply)
            if step != NOW:
                reply = await carry_out(*step)
            elif attempt.outcome == "timeout" and not operation.is_slow:
                carry_out = stalled_async
            elif attempt.outcome == "cancelled":
                carry_out = cancelled_slow if operation.is_slow else cancelled_stalled
    except StopIteration as end:
        return end.value


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancels what waits; it must end at once."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=10)
    if done and task.cancelled():
        raise asyncio.CancelledError
    raise RuntimeError(f"cancelled, and yet {task!r}")


async def cancelled_slow(*step: Any) -> Any:
    task = asyncio.create_task(take_async(*step))
    await asyncio.sleep(0.05)
    await cancelled(task)


async def cancelled_stalled(*step: Any) -> Any:
    for _ in range(200):
        stall()
        task = asyncio.create_task(take_async(*step))
        done, _ = await asyncio.wait({task}, timeout=0.05)
        if not done:
            await cancelled(task)
    raise NeverStalled(step)


def make_attempt(outcome: str, pids: list[int]) -> Attempt:
    return Attempt(outcome, pids, f"matrix:{uuid4().hex}:")


def attempt(operation: str, outcome: str, pids: list[int]) -> Any:
    """What comes out of it: the result, or the class of the error and whether it was one of ours
    in time."""
    started, row = time.monotonic(), OPERATIONS[operation]
    try:
        if outcome == "timeout":
            with call_timeout(TIMEOUT_MS):
                return run(row, make_attempt(outcome, pids))
        return run(row, make_attempt(outcome, pids))
    except hornbeam_erlang.HornbeamError as exc:
        return failed(exc, started)


async def attempt_async(operation: str, outcome: str, pids: list[int]) -> Any:
    """The same; after a cancellation, what comes out of the next attempt."""
    started, row = time.monotonic(), OPERATIONS[operation]
    try:
        if outcome == "timeout":
            with call_timeout(TIMEOUT_MS):
                return await run_async(row, make_attempt(outcome, pids))
        return await run_async(row, make_attempt(outcome, pids))
    except hornbeam_erlang.HornbeamError as exc:
        return failed(exc, started)
    except asyncio.CancelledError:
        return {"cancelled": await run_async(row, make_attempt("ok", pids))}


def failed(exc: Exception, started: float) -> dict[str, Any]:
    return {"error": type(exc).__name__, "in_time": time.monotonic() - started < 30}


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
