# SPDX-License-Identifier: Apache-2.0
"""Serves an ASGI application: the event loop of a worker, from the startup of the application to
its shutdown.

Runs in the main thread, which is the loop's. Each request is one run of the application (`Cycle`);
all of them share the loop with what the application does on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from ._asgi_calls import CallServer
from ._asgi_connection import Connection, Fail
from ._asgi_http import HTTPCycle
from ._asgi_lifespan import Lifespan, LifespanFailed
from ._asgi_requests import Requests
from ._asgi_scope import ScopeMaker
from ._asgi_streams import StreamServer
from ._config import Config
from ._hub import Hub
from ._loader import LoadError
from ._transport import Transport
from ._wire import (
    BINARY,
    BODY,
    CALL,
    CANCEL,
    CAST,
    CLOSE,
    CREDIT,
    DRAIN,
    ITEM_CREDIT,
    OPEN,
    REVOKE,
    STREAM,
    TEXT,
    WEBSOCKET,
    Message,
)


def make_loop(name: str) -> asyncio.AbstractEventLoop:
    """The event loop `auto`, `asyncio` or `uvloop`, and makes it that of this thread.

    Raises: LoadError: `import_failed`, when it is uvloop and that is not installed.
    """
    loop: asyncio.AbstractEventLoop | None = None
    if name != "asyncio":
        try:
            import uvloop

            loop = uvloop.new_event_loop()
        except ImportError as exc:
            if name == "uvloop":
                text = f"loop is uvloop, which cannot be imported ({exc}): pip install uvloop"
                raise LoadError("import_failed", text) from exc
    loop = loop or asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


class ASGI:
    """The server side of ASGI for one application.

    Args:
        application: the ASGI callable.
        ready: called once the startup has succeeded.
    """

    def __init__(
        self,
        connection: Connection,
        application: Callable[..., Any],
        config: Config,
        ready: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._hub = connection.hub
        self._application = application
        self._config = config
        self._ready = ready
        self._requests = Requests(connection, application, self._scopes({}))
        HTTPCycle.runner = connection.runner
        HTTPCycle.files = config.files
        self._calls = CallServer(connection, config.threads)
        self._streams = StreamServer(connection, self._calls)

    async def main(self) -> None:
        """Serves until the worker has drained.

        Raises: LoadError: `lifespan_failed`.
        """
        config, connection = self._config, self._connection
        lifespan = Lifespan(self._application, config.lifespan, config.lifespan_timeout / 1000)
        connection.start(self._handlers())
        try:
            await lifespan.startup()
        except LifespanFailed as exc:
            raise LoadError("lifespan_failed", str(exc)) from exc
        self._requests.scopes = self._scopes(lifespan.state)
        # What was loaded stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._ready()
        await connection.drained
        await lifespan.shutdown()

    def _handlers(self) -> dict[int, Callable[[Message], None]]:
        return {
            OPEN: self._requests.open,
            WEBSOCKET: self._requests.websocket,
            **dict.fromkeys((BODY, CREDIT, TEXT, BINARY, CLOSE), self._requests.arrived),
            CANCEL: self._cancel,
            CALL: self._calls.call,
            CAST: self._calls.cast,
            REVOKE: self._revoke,
            STREAM: self._streams.start,
            ITEM_CREDIT: self._streams.credit,
            DRAIN: self._drain,
        }

    def _scopes(self, state: Mapping[str, Any]) -> ScopeMaker:
        return ScopeMaker(self._config.script_name, state, self._config.files)

    def _revoke(self, message: Message) -> None:
        if not self._streams.revoke(message):
            self._calls.revoke(message)

    def _cancel(self, message: Message) -> None:
        cycle = self._connection.cycles.get(message[1])
        if cycle is not None:
            self._connection.cancel(cycle, message[2])

    def _drain(self, message: Message) -> None:
        self._connection.drain()


def serve(
    hub: Hub,
    transport: Transport,
    loop: asyncio.AbstractEventLoop,
    application: Callable[..., Any],
    config: Config,
    ready: Callable[[], None],
    fail: Fail,
) -> None:
    """Serves `application` on `loop` until the worker has drained.

    Raises: LoadError: `lifespan_failed`.
    """
    connection = Connection(hub, transport, loop, fail)
    asgi = ASGI(connection, application, config, ready)
    try:
        # In the loop's own way: libraries look for a task that was started so (anyio does).
        loop.run_until_complete(asgi.main())
    finally:
        loop.run_until_complete(_end_loop(loop, config.lifespan_timeout / 1000))
    connection.stop()


async def _end_loop(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Ends what the application has left running, as `asyncio.run` does, but not for ever."""
    rest = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=seconds)
    endings: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
        loop.shutdown_asyncgens,
        loop.shutdown_default_executor,
    )
    for ending in endings:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ending()
