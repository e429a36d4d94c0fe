# SPDX-License-Identifier: Apache-2.0
"""Streams of the node: a handler's items, made as they are wanted.

Every step of a generator runs in a thread of the worker, in the one that waits for the origin of
the stream if there is one; between two steps, and while the reader has granted nothing, it keeps
none. So the steps of one generator may run in different threads, one after the other.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from time import monotonic
from typing import Any

from . import _served, codec
from ._flow import Producer
from ._hub import Hub
from ._hub_calls import EMPTY_MAP
from ._served import ORIGIN, SERVERS
from ._wire import FAULT, ITEM, ITEM_CREDIT, RESULT, REVOKE, STREAM, Message
from .errors import TermError

TURN_ITEMS = 64  # then others get the thread, and the stream waits for its next turn
UNDEFINED = codec.encode(None)


def start(hub: Hub, message: Message) -> None:
    """Calls the handler of STREAM `message` in this thread, and sends its first items."""
    _, ident, _, _, service, payload = message
    producer = hub.producers.get(ident)
    if producer is None:
        return  # it was ended while it waited
    if producer.is_cancelled:
        hub.end_stream(producer, (FAULT, ident, b"cancelled", EMPTY_MAP))
        return
    token = ORIGIN.set(-ident)
    try:
        fault = _begin(producer, service, payload)
    finally:
        ORIGIN.reset(token)
    if fault is None:
        resume(hub, message)
    else:
        hub.end_stream(producer, fault)


def _begin(producer: Producer, service: bytes, payload: bytes) -> Message | None:
    """Calls the handler; what ends the stream at once if it gives no items."""
    ident = producer.ident
    try:
        function, positional, keyword = _served.prepare(ident, service, payload)
        result = function(*positional, **keyword)
        if inspect.iscoroutine(result):
            result = _served.run_coroutine(result)
        producer.iterator = iterate(result)
    except _served.Refused as exc:
        return exc.fault
    except BaseException as exc:
        return _served.handler_fault(ident, exc)
    return None


def iterate(result: object) -> Iterator[Any]:
    """The items of what a handler returned.

    Raises: TypeError: it has none.
    """
    if isinstance(result, AsyncIterator):
        return _Stepper(result)
    if isinstance(result, Iterator):
        return result
    if isinstance(result, list | tuple):
        return iter(result)
    kind = type(result).__name__
    raise TypeError(f"a stream needs a generator, an iterator or a list; the handler gave a {kind}")


def resume(hub: Hub, message: Message) -> None:
    """Lets the stream that `message` is about go on in this thread, as far as its credit goes."""
    producer = hub.producers.get(message[1])
    if producer is None:
        return
    token = ORIGIN.set(-producer.ident)
    try:
        end = _advance(hub, producer)
    finally:
        ORIGIN.reset(token)
    if end is not None:
        hub.end_stream(producer, end)


def _advance(hub: Hub, producer: Producer) -> Message | None:
    """Sends items until there are no more, or no credit, or others wait; the answer at the end."""
    ident = producer.ident
    flow = hub.session.served_streams[ident]
    for _ in range(TURN_ITEMS):
        if producer.is_cancelled:
            close(producer)
            return (FAULT, ident, b"cancelled", EMPTY_MAP)
        if flow.credit() <= 0:
            with hub.mutex:
                producer.is_parked = flow.credit() <= 0 and not producer.is_cancelled
            if producer.is_parked:
                return None
            continue
        end = _step(hub, producer)
        if end is not None:
            return end
    producer.is_parked = True
    hub.unpark(producer, (ITEM_CREDIT, ident, 0))
    return None


def _step(hub: Hub, producer: Producer) -> Message | None:
    ident = producer.ident
    deadline = monotonic() + producer.seconds
    try:
        item = next(producer.iterator)
    except StopIteration:
        return (RESULT, ident, UNDEFINED)
    except BaseException as exc:
        return _served.handler_fault(ident, exc)
    if monotonic() > deadline:
        # A reader on this very thread could not tell.
        close(producer)
        return (FAULT, ident, b"timeout", EMPTY_MAP)
    try:
        payload = codec.encode(item)
    except TermError as exc:
        close(producer)
        return _served.term_fault(ident, f"an item cannot be sent: {exc}")
    hub.send((ITEM, ident, payload), len(payload))
    hub.outbox.flush_if_due()
    return None


def close(producer: Producer) -> None:
    """Closes the generator; what it raises is logged, nobody is left to tell."""
    shut = getattr(producer.iterator, "close", None)
    if shut is None:
        return
    try:
        shut()
    except BaseException:
        logging.getLogger("hornbeam.calls").exception("a stream that was given up does not close")


class _Stepper:
    """An async iterator, driven where no event loop runs, by a loop of its own."""

    def __init__(self, items: AsyncIterator[Any]) -> None:
        import asyncio  # a worker for WSGI does without, unless its application does not

        self._items = items
        self._loop = asyncio.new_event_loop()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(self._next())
        except StopAsyncIteration:
            self._loop.close()
            raise StopIteration from None

    async def _next(self) -> Any:
        return await anext(self._items)

    def close(self) -> None:
        """Closes the generator and its loop."""
        if self._loop.is_closed():
            return
        try:
            if isinstance(self._items, AsyncGenerator):
                self._loop.run_until_complete(self._items.aclose())
        finally:
            self._loop.close()


def install() -> None:
    """Makes threads serve streams."""
    SERVERS.update({STREAM: start, ITEM_CREDIT: resume, REVOKE: resume})
