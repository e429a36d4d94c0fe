# SPDX-License-Identifier: Apache-2.0
"""Lazy tasks by themselves: how coroutines end, what is told, and that nothing is left over."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from hornbeam_erlang._asgi_task import LazyTask, Runner

VARIABLE: ContextVar[str] = ContextVar("variable", default="outside")
Make = Callable[[], Coroutine[Any, Any, Any]]


class Noting(LazyTask):
    """Notes how its coroutine ends."""

    __slots__ = ("make", "outcomes")

    make: Make
    outcomes: list[object]

    def __init__(self, make: Make, outcomes: list[object]) -> None:
        self.make, self.outcomes = make, outcomes

    def first_step(self) -> Any:
        self.coroutine = self.make()
        return self.coroutine.send(None)

    def returned(self) -> None:
        self.outcomes.append("returned")

    def raised(self, exc: BaseException) -> None:
        self.outcomes.append(type(exc).__name__)


async def returns() -> None:
    pass


async def raises() -> None:
    raise LookupError


async def exits() -> None:
    raise SystemExit


async def waits() -> None:
    await asyncio.sleep(0)


async def waits_for_time() -> None:
    await asyncio.sleep(0.001)


async def waits_and_raises() -> None:
    await asyncio.sleep(0)
    raise LookupError


async def waits_and_exits() -> None:
    await asyncio.sleep(0)
    raise KeyboardInterrupt


async def awaits_what_failed() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(LookupError())
    await future


async def awaits_what_fails() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, LookupError())
    await future


async def is_cancelled_and_goes_on() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def is_cancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.sleep(60)


OUTCOMES: dict[Make, str] = {
    returns: "returned",
    raises: "LookupError",
    exits: "SystemExit",
    waits: "returned",
    waits_for_time: "returned",
    waits_and_raises: "LookupError",
    waits_and_exits: "KeyboardInterrupt",
    awaits_what_failed: "LookupError",
    awaits_what_fails: "LookupError",
    is_cancelled_and_goes_on: "returned",
    is_cancelled: "CancelledError",
}


# What these raise is kept by what they awaited, with the frames that led there, as in any task.
KEPT = (awaits_what_failed, awaits_what_fails, is_cancelled)


def run(make: Make, context: Context | None = None) -> list[object]:
    """The outcome of one coroutine; fails when it leaves something behind."""
    outcomes: list[object] = []

    async def main() -> None:
        runner = Noting.runner = Runner(asyncio.get_running_loop())
        started: asyncio.Future[weakref.ref[Noting]] = runner.loop.create_future()

        def start() -> None:
            task = Noting(make, outcomes)
            runner.run(task, context or copy_context())
            started.set_result(weakref.ref(task))

        runner.loop.call_soon(start)
        task = await started
        while not outcomes:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        assert not runner.waiting
        if make in KEPT:
            gc.collect()
        assert task() is None, "somebody still knows the task"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    return outcomes


@pytest.mark.parametrize("make", OUTCOMES, ids=lambda make: str(make.__name__))
def test_outcomes(make: Make) -> None:
    """The end is told once, however the coroutine ends, and the task is gone at once."""
    assert run(make) == [OUTCOMES[make]]


def test_asked_for_afterwards() -> None:
    """A task that never waited is done for who asks for it after its end, and is nobody's care."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runner = Noting.runner = Runner(loop)
        task = Noting(returns, [])
        loop.call_soon(runner.run, task, copy_context())
        await asyncio.sleep(0)
        called = loop.create_future()
        assert task.done()
        task.add_done_callback(called.set_result)
        assert await called is task
        assert await task is None
        assert not task.cancel()
        assert "finished" in repr(task)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_context() -> None:
    """All steps run in the context that was given."""
    context = copy_context()

    async def sets() -> None:
        VARIABLE.set("inside")
        await asyncio.sleep(0)
        assert VARIABLE.get() == "inside"

    assert run(sets, context) == ["returned"]
    assert context[VARIABLE] == "inside"
    assert VARIABLE.get() == "outside"


def test_what_comes_in_between() -> None:
    """Only the first step of the task is kept back: other callbacks are scheduled."""
    called: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runner = Runner(loop)
        runner._context = copy_context()
        runner._capture(called.append, "scheduled", context=copy_context())
        assert runner._capture(called.append, "kept", context=runner._context) is None
        await asyncio.sleep(0)

    asyncio.run(main())
    assert called == ["scheduled"]
