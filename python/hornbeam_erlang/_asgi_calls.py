# SPDX-License-Identifier: Apache-2.0
"""Calls of the node in a worker with an event loop: coroutine functions run as tasks of the loop,
plain functions in a few threads.

Runs in the loop's thread. A call with an origin whose caller keeps a thread has been handed to that
thread by the hub.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from . import _served
from ._asgi_connection import Connection
from ._hub_calls import EMPTY_MAP
from ._transport import EXIT_PROTOCOL, end_process
from ._wire import CALL, FAULT, Message


class CallServer:
    """Runs the node's calls and casts.

    Args: threads: how many plain functions run at once.
    """

    def __init__(self, connection: Connection, threads: int) -> None:
        self._connection = connection
        self._hub = connection.hub
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._casts: set[asyncio.Task[None]] = set()

    def call(self, message: Message) -> None:
        """Runs CALL `message` and answers it."""
        _, ident, _, _, service, payload = message
        if not _served.is_coroutine_service(service, payload):
            self.in_thread(self._perform, message, -ident)
            return
        task = self._start(message, -ident)
        self._tasks[ident] = task
        task.add_done_callback(lambda _: self._tasks.pop(ident, None))

    def cast(self, message: Message) -> None:
        """Runs CAST `message`."""
        if not _served.is_coroutine_service(message[1], message[2]):
            self.in_thread(self._perform, message, 0)
            return
        task = self._start(message, 0)
        self._casts.add(task)
        task.add_done_callback(self._casts.discard)

    def revoke(self, message: Message) -> None:
        """Cancels a task; what runs in a thread cannot be stopped, and answers when it is done."""
        ident = message[1]
        task = self._tasks.get(ident)
        if task is not None:
            task.cancel()
            self._hub.answer(ident, (FAULT, ident, b"cancelled", EMPTY_MAP))

    def _start(self, message: Message, origin: int) -> asyncio.Task[None]:
        context = copy_context()
        context.run(_served.ORIGIN.set, origin)
        return self._connection.loop.create_task(self._await(message), context=context)

    async def _await(self, message: Message) -> None:
        if message[0] == CALL:
            await _served.serve_call_async(self._hub, message)
        else:
            await _served.serve_cast_async(message)
        self._connection.flush_soon()

    def in_thread(self, run: Callable[[Message], None], message: Message, origin: int) -> None:
        """Runs `run(message)` in one of the threads; `origin`: see `_served.ORIGIN`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hornbeam-call")
        context = copy_context()
        context.run(_served.ORIGIN.set, origin)
        self._pool.submit(context.run, self._guard, run, message)

    def _perform(self, message: Message) -> None:
        if message[0] == CALL:
            _served.serve_call(self._hub, message)
        else:
            _served.serve_cast(self._hub, message)

    def _guard(self, run: Callable[[Message], None], message: Message) -> None:
        """An exception that gets here is a bug of hornbeam."""
        try:
            run(message)
        except BaseException:
            traceback.print_exc()
            end_process(EXIT_PROTOCOL)
        self._hub.flush()
        if self._connection.is_draining:
            self._connection.loop.call_soon_threadsafe(self._connection.check_drained)
