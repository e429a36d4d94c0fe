# SPDX-License-Identifier: Apache-2.0
"""Messages that a process of a Python node has not received yet.

Filled by the node's event loop, emptied by any thread or event loop. Messages stay external terms
until they are received: decoding is the receiver's time, and what waits is bounded in bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

from ._hidden_terms import decoded
from ._hidden_waits import Operation
from .errors import NotConnected

__all__ = ["Mailbox"]

OVERHEAD = 64  # bytes that a message counts beside its own


class Mailbox:
    """What one process still has to receive.

    Args:
        limit: bytes of messages it may hold.
    """

    __slots__ = ("_closed", "_items", "_lock", "_size", "_waiters", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._items: deque[bytes] = deque()
        self._size = 0
        self._waiters: deque[Future[bytes]] = deque()
        self._closed: str | None = None

    def put(self, message: bytes) -> bool:
        """Adds an external term; False: it would hold more than its limit."""
        with self._lock:
            if self._closed is not None or self._hand_over(message):
                return True
            self._size += len(message) + OVERHEAD
            self._items.append(message)
            return self._size <= self.limit

    def _hand_over(self, message: bytes) -> bool:
        """Gives a message to whoever waits; the caller holds the lock."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(message)
                return True
        return False

    def close(self, reason: str) -> None:
        """Ends every wait, and those to come; what has not been received is dropped."""
        with self._lock:
            self._closed = reason
            self._items.clear()
            self._size = 0
            waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                waiter.set_exception(NotConnected("receive", reason))

    def __len__(self) -> int:
        return len(self._items)

    def receive(self) -> Operation[Any]:
        """The next message as a value.

        Raises:
            CallTimeout: none came in time.
            NotConnected: the process has ended.
            TermError: the message cannot be a value of Python; it is gone.
        """
        message = self._take()
        if message is None:
            waiter = self._next()
            try:
                message = yield waiter
            except BaseException:
                self._give_back(waiter)
                raise
        return decoded(message)

    def _take(self) -> bytes | None:
        """The next message if it is there."""
        with self._lock:
            if not self._items:
                return None
            message = self._items.popleft()
            self._size -= len(message) + OVERHEAD
            return message

    def _next(self) -> Future[bytes]:
        waiter: Future[bytes] = Future()
        with self._lock:
            if self._items:
                message = self._items.popleft()
                self._size -= len(message) + OVERHEAD
                waiter.set_result(message)
            elif self._closed is not None:
                waiter.set_exception(NotConnected("receive", self._closed))
            else:
                self._waiters.append(waiter)
        return waiter

    def _give_back(self, waiter: Future[bytes]) -> None:
        """Whoever waited has gone: a message that reached it meanwhile is the next again, also for
        those who wait already."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None and self._closed is None:
                message = waiter.result()
                if not self._hand_over(message):
                    self._items.appendleft(message)
                    self._size += len(message) + OVERHEAD
