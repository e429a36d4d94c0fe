# SPDX-License-Identifier: Apache-2.0
"""Functions of Python that other nodes may call with `rpc` and `erpc`: those on a list, no others.

Requests arrive in the node's event loop, its own ones in the thread that asks. Coroutine functions
run in that loop, plain ones in a pool of threads. Erlang's services that other nodes expect of any
node are answered here, too: `net_kernel` (ping) and `rex` (rpc of old nodes).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from ._distribution_connection import Encoded
from ._distribution_events import SpawnRequest
from ._hidden_calls import python_error
from ._hidden_core import Core, Wire
from ._hidden_servers import ENDS_NOT, parse_request, reply
from ._hidden_terms import decoded, encoded
from ._hidden_waits import Operation, awaiting
from ._tracebacks import format_exception
from .errors import HornbeamError, TermError
from .terms import Atom, Pid, Ref

__all__ = ["Functions"]

log = logging.getLogger("hornbeam.distribution")
MAX_RUNNING: Final = 10_000
"""Calls of other nodes that run or wait for a thread."""
REPLY: Final = 10.0
MONITOR: Final = Atom("monitor")
_UNDEF: Final = Atom("undef")
_CANCELLED: Final = Atom("cancelled")
_BAD: Final = Atom("badrpc")
_EXIT: Final = Atom("EXIT")


class Functions:
    """What may be called, and what is running.

    Args:
        core: tables of the node.
        loop: its event loop.
        threads: how many plain functions run at a time.
    """

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        self._core = core
        self._loop = loop
        self._allowed: dict[tuple[str, str], Callable[..., Any]] = {}
        self._threads = ThreadPoolExecutor(threads, "hornbeam-node")
        self._tasks: set[asyncio.Task[None]] = set()
        self._kernel = core.spawn("net_kernel")
        self._kernel.on_message = self._ask_kernel
        self._rex = core.spawn("rex")
        self._rex.on_message = self._ask_rex

    def allow(self, module: str, function: str, target: Callable[..., Any]) -> None:
        """Lets other nodes call a function as Module:Function."""
        if not callable(target):
            raise TypeError(f"{target!r} cannot be called")
        self._allowed[Atom(module), Atom(function)] = target

    def close(self) -> None:
        """Takes nothing more; functions that run are left to end, their results go nowhere."""
        for task in list(self._tasks):
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- running ---------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # What the node asks of itself comes in the thread that asks.
        if _runs_in(self._loop):
            self._create(work)
        else:
            self._loop.call_soon_threadsafe(self._create, work)

    def _create(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, module: object, function: object, args: object) -> tuple[str, object]:
        """("return", value) or ("error", reason) of a function on the list."""
        target = self._allowed.get((str(module), str(function)))
        if target is None or not isinstance(args, list):
            return "error", _UNDEF
        if len(self._tasks) > MAX_RUNNING:
            return "error", Atom("system_limit")
        try:
            if inspect.iscoroutinefunction(target):
                return "return", await target(*args)
            return "return", await self._loop.run_in_executor(self._threads, target, *args)
        except ENDS_NOT as exc:
            log.error("%s:%s, called by another node, failed", module, function, exc_info=exc)
            return "error", python_error(exc, format_exception(exc))
        except asyncio.CancelledError:  # of the function by itself, or the node stops
            return "error", _CANCELLED

    # -- erpc ------------------------------------------------------------------------------------

    def spawn(self, wire: Wire, request: SpawnRequest) -> None:
        """Answers a request to start a process: only erpc's two functions are there."""
        wanted = (request.module, request.function, request.arity)
        cast = wanted == ("erpc", "execute_cast", 3)
        if not cast and wanted != ("erpc", "execute_call", 4):
            self._refuse(wire, request, Atom("notsup"))
            return
        try:
            arguments = decoded(request.arguments)
        except TermError as exc:
            log.warning("a call of another node has arguments that Python cannot hold: %s", exc)
            self._refuse(wire, request, Atom("badarg"))
            return
        if not isinstance(arguments, list) or len(arguments) != request.arity:
            self._refuse(wire, request, Atom("badarg"))
        elif cast:
            self._accept(wire, request, self._core.identifiers.pid())
            self._start(self._cast(arguments))
        else:
            pid = self._core.identifiers.pid()
            self._accept(wire, request, pid)
            self._start(self._call(request, pid, arguments))

    def _refuse(self, wire: Wire, request: SpawnRequest, reason: Atom) -> None:
        wire.write(wire.core.spawn_reply(request.ref, request.sender, reason))

    def _accept(self, wire: Wire, request: SpawnRequest, pid: Pid) -> None:
        flags = 2 if MONITOR in request.options else 0
        wire.write(wire.core.spawn_reply(request.ref, request.sender, pid, flags))

    async def _cast(self, arguments: list[Any]) -> None:
        await self._run(*arguments)

    async def _call(self, request: SpawnRequest, pid: Pid, arguments: list[Any]) -> None:
        """Runs a function; erpc gets its result as the reason for which the process ends."""
        mark, module, function, args = arguments
        kind, value = await self._run(module, function, args)
        why = self._outcome(mark, kind, value, (module, function, args))
        if MONITOR in request.options:
            to, ref = request.sender, request.ref
            self._core.tell(to.node, lambda signals: signals.monitor_exit(pid, to, ref, why))

    def _outcome(self, mark: Ref, kind: str, value: object, entry: tuple[Any, ...]) -> Encoded:
        if kind == "return":
            try:
                return encoded((mark, Atom("return"), value))
            except TermError as exc:
                log.error("%s:%s, called by another node, returned what has no term", *entry[:2])
                value = python_error(exc, "")
        stack = [(*entry, [])] if value is _UNDEF else []
        return encoded((mark, Atom("error"), value, stack))

    # -- services that every node has ------------------------------------------------------------

    def _ask_kernel(self, message: bytes) -> None:
        """`net_kernel`: {is_auth, Node} of net_adm:ping."""
        request = _request(message)
        if request is not None and request[0] == "call" and _is(request[2], "is_auth", 2):
            self._start(_said(reply(self._core, self._kernel, request[1], Atom("yes"))))

    def _ask_rex(self, message: bytes) -> None:
        """`rex`: {call, M, F, A, GroupLeader}, {cast, …}; {Pid, {call, …}} of C nodes."""
        request = _request(message)
        if request is None:
            return
        kind, caller, asked = request
        if kind == "call" and (_is(asked, "call", 5) or _is(asked, "block_call", 5)):
            answer = partial(reply, self._core, self._rex, caller)
            self._start(self._old_call(answer, asked[1:4]))
        elif kind == "cast" and _is(asked, "cast", 5):
            self._start(self._cast(list(asked[1:4])))
        elif _is_c_node(asked):
            answer = partial(self._tell_c_node, asked[0])
            self._start(self._old_call(answer, asked[1][1:4]))

    def _tell_c_node(self, pid: Pid, value: object) -> Operation[None]:
        return self._core.send(self._rex.pid, pid, (Atom("rex"), value))

    async def _old_call(
        self, answer: Callable[[object], Operation[None]], entry: tuple[Any, ...]
    ) -> None:
        kind, value = await self._run(*entry)
        if kind == "error":
            value = (_BAD, (_EXIT, value))
        try:
            encoded(value)
        except TermError as exc:
            value = (_BAD, (_EXIT, python_error(exc, "")))
        await _said(answer(value))


async def _said(answer: Operation[None]) -> None:
    """Sends an answer to who may be gone."""
    try:
        await awaiting(answer, REPLY, "reply")
    except HornbeamError as exc:
        log.info("an answer was not taken: %s", exc)


def _runs_in(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _request(message: bytes) -> tuple[str, Any, Any] | None:
    try:
        return parse_request(decoded(message))
    except TermError:
        return None


def _is_c_node(value: Any) -> bool:
    pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Pid)
    return pair and _is(value[1], "call", 5)


def _is(value: Any, name: str, size: int) -> bool:
    return isinstance(value, tuple) and len(value) == size and value[0] == name
