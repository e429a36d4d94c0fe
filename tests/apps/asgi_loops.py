# SPDX-License-Identifier: Apache-2.0
"""Bare ASGI applications that use the loop they run in: tasks, threads, anyio, contextvars; chosen
by `asgi_cases`.

Runs in: the worker's loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading

import anyio
import anyio.to_thread
import sniffio

from apps.asgi_types import App, Receive, Scope, Send, answer, answer_json, argument, read

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def loop(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The module of the running loop, and whether it is the main thread's."""
    main = threading.current_thread() is threading.main_thread()
    await answer_json(send, [type(asyncio.get_running_loop()).__module__, main])


async def task(_scope: Scope, receive: Receive, send: Send) -> None:
    """The request has a task of its own, the same before and after it waits; anyio knows it."""
    first = asyncio.current_task()
    await asyncio.sleep(0)
    await read(receive)
    assert first is not None
    assert asyncio.current_task() is first
    assert sniffio.current_async_library() == "asyncio"
    await answer(send, str(id(first)).encode())


async def context(scope: Scope, _receive: Receive, send: Send) -> None:
    """Sets a variable, lets others run, and still sees its own; in tasks and threads as well."""
    before = variable.get()
    variable.set(argument(scope))
    await asyncio.sleep(0.01)
    inside = await asyncio.create_task(seen())
    threaded = await asyncio.to_thread(variable.get)
    await answer_json(send, [before, variable.get(), inside, threaded])


async def seen() -> str:
    return variable.get()


async def threads(_scope: Scope, _receive: Receive, send: Send) -> None:
    """asyncio.to_thread and anyio.to_thread: other threads, while the loop goes on."""
    released = threading.Event()
    waiting = asyncio.ensure_future(asyncio.to_thread(released.wait, 10))
    await asyncio.sleep(0)
    other = await anyio.to_thread.run_sync(threading.get_ident)
    released.set()
    await answer_json(send, [await waiting, other != threading.get_ident()])


async def groups(_scope: Scope, _receive: Receive, send: Send) -> None:
    """anyio: a task group, a memory stream between its tasks, and a scope that times out."""
    writer, reader = anyio.create_memory_object_stream[int](1)

    async def produce() -> None:
        async with writer:
            for number in range(100):
                await writer.send(number)

    total = 0
    async with anyio.create_task_group() as group, reader:
        group.start_soon(produce)
        async for number in reader:
            total += number
    with anyio.move_on_after(0.01) as limited:
        await anyio.sleep_forever()
    await answer_json(send, [total, limited.cancelled_caught])


async def timeouts(_scope: Scope, _receive: Receive, send: Send) -> None:
    """asyncio.timeout and TaskGroup, which cancel and uncancel the current task."""
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    except TimeoutError:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(10)]
        current = asyncio.current_task()
        assert current is not None
        await answer_json(send, [sum(t.result() for t in tasks), current.cancelling()])


async def sleeps(scope: Scope, _receive: Receive, send: Send) -> None:
    """Waits so many milliseconds."""
    await asyncio.sleep(int(argument(scope)) / 1000)
    await answer(send, b"slept")


most = running = 0


async def together(scope: Scope, _receive: Receive, send: Send) -> None:
    """How many of these have run at once at most since the worker began; waits as told, in ms."""
    global most, running
    running += 1
    most = max(most, running)
    await asyncio.sleep(int(argument(scope)) / 1000)
    running -= 1
    await answer_json(send, [most, running])


async def task_count(_scope: Scope, _receive: Receive, send: Send) -> None:
    """How many tasks the loop has."""
    await answer(send, str(len(asyncio.all_tasks())).encode())


LOOPS: dict[str, App] = {
    "loop": loop,
    "task": task,
    "context": context,
    "threads": threads,
    "groups": groups,
    "timeouts": timeouts,
    "sleeps": sleeps,
    "together": together,
    "task-count": task_count,
}
