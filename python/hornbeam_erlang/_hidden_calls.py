# SPDX-License-Identifier: Apache-2.0
"""Requests of a Python node to others: gen_server calls, and functions by `erpc`.

Operations, run by threads and event loops (`_hidden_waits`). Each is known by a reference; when its
time is over the reference is forgotten, so that a late answer finds nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from . import codec
from ._hidden_core import Core, Pending, Wire, addressed, monitored
from ._hidden_process import Target
from ._hidden_terms import decoded, encoded
from ._hidden_waits import Operation
from ._tracebacks import message_of, sendable
from .errors import HandlerError, NodeDown, NotRegistered, RemoteError
from .terms import Atom, ImproperList, Pid, Ref

__all__ = ["PYTHON_ERROR", "call", "cast", "python_error", "rpc_call", "rpc_cast"]

PYTHON_ERROR: Final = Atom("python_error")
_ALIAS: Final = (Atom("alias"),)
_GEN_CALL: Final = Atom("$gen_call")
_GEN_CAST: Final = Atom("$gen_cast")
_ERPC: Final = "erpc"
_MONITOR: Final = (Atom("monitor"),)


def call(core: Core, target: Target, request: object) -> Operation[Any]:
    """gen_server:call: the reply of a process to a request."""
    ref = core.identifiers.ref()
    tag = ImproperList(_ALIAS, ref)
    message = encoded((_GEN_CALL, (core.caller.pid, tag), request))
    node, who = core.node_of(target), monitored(target)
    wire = yield from core.reach(node)
    monitor = wire.core.monitor(core.caller.pid, who, ref)
    data = monitor + addressed(wire.core, core.caller.pid, target, message)
    demonitor = wire.core.demonitor(core.caller.pid, who, ref)
    kind, term = yield from _ask(core, node, wire, ref, data, demonitor)
    if kind == "down":
        _fail(node, target, decoded(term))
    wire.write(demonitor)
    answer = decoded(term)
    if isinstance(answer, tuple) and len(answer) == 2:
        return answer[1]
    raise RemoteError("error", answer, "the reply is not {Tag, Reply}")


def _ask(
    core: Core, node: str, wire: Wire, ref: Ref, data: bytes, take_back: bytes = b""
) -> Operation[tuple[str, bytes]]:
    """Sends a request that is known by `ref` and waits for what comes of it.

    `take_back` is sent when nobody waits any more.
    """
    pending = core.pending[ref] = Pending(node)
    try:
        core.check(node, wire)
        wire.write(data)
        result: tuple[str, bytes] = yield pending.future
        return result
    except BaseException:
        if core.pending.pop(ref, None) is not None:
            wire.write(take_back)
        raise


def _fail(node: str, target: Target, reason: object) -> None:
    if reason == "noproc":
        raise NotRegistered(str(target[0] if isinstance(target, tuple) else target))
    if reason == "noconnection":
        raise NodeDown(node, "the connection was lost")
    if isinstance(reason, tuple) and len(reason) == 4 and reason[0] == PYTHON_ERROR:
        raise HandlerError(*map(str, reason[1:]))
    raise RemoteError("exit", reason)


def python_error(exc: BaseException, traceback: str) -> tuple[Atom, str, str, str]:
    """An exception of Python as a reason that other nodes see; it can always be sent."""
    name, text = type(exc).__name__, message_of(exc)
    return PYTHON_ERROR, sendable(name), sendable(text), sendable(traceback)


def cast(core: Core, target: Target, request: object) -> Operation[None]:
    """gen_server:cast: a request without a reply."""
    yield from core.send(core.caller.pid, target, (_GEN_CAST, request))


def _entry(name: str, module: str, function: str, args: Sequence[object]) -> list[object]:
    Atom(name)
    return [Atom(module), Atom(function), list(args)]


def rpc_call(
    core: Core, node: str, module: str, function: str, args: Sequence[object]
) -> Operation[Any]:
    """erpc:call: what a function of another node returns."""
    ref, result = core.identifiers.ref(), core.identifiers.ref()
    arguments = [result, *_entry(node, module, function, args)]
    codec.encode(arguments)  # TermError before anything is sent
    wire = yield from core.reach(node)
    data = wire.core.spawn_request(
        ref, core.caller.pid, (_ERPC, "execute_call"), arguments, _MONITOR
    )
    kind, term = yield from _ask(core, node, wire, ref, data)
    return _result(node, result, kind, decoded(term))


def _result(node: str, result: Ref, kind: str, reason: Any) -> Any:
    if kind == "refused":
        raise RemoteError("error", reason, "the node did not start a process")
    if reason == "noconnection":
        raise NodeDown(node, "the connection was lost")
    if isinstance(reason, tuple) and len(reason) in (3, 4) and reason[0] == result:
        if reason[1] == "return":
            return reason[2]
        stack = repr(reason[3]) if len(reason) == 4 else ""
        raise RemoteError(str(reason[1]), reason[2], stack)
    raise RemoteError("exit", reason)


def rpc_cast(
    core: Core, node: str, module: str, function: str, args: Sequence[object]
) -> Operation[None]:
    """erpc:cast: starts a function of another node; nothing is said of what it does."""
    entry = _entry(node, module, function, args)
    codec.encode(entry)
    wire = yield from core.reach(node)
    ref = core.identifiers.ref()
    sender: Pid = core.caller.pid
    wire.write(wire.core.spawn_request(ref, sender, (_ERPC, "execute_cast"), entry))
