# SPDX-License-Identifier: Apache-2.0
"""Messages that were published for one subscriber and that it has not received yet.

Filled by the thread that reads the connection, emptied by the subscriber, in any thread or event
loop. Bounded: the oldest message makes room for the newest, and is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from . import codec
from ._calls_async import AsyncCall
from ._hub import Hub
from .errors import NodeDown

LOOK_SECONDS = 1.0


T = TypeVar("T")


class Published(NamedTuple, Generic[T]):
    """One message.

    Attributes:
        topic: what it was published to.
        message: its value.
    """

    topic: str
    message: T


class Mailbox:
    """What one subscriber still has to receive.

    Args:
        hub: the connection.
        limit: messages kept, >= 1.

    Attributes:
        lost: messages that were dropped because the subscriber was too slow.
        waiter: the thread that waits for a message; belongs to the hub.
        closed: nothing will come any more.
    """

    __slots__ = ("_failure", "_hub", "_items", "_waiting", "closed", "lost", "waiter")

    def __init__(self, hub: Hub, limit: int) -> None:
        self._hub = hub
        self._items: deque[tuple[bytes, bytes]] = deque(maxlen=limit)
        self._waiting: AsyncCall | None = None
        self._failure: tuple[str, str] | None = None
        self.lost = 0
        self.closed = False
        self.waiter: Any = None

    def put(self, topic: bytes, payload: bytes, lost: int) -> None:
        """Adds one encoded message; `lost` were dropped by the node before it."""
        items = self._items
        self.lost += lost + (len(items) == items.maxlen)
        items.append((topic, payload))
        self._wake()

    def close(self, failure: tuple[str, str] | None = None) -> None:
        """Ends every wait. What is there can still be received.

        Args: failure: node and reason, when it is because the connection has ended: who receives
            gets NodeDown.
        """
        self._failure = failure
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        hub, waiting = self._hub, self._waiting
        if self.waiter is not None:
            with hub.mutex:
                hub.threads.wake(self.waiter)
        if waiting is not None:
            waiting.resolve()

    def _is_ready(self) -> bool:
        return bool(self._items) or self.closed

    def _pop(self) -> Published[Any] | None:
        try:
            topic, payload = self._items.popleft()
        except IndexError:
            if self._failure is not None:
                raise NodeDown(*self._failure) from None
            return None
        return Published(topic.decode(), codec.decode(payload))

    def receive(self, seconds: float | None, operation: str) -> Published[Any] | None:
        """The next message; None when none came within `seconds`, or after `close`.

        Args:
            seconds: 0 only looks; None waits until there is one.

        Raises:
            RuntimeError: somebody else waits for a message of this subscriber.
            NodeDown: the connection has ended; after the messages that came before.
        """
        published = self._pop()
        if published is not None or seconds == 0 or self.closed:
            return published
        self._claim(operation)
        deadline = inf if seconds is None else monotonic() + seconds
        # In steps, because `close` by another thread does not wake a thread that reads.
        while not self._is_ready() and (left := deadline - monotonic()) > 0:
            self._hub.wait(self, self._is_ready, min(left, LOOK_SECONDS))
        return self._pop()

    async def receive_async(self, seconds: float | None, operation: str) -> Published[Any] | None:
        """`receive` for an event loop, which goes on meanwhile."""
        published = self._pop()
        if published is not None or seconds == 0 or self.closed:
            return published
        self._claim(operation)
        await self._wait(seconds)
        return self._pop()

    async def _wait(self, seconds: float | None) -> None:
        awaited, loop = self._hub.awaited, asyncio.get_running_loop()
        waiting = self._waiting = AsyncCall(loop, inf)
        timer = None if seconds is None else loop.call_later(seconds, waiting.resolve)
        if not awaited.add(self, waiting):
            self._hub.ring()
        try:
            if not self._is_ready():  # else it came before anybody could be told
                await waiting.future
        finally:
            self._waiting = None
            awaited.remove(self)
            if timer is not None:
                timer.cancel()

    def _claim(self, operation: str) -> None:
        if self.waiter is not None or self._waiting is not None:
            raise RuntimeError(f"{operation}: another thread or task waits for the same messages")
