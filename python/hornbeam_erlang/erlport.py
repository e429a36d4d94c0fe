# SPDX-License-Identifier: Apache-2.0
"""What Python code written for ErlPort 1.x imports: messages, casts and calls to Erlang.

    from hornbeam_erlang.erlport import Atom, call, cast, self, set_message_handler

The other end is an instance that Erlang code has started with `hornbeam_erlport:start`. It asks
for one thing after the other; each runs in a thread of the worker, and while `call` waits, in that
thread. docs/guides/interop.md says what differs from ErlPort: above all an atom is a `str` here,
and nothing is pickled.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

from . import terms
from ._calls import call_service
from ._operations import DEFAULT_TIMEOUT_MS
from ._served import register_service, run_coroutine
from ._timeouts import chosen
from ._tracebacks import application_part, message_of, sendable
from .errors import HornbeamError, RemoteError
from .terms import ImproperList, Pid

__all__ = [
    "Atom",
    "CallError",
    "Error",
    "ImproperList",
    "List",
    "call",
    "cast",
    "make_ref",
    "self",
    "set_decoder",
    "set_default_decoder",
    "set_default_encoder",
    "set_default_message_handler",
    "set_encoder",
    "set_message_handler",
]

CALL_TIMEOUT_MS = 3600000
_MAX_FRAMES = 100

_Convert: TypeAlias = Callable[[Any], Any]

# The instance that this code runs for; the one that came last, for threads of the application.
_instance: ContextVar[Pid | None] = ContextVar("hornbeam_erlport_instance", default=None)
_latest: Pid | None = None


class Error(HornbeamError):
    """Root of what this module raises itself."""


class CallError(Error):
    """An Erlang function that was called has failed.

    Attributes:
        language: `erlang`.
        type: class of the exception: `error`, `exit` or `throw`; or why it was not called.
        value: its reason, as text.
        stacktrace: a list with the stack as text, or empty.
    """

    def __init__(self, language: Any, type: Any, value: Any, stacktrace: Any) -> None:
        super().__init__((language, type, value, stacktrace))
        self.language = language
        self.type = type
        self.value = value
        self.stacktrace = stacktrace


class Atom(terms.Atom):
    """An Erlang atom, made of text or, as ErlPort has it, of UTF-8 bytes. It is a `str`."""

    __slots__ = ()

    def __new__(cls, text: str | bytes) -> Atom:
        return super().__new__(cls, text.decode() if isinstance(text, bytes) else text)


class List(list[Any]):
    """A list from Erlang, which may be meant as a string."""

    __slots__ = ()

    def to_string(self) -> str:
        """The characters it is made of. Raises: TypeError: it is made of something else."""
        return "".join(map(chr, self))


def _same(value: Any) -> Any:
    return value


def _ignore(message: Any) -> None:
    """The handler of messages until there is another one."""


_handler: _Convert = _ignore
_encoder: _Convert = _same
_decoder: _Convert = _same


def set_message_handler(handler: Callable[[Any], Any]) -> None:
    """Calls `handler(message)` for every message to an instance of this worker, one at a time.

    An exception in it ends the instance. Raises: TypeError, ValueError: it does not take one
    argument.
    """
    global _handler
    _handler = _checked(handler)


def set_default_message_handler() -> None:
    """Messages are ignored."""
    global _handler
    _handler = _ignore


def set_encoder(encoder: _Convert) -> None:
    """Passes results of functions and arguments of `call` through `encoder`. Raises: as
    `set_message_handler`."""
    global _encoder
    _encoder = _checked(encoder)


def set_default_encoder() -> None:
    """Values are sent as they are."""
    global _encoder
    _encoder = _same


def set_decoder(decoder: _Convert) -> None:
    """Passes arguments of functions and results of `call` through `decoder`. Raises: as
    `set_message_handler`."""
    global _decoder
    _decoder = _checked(decoder)


def set_default_decoder() -> None:
    """Values are received as they are."""
    global _decoder
    _decoder = _same


def _checked(function: _Convert) -> _Convert:
    try:
        inspect.signature(function).bind(None)
    except TypeError as exc:
        if not callable(function):
            raise
        raise ValueError(f"expected a function of one argument: {function!r}") from exc
    return function


def cast(pid: Pid, message: Any) -> None:
    """Sends `message` to an Erlang process; in the order of the calls, and it may be gone.

    Raises: ValueError: `pid` is no Pid. Error: no instance has been started. TermError: the message
        has no term. NotConnected, CallTimeout.
    """
    if not isinstance(pid, Pid):
        raise ValueError(pid)
    call_service("erlport.cast", [self(), pid, message], {}, DEFAULT_TIMEOUT_MS, "erlport.cast")


def call(module: terms.Atom, function: terms.Atom, args: builtins.list[Any]) -> Any:
    """Calls an Erlang function on the node and returns its result.

    It waits for an hour, or what `call_timeout` says; what instances ask for meanwhile runs in this
    thread. The option `rpc_allow` says what may be called.

    Args: module, function: atoms that the node knows. args: values with a term.

    Raises:
        ValueError: an argument is of another type. CallError: the function failed, or may not be
        called. Error: no instance has been started. CallTimeout, NotConnected, TermError.
    """
    if not isinstance(module, terms.Atom):
        raise ValueError(module)
    if not isinstance(function, terms.Atom):
        raise ValueError(function)
    if not isinstance(args, list):
        raise ValueError(args)
    encoded = [_encoder(arg) for arg in args]
    return _decoder(_listed(_call(module, function, encoded)))


def _call(module: str, function: str, args: builtins.list[Any]) -> Any:
    asked = [self(), terms.Atom(module), terms.Atom(function), args]
    timeout_ms = chosen(CALL_TIMEOUT_MS)
    try:
        return call_service("erlport.call", asked, {}, timeout_ms, f"call({module}, {function})")
    except RemoteError as exc:
        stack = [exc.stack] if exc.stack else []
        raise CallError(Atom("erlang"), Atom(exc.class_), exc.reason, stack) from exc


def self() -> Pid:
    """The instance that the calling code runs for; else the one that has asked for something last.

    Raises: Error: none has yet.
    """
    instance = _instance.get() or _latest
    if instance is None:
        raise Error("no instance of hornbeam_erlport has asked this worker for anything yet")
    return instance


def make_ref() -> Any:
    """A new Erlang reference. Raises: as `call`."""
    return _call("erlang", "make_ref", [])


# What instances ask for.


def _serve_call(instance: Pid, module: str, function: str, args: builtins.list[Any]) -> Any:
    def run() -> Any:
        result = _find(module, function)(*[_decoder(_listed(arg)) for arg in args])
        return _encoder(run_coroutine(result) if inspect.iscoroutine(result) else result)

    return _serve(instance, run)


def _serve_message(instance: Pid, message: Any) -> Any:
    def run() -> None:
        _handler(_decoder(_listed(message)))

    return _serve(instance, run)


def _serve(instance: Pid, run: Callable[[], Any]) -> Any:
    """A tuple: `r` and the result, or `e`, the type of the exception, its text and traceback."""
    global _latest
    _latest = instance
    token = _instance.set(instance)
    try:
        return ("r", run())
    except Exception as exc:
        return _failure(exc)
    finally:
        _instance.reset(token)


def _find(module: str, function: str) -> Callable[..., Any]:
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for name in function.split("."):
        found = getattr(found, name)
    checked: Callable[..., Any] = found
    return checked


def _failure(exc: Exception) -> tuple[str, str, str, builtins.list[Any]]:
    kind = type(exc)
    frames = traceback.extract_tb(application_part(exc.__traceback__))[-_MAX_FRAMES:]
    trace = [
        (sendable(f.filename), f.lineno, sendable(f.name), sendable(f.line or ""))
        for f in reversed(frames)
    ]
    name = sendable(f"{kind.__module__}.{kind.__qualname__}")
    return ("e", name, sendable(message_of(exc)), trace)


def _listed(value: Any) -> Any:
    """`value` with its lists as `List`."""
    if type(value) is list:
        return List(map(_listed, value))
    if type(value) is tuple:
        return tuple(map(_listed, value))
    if type(value) is dict:
        return {key: _listed(item) for key, item in value.items()}
    return value


register_service("erlport/call", _serve_call)
register_service("erlport/message", _serve_message)
