# SPDX-License-Identifier: Apache-2.0
"""The request body of one exchange that arrives while the application receives it.

Runs in the loop's thread. Bytes arrive against credit: the window when the application first
receives, more as it goes on. So what was not started can be given to another worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._wire import BODY_CREDIT

if TYPE_CHECKING:
    from ._asgi_cycle import Cycle, Event


class Body:
    """A body that streams.

    Args:
        cycle: the request.
        first: the bytes that came with it.
    """

    __slots__ = ("_cycle", "_first", "_flow", "_owed", "is_over")

    def __init__(self, cycle: Cycle, first: bytes) -> None:
        self._cycle = cycle
        self._first = first
        session = cycle.connection.session
        self._flow = session.flow(cycle.ident)
        # What the node may be granted now: the window at first, then what was received of it. The
        # first bytes cost nothing.
        self._owed = session.request_window - len(first)
        self.is_over = False  # its last event has been received

    async def receive(self) -> Event | None:
        """The next part; None once the body is over, or when it breaks off."""
        if self.is_over:
            return None
        data, self._first = self._first, b""
        if not data:
            data = await self._next()
        # What arrived before a body broke off is no body.
        if self._cycle.gone or self._cycle.is_closed():
            return None
        self._consumed(len(data))
        flow = self._flow
        more = flow.body_open or bool(flow.chunks)
        self.is_over = not more
        return {"type": "http.request", "body": data, "more_body": more}

    async def _next(self) -> bytes:
        flow, cycle = self._flow, self._cycle
        while not flow.chunks and flow.body_open and not cycle.gone and not cycle.is_closed():
            self._grant()
            await cycle.change()
        return flow.chunks.popleft() if flow.chunks else b""

    def _consumed(self, count: int) -> None:
        self._owed += count
        if self._owed >= self._cycle.connection.session.request_window // 2:
            self._grant()

    def _grant(self) -> None:
        cycle = self._cycle
        if self._owed > 0 and self._flow.body_open and not cycle.gone and not cycle.is_closed():
            cycle.connection.send((BODY_CREDIT, cycle.ident, self._owed))
            self._owed = 0
