# SPDX-License-Identifier: Apache-2.0
"""Processes of a Python node that answer gen_server calls.

A server whose function is a plain one has a thread, which takes one message after the other, as a
gen_server does. With coroutine functions it is a task of the node's event loop, which takes up to
CONCURRENT messages at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from ._hidden_arrivals import reference
from ._hidden_calls import python_error
from ._hidden_core import Core
from ._hidden_process import Process
from ._hidden_terms import encoded
from ._hidden_waits import Operation, awaiting, blocking
from ._tracebacks import format_exception
from .errors import HornbeamError, NodeDown, NotConnected, TermError
from .terms import ImproperList, Pid

__all__ = ["ENDS_NOT", "Handler", "fail", "parse_request", "reply", "serve"]

log = logging.getLogger("hornbeam.distribution")
Handler: TypeAlias = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
CONCURRENT: Final = 256
"""Messages that an asynchronous server works on at a time."""
REPLY: Final = 10.0
"""Seconds that the node of a caller has to take a reply."""
ENDS_NOT: Final = (Exception, SystemExit)
"""What a function may raise, and only its caller hears of it: an exit that gets to the event loop
would end the node."""


def parse_request(message: Any) -> tuple[str, Any, Any]:
    """What a message to a server is: ("call", (pid, tag), request), ("cast" or "info", None, …)."""
    if isinstance(message, tuple):
        if len(message) == 3 and message[0] == "$gen_call" and _is_caller(message[1]):
            return "call", message[1], message[2]
        if len(message) == 2 and message[0] == "$gen_cast":
            return "cast", None, message[1]
    return "info", None, message


def _is_caller(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Pid)


def reply(core: Core, server: Process, caller: tuple[Pid, Any], value: object) -> Operation[None]:
    """Sends the reply to a call; TermError before anything is sent."""
    pid, tag = caller
    alias = reference(tag) if isinstance(tag, ImproperList) else None
    yield from core.send(server.pid, pid if alias is None else alias, (tag, value))


def fail(core: Core, server: Process, caller: tuple[Pid, Any], exc: BaseException) -> None:
    """Lets one call fail, as if the server had ended for this caller alone."""
    ref = reference(caller[1])
    if ref is None:
        return
    why = encoded(python_error(exc, format_exception(exc)))
    with core.lock:
        watcher, target = server.watchers.pop(ref, (caller[0], server.pid))
    core.tell(watcher.node, lambda signals: signals.monitor_exit(target, watcher, ref, why))


class Server:
    """One server: which function takes what."""

    def __init__(
        self,
        core: Core,
        process: Process,
        call: Handler | None,
        cast: Handler | None,
        info: Handler | None,
    ) -> None:
        self._core = core
        self._process = process
        self._handlers = {"call": call, "cast": cast, "info": info}
        self._room = asyncio.Semaphore(CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- a thread --------------------------------------------------------------------------------

    def run(self) -> None:
        """Takes messages until the process ends."""
        # Whatever ends the thread: nobody may wait for a server that is not there.
        with self._process:
            self._run()

    def _run(self) -> None:
        while True:
            try:
                # No deadline: the end of the process, and of the node, ends the wait.
                message = self._process.receive(None)
            except NotConnected:
                return
            except TermError as exc:
                log.warning("%r drops a message that Python cannot hold: %s", self._process, exc)
                continue
            self._take(message)

    def _take(self, message: Any) -> None:
        kind, caller, request = parse_request(message)
        handler = self._handlers[kind]
        try:
            if handler is None:
                raise _unwanted(kind)
            result = handler(request)
            if kind == "call":
                blocking(reply(self._core, self._process, caller, result), REPLY, "reply")
        except ENDS_NOT as exc:
            self._failed(kind, caller, exc)

    # -- an event loop ---------------------------------------------------------------------------

    async def run_async(self) -> None:
        """Takes messages until the process ends, several at a time."""
        while True:
            await self._room.acquire()
            try:
                message = await self._process.aio.receive(None)
            except NotConnected:
                return
            except TermError as exc:
                log.warning("%r drops a message that Python cannot hold: %s", self._process, exc)
                self._room.release()
                continue
            task = asyncio.get_running_loop().create_task(self._take_async(message))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def _take_async(self, message: Any) -> None:
        kind, caller, request = parse_request(message)
        handler = self._handlers[kind]
        try:
            if handler is None:
                raise _unwanted(kind)
            result = handler(request)
            if inspect.isawaitable(result):
                result = await result
            if kind == "call":
                await awaiting(reply(self._core, self._process, caller, result), REPLY, "reply")
        except ENDS_NOT as exc:
            self._failed(kind, caller, exc)
        except asyncio.CancelledError as exc:  # of the handler by itself, or the node stops
            if kind == "call":
                fail(self._core, self._process, caller, exc)
            raise

    def _failed(self, kind: str, caller: Any, exc: BaseException) -> None:
        if isinstance(exc, NodeDown):  # whoever asked is gone
            return
        if self._handlers[kind] is None:
            log.warning("%r drops a message: %s", self._process, exc)
        else:
            log.error("a %s of %r failed", kind, self._process, exc_info=exc)
        if kind == "call":
            fail(self._core, self._process, caller, exc)


def _unwanted(kind: str) -> HornbeamError:
    return HornbeamError(f"this server takes no {kind}")


def serve(
    core: Core,
    loop: asyncio.AbstractEventLoop,
    name: str,
    call: Handler | None,
    cast: Handler | None,
    info: Handler | None,
) -> Process:
    """Starts a server under a name; it ends with its process."""
    given = [handler for handler in (call, cast, info) if handler is not None]
    if not given:
        raise ValueError("a server needs a function for calls, casts or other messages")
    process = core.spawn(name)
    server = Server(core, process, call, cast, info)
    if any(map(inspect.iscoroutinefunction, given)):
        asyncio.run_coroutine_threadsafe(server.run_async(), loop)
    else:
        threading.Thread(target=server.run, name=f"hornbeam-{name}", daemon=True).start()
    return process
