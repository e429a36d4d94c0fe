# SPDX-License-Identifier: Apache-2.0
"""`wsgi.input` of a request whose body arrives while the application reads it.

Runs in the thread of the application that reads. Bytes arrive against credit: the window when the
application first reads, more as it goes on. So what was not started can be given to another worker.
"""

from __future__ import annotations

import io
from typing import Any

from ._flow import Flow
from ._hub import Hub
from ._wire import BODY_CREDIT, Message

WAIT_GRACE_SECONDS = 5.0  # the node ends an exchange on time; this is for the case that it does not


class BodyReader(io.RawIOBase):
    """The request body of one exchange, unbuffered; `streamed_input` puts a buffer around it.

    Reading raises ConnectionAbortedError when the body breaks off, and never takes that for its
    end.
    """

    def __init__(self, hub: Hub, message: Message) -> None:
        self._hub = hub
        self._ident: int = message[1]
        self._seconds = message[2] / 1000 + WAIT_GRACE_SECONDS if message[2] else None
        self._flow: Flow = hub.session.flow(self._ident)
        self._rest = memoryview(message[9][0])
        # What the node may be granted now: the window at first, then what was read of it. The first
        # bytes cost nothing.
        self._owed = hub.session.request_window - len(self._rest)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next_chunk())
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._consumed(count)
        return count

    def _next_chunk(self) -> bytes:
        flow = self._flow
        if not flow.chunks and flow.body_open:
            self._grant()
            self._wait()
        # What arrived before a body broke off is no body: fail first.
        if flow.cancelled:
            reason = flow.cancelled.decode("ascii", "replace")
            raise ConnectionAbortedError(f"the request body broke off: {reason}")
        return flow.chunks.popleft() if flow.chunks else b""

    def _wait(self) -> None:
        flow = self._flow
        if self._ident not in self._hub.session.exchanges:
            raise ConnectionAbortedError("the request is over; its body can no longer be read")

        def ready() -> bool:
            return bool(flow.chunks) or not flow.body_open or bool(flow.cancelled)

        if not self._hub.wait(flow, ready, self._seconds):
            raise TimeoutError("the request body did not arrive in time")

    def _consumed(self, count: int) -> None:
        self._owed += count
        if self._owed >= self._hub.session.request_window // 2:
            self._grant()

    def _grant(self) -> None:
        flow = self._flow
        if self._owed <= 0 or not flow.body_open or flow.cancelled:
            return
        if self._ident in self._hub.session.exchanges:
            self._hub.send((BODY_CREDIT, self._ident, self._owed))
            self._owed = 0
            self._hub.flush()


def streamed_input(hub: Hub, message: Message) -> io.BufferedReader:
    """The `wsgi.input` for OPEN `message`, whose body follows in BODY messages."""
    return io.BufferedReader(BodyReader(hub, message))
