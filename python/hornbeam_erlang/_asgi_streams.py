# SPDX-License-Identifier: Apache-2.0
"""Streams of the node in a worker with an event loop: async generators are tasks of the loop,
generators take their steps in the threads of `CallServer`.

Runs in the loop's thread.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import copy_context
from typing import Any

from . import _producers, _served, codec
from ._asgi_calls import CallServer
from ._asgi_connection import Connection
from ._flow import Producer
from ._hub_calls import EMPTY_MAP
from ._wire import FAULT, ITEM, ITEM_CREDIT, RESULT, Message
from .errors import TermError


class StreamServer:
    """Runs the node's streams."""

    def __init__(self, connection: Connection, calls: CallServer) -> None:
        self._connection = connection
        self._hub = connection.hub
        self._calls = calls
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._granted: dict[int, asyncio.Event] = {}

    def start(self, message: Message) -> None:
        """Begins STREAM `message`."""
        _, ident, _, _, service, payload = message
        producer = self._hub.producers.get(ident)
        if producer is None:
            return
        function = _served.target(service, payload)
        if not (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
            self._calls.in_thread(self._in_thread, message, -ident)
            return
        context = copy_context()
        context.run(_served.ORIGIN.set, -ident)
        task = self._connection.loop.create_task(self._serve(producer, message), context=context)
        self._granted[ident] = asyncio.Event()
        self._tasks[ident] = task
        task.add_done_callback(lambda _: self._forget(ident))

    def _forget(self, ident: int) -> None:
        del self._tasks[ident], self._granted[ident]

    def credit(self, message: Message) -> None:
        """Lets a stream go on that had used up its credit."""
        granted = self._granted.get(message[1])
        if granted is not None:
            granted.set()
        else:
            self._calls.in_thread(self._resume, message, -message[1])

    def revoke(self, message: Message) -> bool:
        """Ends the stream that REVOKE `message` is about; False when it is about none."""
        ident = message[1]
        producer = self._hub.producers.get(ident)
        if producer is None:
            return False
        producer.is_cancelled = True
        task = self._tasks.get(ident)
        if task is not None:
            task.cancel()
        else:
            self._hub.unpark(producer, (ITEM_CREDIT, ident, 0))
        return True

    def _in_thread(self, message: Message) -> None:
        _producers.start(self._hub, message)

    def _resume(self, message: Message) -> None:
        _producers.resume(self._hub, message)

    async def _serve(self, producer: Producer, message: Message) -> None:
        end = await self._run(producer, message)
        self._hub.end_stream(producer, end)
        self._connection.flush_soon()

    async def _run(self, producer: Producer, message: Message) -> Message:
        """Sends the items; what ends the stream."""
        _, ident, _, _, service, payload = message
        items: Any = None
        try:
            function, positional, keyword = _served.prepare(ident, service, payload)
            items = function(*positional, **keyword)
            if inspect.isawaitable(items):
                items = await items
            async for item in _each(items):
                self._send(producer, item)
                await self._credit(producer)
        except _served.Refused as exc:
            return exc.fault
        except asyncio.CancelledError:
            return (FAULT, ident, b"cancelled", EMPTY_MAP)
        except _BadItem as exc:
            return _served.term_fault(ident, f"an item cannot be sent: {exc}")
        except BaseException as exc:
            return _served.handler_fault(ident, exc)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        return (RESULT, ident, _producers.UNDEFINED)

    def _send(self, producer: Producer, item: Any) -> None:
        try:
            payload = codec.encode(item)
        except TermError as exc:
            raise _BadItem(str(exc)) from exc
        self._connection.send((ITEM, producer.ident, payload), len(payload))

    async def _credit(self, producer: Producer) -> None:
        """Returns when one more item may be sent."""
        hub, granted = self._hub, self._granted[producer.ident]
        flow = hub.session.served_streams[producer.ident]
        while flow.credit() <= 0:
            granted.clear()
            with hub.mutex:
                producer.is_parked = flow.credit() <= 0
            if producer.is_parked:
                await granted.wait()


class _BadItem(Exception):
    """An item of a stream has no Erlang term."""


async def _each(items: Any) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterator):
        async for item in items:
            yield item
    else:
        for item in _producers.iterate(items):
            yield item
