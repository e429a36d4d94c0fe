# SPDX-License-Identifier: Apache-2.0
"""What the node may call here: Python functions by name, run and answered.

Runs in a thread of the worker: in the one that waits for the origin of the call if it has one, else
in the next that is free. In a worker with an event loop coroutine functions are tasks of the loop.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from threading import get_ident
from typing import Any

from . import codec
from ._hub import Hub
from ._hub_calls import EMPTY_MAP
from ._tracebacks import format_exception, message_of, sendable
from ._wire import CALL, CAST, FAULT, RESULT, Message
from .errors import TermError

# In whose service this code runs, where a thread runs more than one thing: the id of an exchange,
# or the negated id of a call of the node. None: `Hub.origins` knows.
ORIGIN: ContextVar[int | None] = ContextVar("hornbeam_origin", default=None)

_services: dict[bytes, Callable[..., Any]] = {}


def register_service(name: str, function: Callable[..., Any]) -> None:
    """Lets the node call `function` under `name`; it replaces what had that name."""
    _services[name.encode()] = function


def unregister_service(name: str) -> None:
    """Takes `name` away from the node; no error when nothing has it."""
    _services.pop(name.encode(), None)


# What runs on a thread, by the code of the message that asks for it; `_producers` adds its own.
SERVERS: dict[int, Callable[[Hub, Message], None]] = {}


# Threads in which a handler was interrupted, by Ctrl-C.
_interrupted: list[int] = []


def serve(hub: Hub, message: Message) -> None:
    """Runs in this thread what the node asks for with `message`, and answers it.

    Raises: KeyboardInterrupt: once it is answered, if it was meant for the program, in whose
        thread the handler ran because that waits.
    """
    SERVERS[message[0]](hub, message)
    if _interrupted and get_ident() in _interrupted:
        _interrupted.remove(get_ident())
        if get_ident() not in hub.origins:
            raise KeyboardInterrupt


def serve_call(hub: Hub, message: Message) -> None:
    """Runs one CALL of the node in this thread and answers it."""
    _, ident, _, _, service, payload = message
    if ident not in hub.deadlines:
        return  # it was answered while it waited
    token = ORIGIN.set(-ident)
    try:
        hub.answer(ident, _perform(ident, service, payload))
    finally:
        ORIGIN.reset(token)


def serve_cast(hub: Hub, message: Message) -> None:
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


def is_coroutine_service(name: bytes, payload: bytes) -> bool:
    """Whether what the node calls by this name, with these arguments, is a coroutine function."""
    return inspect.iscoroutinefunction(target(name, payload))


def target(name: bytes, payload: bytes) -> Callable[..., Any] | None:
    """The function that does the work: of an instance that serves a hook, the method. None: there
    is none; calling it says why."""
    function = _services.get(name)
    choose = getattr(function, "method", None)
    if choose is None:
        return function
    try:
        positional, _ = _arguments(payload)
        found: Callable[..., Any] = choose(positional[0])
    except (TermError, ValueError, IndexError, AttributeError):
        return None
    return found


def _log_fault(service: bytes, answer: Message) -> None:
    if answer[0] == FAULT:
        name, info = answer[2].decode(), decode_map(answer[3])
        detail = info.get("traceback") or info.get("reason", "")
        log = logging.getLogger("hornbeam.calls")
        log.error("cast to %s: %s\n%s", service.decode("utf-8", "replace"), name, detail)


class Refused(Exception):
    """The call cannot be made; `fault` is its answer."""

    def __init__(self, fault: Message) -> None:
        super().__init__(fault)
        self.fault = fault


def _perform(ident: int, service: bytes, payload: bytes) -> Message:
    try:
        function, positional, keyword = prepare(ident, service, payload)
        result = function(*positional, **keyword)
        if inspect.iscoroutine(result):
            result = run_coroutine(result)
    except Refused as exc:
        return exc.fault
    except BaseException as exc:
        return handler_fault(ident, exc)
    return _result(ident, result)


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result, in a thread without a loop."""
    import asyncio

    return asyncio.run(coroutine)


async def _perform_async(ident: int, service: bytes, payload: bytes) -> Message:
    import asyncio

    try:
        function, positional, keyword = prepare(ident, service, payload)
        result = await function(*positional, **keyword)
    except Refused as exc:
        return exc.fault
    except asyncio.CancelledError:
        return (FAULT, ident, b"cancelled", EMPTY_MAP)
    except BaseException as exc:
        return handler_fault(ident, exc)
    return _result(ident, result)


def prepare(
    ident: int, service: bytes, payload: bytes
) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """The function that is registered as `service`, and its arguments. Raises: Refused."""
    function = _services.get(service)
    if function is None:
        raise Refused(_fault(ident, b"not_registered", {"service": service}))
    try:
        positional, keyword = _arguments(payload)
    except (TermError, ValueError) as exc:
        text = f"the arguments are no list [Positional, Keyword]: {exc}"
        raise Refused(term_fault(ident, text)) from exc
    return function, positional, keyword


def _result(ident: int, result: Any) -> Message:
    try:
        return (RESULT, ident, codec.encode(result))
    except TermError as exc:
        return term_fault(ident, f"the result cannot be sent: {exc}")


def _arguments(payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    match codec.decode(payload):
        case [list() as positional, dict() as keyword]:
            if all(isinstance(name, str) for name in keyword):
                return positional, keyword
    raise ValueError("got something else")


def handler_fault(ident: int, exc: BaseException) -> Message:
    """FAULT for call `ident`, whose handler raised `exc`."""
    if isinstance(exc, KeyboardInterrupt):
        _interrupted.append(get_ident())
    return _fault(ident, b"handler_error", _describe(exc))


def term_fault(ident: int, reason: str) -> Message:
    """FAULT for call `ident`: a value has no counterpart on the other side."""
    return _fault(ident, b"bad_term", {"reason": reason})


def _describe(exc: BaseException) -> dict[str, str]:
    return {
        "type": type(exc).__name__,
        "message": message_of(exc),
        "traceback": format_exception(exc),
    }


def _fault(ident: int, name: bytes, info: dict[str, Any]) -> Message:
    texts = {key: sendable(_decoded(value)) for key, value in info.items()}
    return (FAULT, ident, name, codec.encode(texts))


def _decoded(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def decode_map(payload: bytes) -> dict[Any, Any]:
    """The details of a FAULT."""
    value = codec.decode(payload)
    return value if isinstance(value, dict) else {"reason": value}


SERVERS.update({CALL: serve_call, CAST: serve_cast})
