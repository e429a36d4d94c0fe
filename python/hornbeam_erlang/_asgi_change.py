# SPDX-License-Identifier: Apache-2.0
"""What one coroutine waits for, once: like a future, but a task may go on in the turn of the loop
in which it happens.

Runs in the loop's thread. A future has the loop take the next step of the task in its next turn;
messages of WebSockets that come together are then answered one turn, and one write, later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any


class Change:
    """One wait of one task, which calls what `asyncio.Future` has, too.

    Args: loop: the loop of the task.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_is_done", "_loop", "_why")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False  # how a task knows what it can wait for
        self._loop = loop
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._is_done = False
        self._why: BaseException | None = None

    # For whoever makes it happen.

    def happen(self) -> None:
        """Has the task go on in the next turn of the loop."""
        if not self._is_done:
            self._is_done = True
            callback = self._callback
            if callback is not None:
                self._loop.call_soon(callback, self, context=self._context)

    def happen_at_once(self, task: object) -> None:
        """Takes the next step of the task that waits, if that is `task`; it may not raise. No task
        is current."""
        callback = self._callback
        if self._is_done or callback is None or getattr(callback, "__self__", None) is not task:
            self.happen()
            return
        self._is_done = True
        context = self._context
        assert context is not None
        context.run(callback, self)

    # For the task.

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Change:
        return self

    def __next__(self) -> Change:
        if self._is_done:
            self.result()
            raise StopIteration
        self._asyncio_future_blocking = True
        return self

    def result(self) -> None:
        """Raises: CancelledError: the wait was cancelled."""
        if self._why is not None:
            raise self._why

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop

    def done(self) -> bool:
        """Whether it has happened, or the wait was cancelled."""
        return self._is_done

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Notes the one task that waits."""
        self._callback, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """Ends the wait with CancelledError; False when it is over already."""
        if self._is_done:
            return False
        self._why = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.happen()
        return True
