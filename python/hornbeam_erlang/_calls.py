# SPDX-License-Identifier: Apache-2.0
"""Calls of services of the node.

`call_service` and `cast_service` run in the thread that calls them, any thread;
`call_service_async` in any event loop of any thread. While a thread waits it runs what the node
asks for in the service of its call (`_served`).
"""

from __future__ import annotations

from threading import get_ident
from time import monotonic
from typing import Any

from . import codec
from ._calls_async import AsyncCall
from ._flow import PendingCall
from ._hub import Hub
from ._hub_calls import EMPTY_MAP
from ._served import ORIGIN, decode_map, serve
from ._wire import CALL, CAST, FAULT, MAX_CALLS, MAX_TIMEOUT, RESULT, Message
from .errors import (
    CallTimeout,
    Cancelled,
    HandlerError,
    HornbeamError,
    NodeDown,
    NotConnected,
    NotRegistered,
    Overloaded,
    RemoteError,
    TermError,
)

HELP_SECONDS = 0.02  # longer than what a busy node takes for a call that does not wait itself
ABANDON_SECONDS = 0.05  # far longer than the mutex is held by anybody else
GRACE_SECONDS = 0.25  # the other side answers within the timeout; this is for its answer's way

_hub: Hub | None = None
ADVICE = (
    "start the application with the command 'hornbeam module:callable',"
    " or a node of this program's own with hornbeam_erlang.start()"
)
_advice = ADVICE


def connect(hub: Hub | None, advice: str = "") -> None:
    """Makes `hub` the connection of this process; None takes it away, `advice` says what to do."""
    global _hub, _advice
    _hub, _advice = hub, advice


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
    deadline = deadline_of(timeout_ms, operation)
    hub = connected(operation)
    payload = codec.encode([positional, keyword])
    pending = PendingCall()
    ident = open_call(hub, pending, timeout_ms, service.encode(), payload)
    try:
        wait_for(hub, pending, deadline)
    finally:
        if pending.answer is None or pending.nested:
            give_up(hub, ident, pending)
    return outcome(pending.answer, operation, timeout_ms)


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

    deadline = deadline_of(timeout_ms, operation)
    hub = connected(operation)
    payload = codec.encode([positional, keyword])
    pending = AsyncCall(asyncio.get_running_loop(), deadline)
    ident = open_call(hub, pending, timeout_ms, service.encode(), payload)
    reads = hub.awaited.add(ident, pending)
    try:
        depart(hub, reads)
        await pending.future
    finally:
        hub.awaited.remove(ident)
        if pending.answer is None:
            give_up(hub, ident, pending)
            depart(hub, reads)
    return outcome(pending.answer, operation, timeout_ms)


def depart(hub: Hub, reads: bool) -> None:
    """Puts what an event loop has queued on its way. `reads`: see `AwaitedCalls.add`."""
    if reads:
        hub.flush_soon()
    else:
        hub.flush()
        hub.ring()


def deadline_of(timeout_ms: int, operation: str) -> float:
    """The monotonic time until which an answer is waited for. Raises: ValueError."""
    if not 1 <= timeout_ms <= MAX_TIMEOUT:
        raise ValueError(f"{operation}: timeout_ms is {timeout_ms}, expected 1..{MAX_TIMEOUT}")
    return monotonic() + timeout_ms / 1000 + GRACE_SECONDS


def outcome(answer: Message | None, operation: str, timeout_ms: int) -> Any:
    """The result in `answer`, None standing for no answer in time; raises what it means else."""
    if answer is None:
        raise CallTimeout(operation, timeout_ms / 1000)
    if answer[0] == RESULT:
        return codec.decode(answer[2])
    raise _error(answer, operation, timeout_ms)


def current_origin(hub: Hub) -> int:
    """In whose service the calling code runs, as CALL carries it: an exchange, a call, or 0."""
    origin = ORIGIN.get()
    return hub.origins.get(get_ident(), 0) if origin is None else origin


def open_call(
    hub: Hub,
    pending: PendingCall | AsyncCall,
    timeout_ms: int,
    service: bytes,
    payload: bytes,
    code: int = CALL,
) -> int:
    """Queues a CALL, or a STREAM, whose answer `pending` waits for. Returns its id.

    Raises: Overloaded. NotConnected: the connection has ended since the hub was asked for.
    """
    origin = current_origin(hub)
    if origin < 0 and -origin in hub.deadlines:
        # Nobody waits for a handler beyond its own deadline.
        left = hub.deadlines.get(-origin, 0.0) - monotonic()
        timeout_ms = max(1, min(timeout_ms, int(left * 1000)))
    with hub.mutex:
        if hub.is_lost:
            raise NotConnected(service.decode(), _advice)
        if len(hub.session.calls) >= MAX_CALLS:
            raise Overloaded("open calls of this worker", MAX_CALLS)
        ident = hub.session.next_call()
        hub.calls[ident] = pending
        hub.send((code, ident, origin, timeout_ms, service, payload), len(payload))
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


def disconnect(hub: Hub, advice: str) -> None:
    """Takes `hub` away, if it is the connection of this process."""
    if _hub is hub:
        connect(None, advice)


def connection() -> Hub | None:
    """The connection of this process, None where there is no node to call."""
    return _hub


def connected(operation: str) -> Hub:
    """The connection of this process. Raises: NotConnected."""
    if _hub is None:
        raise NotConnected(operation, _advice)
    return _hub


def wait_for(hub: Hub, pending: PendingCall, deadline: float) -> bool:
    """Waits until `pending.is_done()`; False when the time is over.

    What must run on the thread that waits runs meanwhile. A thread of the worker that has waited
    for a while runs other calls of the node, too, if no other thread is free: two workers whose
    threads all wait for each other would wait for ever.
    """
    patience = deadline
    if get_ident() in hub.origins:
        patience = min(deadline, monotonic() + HELP_SECONDS)
    hub.lead_until(pending.is_ready, patience)
    while True:
        while pending.nested:
            serve(hub, pending.nested.popleft())
        if pending.is_done():
            return True
        if not hub.wait(pending, pending.is_ready, patience - monotonic()):
            return patience < deadline and _help(hub, pending, deadline)


def _help(hub: Hub, pending: PendingCall, deadline: float) -> bool:
    def ready() -> bool:
        return pending.is_ready() or hub.has_stuck_calls()

    hub.helpers.append(pending)
    try:
        while not pending.is_done():
            if not hub.wait(pending, ready, deadline - monotonic()):
                return False
            while pending.nested:
                serve(hub, pending.nested.popleft())
            message = None if pending.is_done() else hub.take_stuck_call()
            if message is not None:
                serve(hub, message)
    finally:
        hub.helpers.remove(pending)
    return True


def give_up(hub: Hub, ident: int, pending: PendingCall | AsyncCall) -> None:
    """Closes call `ident` whatever became of it; calls that were to run in its service find
    nobody."""
    with hub.mutex:
        hub.revoke(ident)
    while pending.nested:
        _pass_on(hub, pending.nested.popleft())


def abandon(hub: Hub, ident: int, pending: PendingCall | AsyncCall) -> None:
    """`give_up` for what the garbage collector may end, in any thread at any moment, also in one
    that holds the mutex."""
    if not hub.mutex.acquire(timeout=ABANDON_SECONDS):
        hub.abandoned.append((ident, pending))  # the attendant sees to it
        return
    try:
        hub.revoke(ident)
    finally:
        hub.mutex.release()
    while pending.nested:
        _pass_on(hub, pending.nested.popleft())


def _pass_on(hub: Hub, message: Message) -> None:
    """What was left to a thread that does not wait any more."""
    code, ident = message[:2]
    if code == CALL and message[2]:
        hub.answer(ident, (FAULT, ident, b"cancelled", EMPTY_MAP))
        return
    # It may be a stream that is to be closed. Others soon learn that nobody wants them.
    hub.queue(message)


def _error(answer: Message, operation: str, timeout_ms: int) -> HornbeamError:
    name = answer[2].decode("ascii", "replace")
    return failure(name, decode_map(answer[3]), operation, timeout_ms)


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
    if name == "node_down":
        return NodeDown(str(info.get("node", "")), str(info.get("reason", "")))
    if name == "overloaded":
        return Overloaded(str(info.get("resource", operation)), int(info.get("limit", MAX_CALLS)))
    class_ = str(info.get("class", "error")) if name == "remote_error" else name
    return RemoteError(class_, info.get("reason"), str(info.get("stack", "")))
