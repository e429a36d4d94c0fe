# SPDX-License-Identifier: Apache-2.0
"""Handlers of this process that others may execute, by path.

Runs in any thread. What is registered while the application is being loaded is announced with
READY, so that nobody is sent here before all is there; later registrations tell the node at once.
Outside a worker they are only remembered: a module that registers can be imported anywhere.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from . import _calls, _served
from ._hub import Hub
from ._operations import DEFAULT_TIMEOUT_MS
from ._states import LOADING
from ._timeouts import chosen
from ._wire import READY

_PREFIX = "hook/"
_lock = threading.Lock()  # what READY announces, and what comes after it
_paths: set[str] = set()


def register_hook(app_path: str, handler: Any) -> None:
    """Makes `handler` serve `app_path`, for Python code of every worker and for Erlang.

    What is registered while the application is loaded or starts up is there for others, and for
    `execute` here, when the worker is ready.

    Args:
        app_path: the name that callers use; registering it again replaces the handler here.
        handler: a function is called with `(action, *args, **kwargs)`; of a class one instance is
            made now, once per worker; of an instance the method named like the action is called.
            Each may be a coroutine function, and for `stream` a generator or async generator
            function.

    Raises:
        TypeError: the path is no text, or empty. CallTimeout: the node did not answer.
        Whatever the class raises when it is instantiated.
    """
    if not isinstance(app_path, str) or not app_path:
        raise TypeError(f"register_hook: app_path is {app_path!r}, expected a text")
    function = _function(app_path, handler)
    with _lock:
        _served.register_service(_PREFIX + app_path, function)
        _paths.add(app_path)
        is_announced = _is_announced()
    if is_announced:
        _calls.connected("register_hook").on_hook()
        _tell("register", app_path)


def renew_lock() -> None:
    """In a forked child: the thread that held it is not there."""
    global _lock
    _lock = threading.Lock()


def unregister_hook(app_path: str) -> None:
    """Takes the handler of `app_path` in this worker away; no error when there is none.

    Raises: CallTimeout: the node did not answer.
    """
    if app_path in _paths and _is_announced():
        _tell("unregister", app_path)
    with _lock:
        _served.unregister_service(_PREFIX + app_path)
        _paths.discard(app_path)


def _tell(what: str, app_path: str) -> None:
    timeout_ms = chosen(DEFAULT_TIMEOUT_MS)
    _calls.call_service("hooks", [what, app_path], {}, timeout_ms, f"{what}_hook")


def _is_announced() -> bool:
    """Whether READY has been sent, which says what was registered before."""
    hub = _calls.connection()
    return hub is not None and hub.session.phase != LOADING


def announce(hub: Hub) -> None:
    """Sends READY, and with it the handlers that there are so far."""
    with _lock:
        paths = [path.encode() for path in sorted(_paths)]
        hub.send((READY, {b"hooks": paths}))
    if paths:
        hub.on_hook()
    hub.flush()


def _function(app_path: str, handler: Any) -> Callable[..., Any]:
    if inspect.isclass(handler):
        return Methods(app_path, handler())
    if inspect.isroutine(handler) or isinstance(handler, functools.partial):
        function: Callable[..., Any] = handler
        return function
    return Methods(app_path, handler)


class Methods:
    """An instance as a function of `(action, *args, **kwargs)`."""

    def __init__(self, app_path: str, instance: Any) -> None:
        self._app_path = app_path
        self._instance = instance

    def __call__(self, action: str, /, *args: Any, **kwargs: Any) -> Any:
        return self.method(action)(*args, **kwargs)

    def method(self, action: str) -> Callable[..., Any]:
        """What runs `action`; an instance without such a method may be callable itself.

        Raises: AttributeError: it has none, or a private one.
        """
        found = None if action.startswith("_") else getattr(self._instance, action, None)
        if callable(found):
            return found  # type: ignore[no-any-return]  # callable() narrows Any to nothing better
        if callable(self._instance):
            return functools.partial(self._instance, action)
        raise AttributeError(f"the handler of {self._app_path!r} has no action {action!r}")
