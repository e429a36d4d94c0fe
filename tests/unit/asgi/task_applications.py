# SPDX-License-Identifier: Apache-2.0
"""ASGI applications that use tasks, contexts and timeouts as libraries do."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from pathlib import Path

import anyio
import anyio.to_thread

import hornbeam_erlang
from hornbeam_erlang import _calls, _served
from hornbeam_erlang._asgi_cycle import Cycle
from unit.asgi.registry import Event, Receive, Send, answer, answer_json, application, notes

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@application
async def current_task(scope: Event, receive: Receive, send: Send) -> None:
    """The current task is one and the same, before and after it waited, and looks like a task."""
    before = asyncio.current_task()
    assert isinstance(before, asyncio.Task)
    if scope["query_string"] == b"named":
        before.set_name("named")
    await asyncio.sleep(0)
    after = asyncio.current_task()
    listed = after in asyncio.all_tasks()
    name = before.get_name() if scope["query_string"] == b"named" else ""
    await answer_json(send, [before is after, listed, before.done(), name, before.cancelling()])


@application
async def at_once(scope: Event, receive: Receive, send: Send) -> None:
    """Everything a task offers, though it never waits."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda done: notes.append(["done", done.done(), done.exception()]))
    facts = [task.done(), task.cancelled(), task.cancelling(), bool(task.get_name())]
    facts += [task.get_loop() is asyncio.get_running_loop(), "coro" in repr(task)]
    await answer_json(send, [*facts, task.get_coro() is not None])


@application
async def timeout(scope: Event, receive: Receive, send: Send) -> None:
    """`asyncio.timeout` around something that takes too long."""
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    except TimeoutError:
        await answer(send, b"timed out")


@application
async def cancels_itself(scope: Event, receive: Receive, send: Send) -> None:
    """A task that is cancelled before it has ever waited."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel("by itself")
    waited = asyncio.ensure_future(asyncio.sleep(60))
    try:
        await waited
    except asyncio.CancelledError:
        task.uncancel()
        await answer_json(send, [waited.cancelled(), task.cancelling()])


@application
async def cancels_itself_soon(scope: Event, receive: Receive, send: Send) -> None:
    """The same before a bare yield to the loop."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        await answer(send, b"cancelled")


@application
async def group(scope: Event, receive: Receive, send: Send) -> None:
    """Tasks of the application, and what one of them raises."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            tasks.create_task(asyncio.sleep(60))
    except* LookupError:
        await answer(send, b"grouped")


@application
async def scopes(scope: Event, receive: Receive, send: Send) -> None:
    """anyio's cancel scopes, nested, and a task group."""
    outcomes = []
    with anyio.move_on_after(0.01) as moved:
        await anyio.sleep(60)
    outcomes.append(moved.cancelled_caught)
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await anyio.sleep(0)
    outcomes.append(cancelled.cancelled_caught)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 60)
        tasks.cancel_scope.cancel()
    await answer_json(send, outcomes)


@application
async def threads(scope: Event, receive: Receive, send: Send) -> None:
    """Threads of asyncio and of anyio see the context of the request."""
    VARIABLE.set("mine")
    found = [await asyncio.to_thread(VARIABLE.get), await anyio.to_thread.run_sync(VARIABLE.get)]
    await answer_json(send, found)


@application
async def context(scope: Event, receive: Receive, send: Send) -> None:
    """A variable that is set here is not seen by other requests, and stays over a wait."""
    before = VARIABLE.get()
    VARIABLE.set(scope["query_string"].decode())
    if VARIABLE.get() != "at once":
        await asyncio.sleep(0)
    await answer_json(send, [before, VARIABLE.get()])


@application
async def background(scope: Event, receive: Receive, send: Send) -> None:
    """Goes on after its answer."""
    await answer(send, b"answered")
    await asyncio.sleep(0.02)
    notes.append("background")


# Calls.


@application
async def awaits_calls(scope: Event, receive: Receive, send: Send) -> None:
    calls = (_calls.call_service_async("echo", [n], {}, 5000, "echo()") for n in range(3))
    await answer_json(send, await asyncio.gather(*calls))


@application
async def blocks_in_call(scope: Event, receive: Receive, send: Send) -> None:
    """A blocking call on the thread of the loop."""
    await answer_json(send, hornbeam_erlang.call("echo", scope["query_string"].decode()))


@application
async def blocks_in_call_later(scope: Event, receive: Receive, send: Send) -> None:
    """The same, from a turn of the loop that the connection knows nothing of."""
    await asyncio.sleep(0.01)
    await answer_json(send, hornbeam_erlang.call("echo", scope["query_string"].decode()))


@application
async def calls_in_threads(scope: Event, receive: Receive, send: Send) -> None:
    """Blocking calls in threads."""
    calls = (asyncio.to_thread(hornbeam_erlang.call, "echo", n) for n in range(5))
    await answer_json(send, await asyncio.gather(*calls))


@application
async def loop_in_thread(scope: Event, receive: Receive, send: Send) -> None:
    """An event loop of the application, in a thread."""

    def run() -> object:
        return asyncio.run(_calls.call_service_async("echo", ["there"], {}, 5000, "echo()"))

    await answer_json(send, await asyncio.to_thread(run))


# The loop itself.


@application
async def blocks(scope: Event, receive: Receive, send: Send) -> None:
    """Keeps the loop busy until the FIFO in the query is opened."""
    await answer(send, Path(scope["query_string"].decode()).read_bytes())


@application
async def blocks_later(scope: Event, receive: Receive, send: Send) -> None:
    """The same, from a turn of the loop that the connection knows nothing of."""
    await asyncio.sleep(0.01)
    await answer(send, Path(scope["query_string"].decode()).read_bytes())


@application
async def blocks_on_thread(scope: Event, receive: Receive, send: Send) -> None:
    """Keeps the loop busy until a thread has got the answer to its call."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(hornbeam_erlang.call("echo", "x")))
    thread.start()
    thread.join(30)
    await answer_json(send, found)


@application
async def leftovers(scope: Event, receive: Receive, send: Send) -> None:
    """How much is open: tasks, exchanges and what belongs to them."""
    hub = _calls._hub
    assert hub is not None
    session = hub.session
    parts = (asyncio.all_tasks(), session.exchanges, session.flows, session.sockets, hub.calls)
    if scope["query_string"] == b"first":
        gc.collect()
        gc.disable()
    cycles = sum(isinstance(found, Cycle) for found in gc.get_objects())
    await answer_json(send, [*map(len, parts), cycles])


async def sleepy(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


async def asks() -> object:
    return await _calls.call_service_async("echo", ["asked"], {}, 5000, "echo()")


def plain(value: object) -> object:
    notes.append(["plain", value])
    return value


for service in (sleepy, asks, plain):
    _served.register_service(service.__name__, service)
