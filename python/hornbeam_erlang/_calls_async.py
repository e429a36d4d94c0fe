# SPDX-License-Identifier: Apache-2.0
"""Calls of ours that an event loop waits for, without keeping a thread.

Made by the loop's thread; resolved by whichever thread reads the answer, or by the attendant.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING

from ._leader import Leadership
from ._wire import Message

if TYPE_CHECKING:  # a worker for WSGI does without, unless its application does not
    import asyncio


class AsyncCall:
    """As `PendingCall`, for `await`. Calls of the node never nest in it: there is no thread.

    Args:
        loop: the running loop.
        deadline: monotonic time after which no answer is waited for.

    Attributes:
        answer: the RESULT or FAULT, once it is there.
        future: done when `answer` is there, or when the time is over.
        nested, waiter: what `PendingCall` has there; always empty.
    """

    __slots__ = ("_loop", "_thread", "answer", "deadline", "future", "nested", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self._loop = loop
        self._thread = get_ident()
        self.future: asyncio.Future[None] = loop.create_future()
        self.deadline = deadline
        self.answer: Message | None = None
        self.nested: deque[Message] = deque()
        self.waiter = None

    def resolve(self) -> None:
        """Wakes whoever awaits, from any thread."""
        if get_ident() == self._thread:
            self._set()
            return
        # A loop that has been closed has nobody left who awaits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class AsyncStream(AsyncCall):
    """As `PendingStream`, for `await`.

    Attributes: items: payloads that have arrived and were not read yet.
    """

    __slots__ = ("items",)

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        super().__init__(loop, deadline)
        self.items: deque[bytes] = deque()

    def renew(self, deadline: float) -> None:
        """Makes it possible to wait once more, for the next item of a stream."""
        self.deadline = deadline
        if self.future.done():
            self.future = self._loop.create_future()


class AwaitedCalls:
    """The calls that event loops wait for now.

    Attributes:
        unread: how many of them wait in a loop that does not read the connection itself.
    """

    def __init__(self, threads: Leadership) -> None:
        self.unread = 0
        self._calls: dict[Hashable, AsyncCall] = {}
        self._threads = threads

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, key: Hashable, pending: AsyncCall) -> bool:
        """Notes what is waited for: the id of our call, or whatever else is waited for.

        Returns: whether the calling thread reads what comes for it itself.
        """
        threads = self._threads
        reads = threads.owner == get_ident()
        with threads.mutex:
            self._calls[key] = pending
            self.unread += not reads
        return reads

    def remove(self, key: Hashable) -> None:
        """The opposite; from the same thread."""
        threads = self._threads
        with threads.mutex:
            del self._calls[key]
            self.unread -= threads.owner != get_ident()

    def wake_overdue(self) -> None:
        """Ends the wait for answers whose time is over; for the attendant."""
        now = monotonic()
        with self._threads.mutex:
            overdue = [call for call in self._calls.values() if call.deadline <= now]
        for pending in overdue:
            pending.resolve()
