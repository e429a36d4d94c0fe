# SPDX-License-Identifier: Apache-2.0
"""Streams of ours: the items of a handler somewhere else, one after the other.

`read` runs in the thread that iterates, `read_async` in any event loop. No more than a window of
items is under way; more are granted as they are read.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Generator
from time import monotonic
from typing import Any

from . import _calls, codec
from ._calls_async import AsyncStream
from ._flow import PendingStream
from ._hub import Hub
from ._states import StateError
from ._wire import ITEM_CREDIT, STREAM, STREAM_ITEMS

GRANT_ITEMS = STREAM_ITEMS // 2  # that many are read before as many more are granted


def read(
    service: str,
    positional: list[Any],
    keyword: dict[str, Any],
    timeout_ms: int,
    operation: str,
) -> Generator[Any, None, None]:
    """The items that a service of the node answers with.

    Args:
        service, positional, keyword: as for `_calls.call_service`.
        timeout_ms: milliseconds to wait for each item.
        operation: what errors call it.

    Raises: as `_calls.call_service`, after the items that came before. A reader that stops closes
        the generator at the other end.
    """
    hub = _calls.connected(operation)
    payload = codec.encode([positional, keyword])
    pending = PendingStream()
    ident = _calls.open_call(hub, pending, timeout_ms, service.encode(), payload, STREAM)
    items = _Items(hub, ident, pending.items)
    try:
        while True:
            _calls.wait_for(hub, pending, _calls.deadline_of(timeout_ms, operation))
            if not items:
                _calls.outcome(pending.answer, operation, timeout_ms)
                return
            yield items.take()
    finally:
        _calls.abandon(hub, ident, pending)


async def read_async(
    service: str,
    positional: list[Any],
    keyword: dict[str, Any],
    timeout_ms: int,
    operation: str,
) -> AsyncGenerator[Any, None]:
    """`read` for an event loop, which goes on meanwhile."""
    import asyncio

    hub = _calls.connected(operation)
    payload = codec.encode([positional, keyword])
    deadline = _calls.deadline_of(timeout_ms, operation)
    pending = AsyncStream(asyncio.get_running_loop(), deadline)
    ident = _calls.open_call(hub, pending, timeout_ms, service.encode(), payload, STREAM)
    items = _Items(hub, ident, pending.items)
    reads = hub.awaited.add(ident, pending)
    try:
        _calls.depart(hub, reads)
        while await _arrives(pending, items, timeout_ms, operation):
            yield items.take()
    finally:
        hub.awaited.remove(ident)
        _calls.abandon(hub, ident, pending)
        _calls.depart(hub, reads)


async def _arrives(pending: AsyncStream, items: _Items, timeout_ms: int, operation: str) -> bool:
    """Waits for the next item; False at the regular end."""
    deadline = _calls.deadline_of(timeout_ms, operation)
    pending.renew(deadline)
    # A wake-up may be on its way for an item that has been taken meanwhile.
    while not items and pending.answer is None and monotonic() < deadline:
        await pending.future
        pending.renew(deadline)
    if not items:
        _calls.outcome(pending.answer, operation, timeout_ms)
    return bool(items)


class _Items:
    """What has arrived of a stream and was not read yet."""

    def __init__(self, hub: Hub, ident: int, items: deque[bytes]) -> None:
        self._hub = hub
        self._ident = ident
        self._items = items
        self._read = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def take(self) -> Any:
        """The next item; grants more when half a window was read."""
        item = self._items.popleft()
        self._read += 1
        if self._read == GRANT_ITEMS:
            self._read = 0
            # It may end at this moment.
            with contextlib.suppress(StateError):
                self._hub.send((ITEM_CREDIT, self._ident, GRANT_ITEMS))
            self._hub.flush()
        return codec.decode(item)
