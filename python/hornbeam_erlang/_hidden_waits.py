# SPDX-License-Identifier: Apache-2.0
"""Operations of a node that wait, written once for threads and for event loops.

An operation is a generator: it yields futures, gets their results, and returns its own. `blocking`
runs it in the thread that calls, `awaiting` in a coroutine of any event loop. When its time is over
CallTimeout is raised inside of it, where it waits, so that it takes back what it asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from math import inf
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from .errors import CallTimeout, Cancelled

__all__ = ["Operation", "awaiting", "blocking", "deadline_of"]

T = TypeVar("T")
Operation: TypeAlias = Generator["Future[Any]", Any, T]


def deadline_of(seconds: float | None) -> float:
    """The time of the monotonic clock at which so many seconds are over; None: never."""
    if seconds is None:
        return inf
    if not seconds >= 0:
        raise ValueError(f"a timeout is 0 or more seconds, or None, not {seconds!r}")
    return monotonic() + seconds


def _left(deadline: float) -> float | None:
    return None if deadline == inf else max(deadline - monotonic(), 0.0)


def blocking(operation: Operation[T], seconds: float | None, what: str) -> T:
    """Runs an operation in this thread.

    Args:
        seconds: how long it may take; None: as long as it takes.
        what: its name, for CallTimeout.
    """
    deadline = deadline_of(seconds)
    try:
        future = next(operation)
        while True:
            try:
                result = future.result(_left(deadline))
            except TimeoutError:
                future = _time_over(operation, future, CallTimeout(what, seconds or 0.0))
            except FutureCancelled:
                future = operation.throw(Cancelled(what))
            except BaseException as exc:
                future = operation.throw(exc)
            else:
                future = operation.send(result)
    except StopIteration as stop:
        result = stop.value
        return result  # type: ignore[no-any-return]


async def awaiting(operation: Operation[T], seconds: float | None, what: str) -> T:
    """Runs an operation in a coroutine; see `blocking`."""
    deadline = deadline_of(seconds)
    try:
        future = next(operation)
        while True:
            try:
                result = await _await(future, _left(deadline))
            except TimeoutError:
                future = _time_over(operation, future, CallTimeout(what, seconds or 0.0))
            except FutureCancelled:
                future = operation.throw(Cancelled(what))
            except BaseException as exc:
                future = operation.throw(exc)
            else:
                future = operation.send(result)
    except StopIteration as stop:
        result = stop.value
        return result  # type: ignore[no-any-return]


def _time_over(operation: Operation[T], future: Future[Any], error: CallTimeout) -> Future[Any]:
    """Goes on after a TimeoutError: the future's own one, or that of the deadline. A result that
    came at the last moment is taken."""
    if not future.done() or future.cancelled():
        return operation.throw(error)
    own = future.exception()
    return operation.send(future.result()) if own is None else operation.throw(own)


async def _await(future: Future[Any], seconds: float | None) -> Any:
    if future.done():
        return future.result()
    async with asyncio.timeout(seconds):
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if future.cancelled() and task is not None and not task.cancelling():
                # It was given up at the other end; nobody has cancelled this task.
                raise FutureCancelled from None
            raise
