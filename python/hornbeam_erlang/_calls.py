# SPDX-License-Identifier: Apache-2.0
"""Calls in both directions: services of the node for Python code, Python functions for the node.

`call_service` and `cast_service` run in the thread that calls them, any thread;
`call_service_async` in any event loop of any thread. A call of the node runs in a thread of the
worker: in the one that waits for the origin of the call if it has one, else in the next that is
free.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from threading import get_ident
from time import monotonic
from typing import Any

from . import codec
from ._calls_async import AsyncCall
from ._flow import PendingCall
from ._hub import Hub
from ._hub_calls import EMPTY_MAP
from ._tracebacks import format_exception
from ._wire import CALL, CAST, FAULT, MAX_CALLS, MAX_TIMEOUT, RESULT, REVOKE, Message
from .errors import (
    CallTimeout,
    Cancelled,
    HandlerError,
    HornbeamError,
    NotConnected,
    NotRegistered,
    Overloaded,
    RemoteError,
    TermError,
)

GRACE_SECONDS = 0.25  # the other side answers within the timeout; this is for its answer's way

# In whose service this code runs, where a thread runs more than one thing: the id of an exchange,
# or the negated id of a call of the node. None: `Hub.origins` knows.
ORIGIN: ContextVar[int | None] = ContextVar("hornbeam_origin", default=None)

_services: dict[bytes, Callable[..., Any]] = {}
_hub: Hub | None = None
_advice = "start the application with the command 'hornbeam module:callable'"


def connect(hub: Hub | None, advice: str = "") -> None:
    """Makes `hub` the connection of this process; None takes it away, `advice` says what to do."""
    global _hub, _advice
    _hub, _advice = hub, advice


def register_service(name: str, function: Callable[..., Any]) -> None:
    """Lets the node call `function` under `name`; it replaces what had that name."""
    _services[name.encode()] = function


def unregister_service(name: str) -> None:
    """Takes `name` away from the node; no error when nothing has it."""
    _services.pop(name.encode(), None)


# Ours to the node.


def call_service(
    service: str,
    positional: list[Any],
    keyword: dict[str, Any],
    timeout_ms: int,
    operation: str,
) -> Any:
    """Calls a service of the node and waits for its result.

    Args:
        service: name of the service.
        positional, keyword: its arguments; values with an Erlang term.
        timeout_ms: the caller's deadline in milliseconds, >= 1. It is carried to the node.
        operation: what errors call this call.

    Raises:
        NotConnected, CallTimeout, NotRegistered, RemoteError, HandlerError, Overloaded, Cancelled,
            TermError: as their documentation says. After CallTimeout the node may still have done
            the work.
    """
    deadline = _deadline(timeout_ms, operation)
    hub = connected(operation)
    payload = codec.encode([positional, keyword])
    pending = PendingCall()
    ident = _open_call(hub, pending, timeout_ms, service.encode(), payload)
    try:
        answer = _await(hub, pending, deadline)
    finally:
        if pending.answer is None or pending.nested:
            _give_up(hub, ident, pending)
    return _outcome(answer, operation, timeout_ms)


async def call_service_async(
    service: str,
    positional: list[Any],
    keyword: dict[str, Any],
    timeout_ms: int,
    operation: str,
) -> Any:
    """`call_service` for an event loop, which goes on meanwhile.

    Works in the loop of an ASGI worker and in any other asyncio loop, in any thread. A cancelled
    task revokes the call; an answer that comes later is dropped.

    Raises: as `call_service`, and asyncio.CancelledError.
    """
    import asyncio  # a worker for WSGI does without, unless its application does not

    deadline = _deadline(timeout_ms, operation)
    hub = connected(operation)
    payload = codec.encode([positional, keyword])
    pending = AsyncCall(asyncio.get_running_loop(), deadline)
    ident = _open_call(hub, pending, timeout_ms, service.encode(), payload)
    reads = hub.awaited.add(ident, pending)
    try:
        _depart(hub, reads)
        await pending.future
    finally:
        hub.awaited.remove(ident)
        if pending.answer is None:
            _give_up(hub, ident, pending)
            _depart(hub, reads)
    return _outcome(pending.answer, operation, timeout_ms)


def _depart(hub: Hub, reads: bool) -> None:
    if reads:
        hub.flush_soon()
    else:
        hub.flush()
        hub.ring()


def _deadline(timeout_ms: int, operation: str) -> float:
    if not 1 <= timeout_ms <= MAX_TIMEOUT:
        raise ValueError(f"{operation}: timeout_ms is {timeout_ms}, expected 1..{MAX_TIMEOUT}")
    return monotonic() + timeout_ms / 1000 + GRACE_SECONDS


def _outcome(answer: Message | None, operation: str, timeout_ms: int) -> Any:
    if answer is None:
        raise CallTimeout(operation, timeout_ms / 1000)
    if answer[0] == RESULT:
        return codec.decode(answer[2])
    raise _error(answer, operation, timeout_ms)


def current_origin(hub: Hub) -> int:
    """In whose service the calling code runs, as CALL carries it: an exchange, a call, or 0."""
    origin = ORIGIN.get()
    return hub.origins.get(get_ident(), 0) if origin is None else origin


def _open_call(
    hub: Hub, pending: PendingCall | AsyncCall, timeout_ms: int, service: bytes, payload: bytes
) -> int:
    origin = current_origin(hub)
    with hub.mutex:
        if len(hub.session.calls) >= MAX_CALLS:
            raise Overloaded("open calls of this worker", MAX_CALLS)
        ident = hub.session.next_call()
        hub.calls[ident] = pending
        hub.send((CALL, ident, origin, timeout_ms, service, payload), len(payload))
    return ident


def cast_service(
    service: str, positional: list[Any], keyword: dict[str, Any], operation: str
) -> None:
    """Sends a message to a service of the node and does not wait; whether it arrives is not known.

    Raises: NotConnected, TermError.
    """
    hub = connected(operation)
    payload = codec.encode([positional, keyword])
    hub.send((CAST, service.encode(), payload), len(payload))
    hub.flush_soon()


def connected(operation: str) -> Hub:
    """The connection of this process. Raises: NotConnected, naming `operation`: there is none."""
    if _hub is None:
        raise NotConnected(operation, _advice)
    return _hub


def _await(hub: Hub, pending: PendingCall, deadline: float) -> Message | None:
    hub.lead_until(pending.is_ready, deadline)
    while True:
        while pending.nested:
            serve_call(hub, pending.nested.popleft())
        if pending.answer is not None:
            return pending.answer
        if not hub.wait(pending, pending.is_ready, deadline - monotonic()):
            return None


def _give_up(hub: Hub, ident: int, pending: PendingCall | AsyncCall) -> None:
    """Closes call `ident` whatever became of it; calls that were to run in its service find
    nobody."""
    with hub.mutex:
        hub.calls.pop(ident, None)
        if ident in hub.session.calls:
            hub.send((REVOKE, ident))
    while pending.nested:
        nested = pending.nested.popleft()[1]
        hub.answer(nested, (FAULT, nested, b"cancelled", EMPTY_MAP))


def _error(answer: Message, operation: str, timeout_ms: int) -> HornbeamError:
    name = answer[2].decode("ascii", "replace")
    return failure(name, _decode_map(answer[3]), operation, timeout_ms)


def failure(name: str, info: dict[Any, Any], operation: str, timeout_ms: int) -> HornbeamError:
    """The exception for a FAULT of the node.

    Args: name, info: the fault and its details. operation, timeout_ms: of the call that failed.
    """
    if name == "timeout":
        return CallTimeout(operation, timeout_ms / 1000)
    if name == "not_registered":
        return NotRegistered(str(info.get("service", operation)))
    if name == "handler_error":
        fields = (str(info.get(key, "")) for key in ("type", "message", "traceback"))
        return HandlerError(*fields)
    if name == "bad_term":
        return TermError(f"{operation}: {info.get('reason')}")
    if name == "cancelled":
        return Cancelled(operation)
    if name == "overloaded":
        return Overloaded(str(info.get("resource", operation)), int(info.get("limit", MAX_CALLS)))
    class_ = str(info.get("class", "error")) if name == "remote_error" else name
    return RemoteError(class_, info.get("reason"), str(info.get("stack", "")))


def _decode_map(payload: bytes) -> dict[Any, Any]:
    value = codec.decode(payload)
    return value if isinstance(value, dict) else {"reason": value}


# The node's to us.


def serve_call(hub: Hub, message: Message) -> None:
    """Runs one CALL of the node in this thread and answers it."""
    _, ident, _, _, service, payload = message
    if ident in hub.deadlines:  # else it was answered while it waited
        hub.answer(ident, _perform(ident, service, payload))


def serve_cast(message: Message) -> None:
    """Runs one CAST of the node in this thread; what goes wrong is logged, there is nobody else to
    tell."""
    _, service, payload = message
    _log_fault(service, _perform(0, service, payload))


async def serve_call_async(hub: Hub, message: Message) -> None:
    """`serve_call` for a coroutine function, in a task."""
    _, ident, _, _, service, payload = message
    if ident in hub.deadlines:
        hub.answer(ident, await _perform_async(ident, service, payload))


async def serve_cast_async(message: Message) -> None:
    """`serve_cast` for a coroutine function, in a task."""
    _, service, payload = message
    _log_fault(service, await _perform_async(0, service, payload))


def is_coroutine_service(name: bytes) -> bool:
    """Whether what the node calls by this name is a coroutine function."""
    return inspect.iscoroutinefunction(_services.get(name))


def _log_fault(service: bytes, answer: Message) -> None:
    if answer[0] == FAULT:
        name, info = answer[2].decode(), _decode_map(answer[3])
        detail = info.get("traceback") or info.get("reason", "")
        log = logging.getLogger("hornbeam.calls")
        log.error("cast to %s: %s\n%s", service.decode("utf-8", "replace"), name, detail)


class _Refused(Exception):
    """The call cannot be made; `fault` is its answer."""

    def __init__(self, fault: Message) -> None:
        super().__init__(fault)
        self.fault = fault


def _perform(ident: int, service: bytes, payload: bytes) -> Message:
    try:
        function, positional, keyword = _prepare(ident, service, payload)
        result = function(*positional, **keyword)
        if inspect.iscoroutine(result):
            result = _run_coroutine(result)
    except _Refused as exc:
        return exc.fault
    except BaseException as exc:
        return _fault(ident, b"handler_error", _describe(exc))
    return _result(ident, result)


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    return asyncio.run(coroutine)


async def _perform_async(ident: int, service: bytes, payload: bytes) -> Message:
    import asyncio

    try:
        function, positional, keyword = _prepare(ident, service, payload)
        result = await function(*positional, **keyword)
    except _Refused as exc:
        return exc.fault
    except asyncio.CancelledError:
        return (FAULT, ident, b"cancelled", EMPTY_MAP)
    except BaseException as exc:
        return _fault(ident, b"handler_error", _describe(exc))
    return _result(ident, result)


def _prepare(
    ident: int, service: bytes, payload: bytes
) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    function = _services.get(service)
    if function is None:
        raise _Refused(_fault(ident, b"not_registered", {"service": service}))
    try:
        positional, keyword = _arguments(payload)
    except (TermError, ValueError) as exc:
        text = f"the arguments are no list [Positional, Keyword]: {exc}"
        raise _Refused(_fault(ident, b"bad_term", {"reason": text})) from exc
    return function, positional, keyword


def _result(ident: int, result: Any) -> Message:
    try:
        return (RESULT, ident, codec.encode(result))
    except TermError as exc:
        return _fault(ident, b"bad_term", {"reason": f"the result cannot be sent: {exc}"})


def _arguments(payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    match codec.decode(payload):
        case [list() as positional, dict() as keyword]:
            if all(isinstance(name, str) for name in keyword):
                return positional, keyword
    raise ValueError("got something else")


def _describe(exc: BaseException) -> dict[str, str]:
    return {
        "type": type(exc).__name__,
        "message": _text(exc),
        "traceback": format_exception(exc),
    }


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # the application's own __str__ fails: as `traceback` puts it
        return "<exception str() failed>"


def _fault(ident: int, name: bytes, info: dict[str, Any]) -> Message:
    texts = {key: _sendable(value) for key, value in info.items()}
    return (FAULT, ident, name, codec.encode(texts))


def _sendable(value: str | bytes) -> str:
    # str() of an exception may hold lone surrogates, which no UTF-8 binary can.
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    return text.encode("utf-8", "backslashreplace").decode()
