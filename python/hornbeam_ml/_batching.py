# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls of many requests become one call of the model.

Threads: the first that calls waits a little for others and runs the model for all of them. Event
loop: the batch is run in a thread, or awaited, when it is full or its time is over. Calls from
threads and calls from loops are batched apart.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

X = TypeVar("X")
Y = TypeVar("Y")


class _Batch(Generic[X, Y]):
    """Inputs that go together, and what became of them."""

    def __init__(self) -> None:
        self.inputs: list[X] = []
        self.is_full = threading.Event()
        self.is_done = threading.Event()
        self.results: Sequence[Y] = ()
        self.failure: BaseException | None = None


class Batched(Generic[X, Y]):
    """A function of one input over a function of a list of inputs; made by `batched`.

    Args:
        function: takes a list of 1..`max_size` inputs, returns as many results in their order;
            a plain function or, for `call_async` alone, a coroutine function.
        max_size: inputs in one call, >= 1.
        max_wait_ms: milliseconds that the first input of a batch waits for others, >= 0.
    """

    def __init__(
        self, function: Callable[[list[X]], Any], max_size: int, max_wait_ms: float
    ) -> None:
        if max_size < 1 or max_wait_ms < 0:
            text = f"max_size is {max_size}, expected 1 or more; max_wait_ms is {max_wait_ms}"
            raise ValueError(f"batched: {text}, expected 0 or more")
        functools.update_wrapper(self, function)
        self._function = function
        self._max_size = max_size
        self._max_wait = max_wait_ms / 1000
        self._mutex = threading.Lock()
        self._open: _Batch[X, Y] | None = None
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[X, asyncio.Future[Y]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, item: X) -> Y:
        """The result for `item`; keeps the calling thread.

        Raises: what the function raises, to all whose inputs were in the batch; ValueError: it
            returned another number of results.
        """
        batch, index, leads = self._join(item)
        if leads:
            batch.is_full.wait(self._max_wait)
            with self._mutex:
                if self._open is batch:
                    self._open = None
            self._run(batch)
        else:
            batch.is_done.wait()
        if batch.failure is not None:
            raise batch.failure
        return batch.results[index]

    def _join(self, item: X) -> tuple[_Batch[X, Y], int, bool]:
        with self._mutex:
            leads = self._open is None
            batch = self._open or _Batch()
            self._open = batch
            batch.inputs.append(item)
            if len(batch.inputs) >= self._max_size:
                self._open = None
                batch.is_full.set()
            return batch, len(batch.inputs) - 1, leads

    def _run(self, batch: _Batch[X, Y]) -> None:
        try:
            batch.results = self._checked(self._function(batch.inputs), len(batch.inputs))
        except BaseException as exc:
            batch.failure = exc
        finally:
            batch.is_done.set()

    def _checked(self, results: Any, count: int) -> Sequence[Y]:
        if len(results) != count:
            text = f"{len(results)} results for {count} inputs"
            raise ValueError(f"batched {self._function!r} returned {text}")
        checked: Sequence[Y] = results
        return checked

    async def call_async(self, item: X) -> Y:
        """The result for `item`, awaited; raises as a call does."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, [])
        future: asyncio.Future[Y] = loop.create_future()
        waiting.append((item, future))
        if len(waiting) >= self._max_size:
            self._start(loop, waiting)
        elif len(waiting) == 1:
            loop.call_later(self._max_wait, self._start, loop, waiting)
        return await future

    def _start(
        self, loop: asyncio.AbstractEventLoop, waiting: list[tuple[X, asyncio.Future[Y]]]
    ) -> None:
        if self._waiting.get(loop) is waiting:  # else it was full before its time was over
            del self._waiting[loop]
            task = loop.create_task(self._run_async(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_async(self, waiting: list[tuple[X, asyncio.Future[Y]]]) -> None:
        wanted = [(item, future) for item, future in waiting if not future.done()]
        inputs = [item for item, _ in wanted]
        if not inputs:
            return
        try:
            if inspect.iscoroutinefunction(self._function):
                found = await self._function(inputs)
            else:
                found = await asyncio.to_thread(self._function, inputs)
            results = self._checked(found, len(inputs))
        except BaseException as exc:
            for _, future in wanted:
                if not future.done():
                    future.set_exception(exc)
            if not isinstance(exc, Exception):
                raise
            return
        for (_, future), result in zip(wanted, results, strict=True):
            if not future.done():
                future.set_result(result)


def batched(
    max_size: int = 32, max_wait_ms: float = 5.0
) -> Callable[[Callable[[list[X]], Any]], Batched[X, Any]]:
    """Makes a function of a list of inputs callable with one input, from many requests at once.

    A call takes at most `max_wait_ms` more, and the model runs once for up to `max_size` of them.
    See `Batched`.
    """
    return lambda function: Batched(function, max_size, max_wait_ms)
