# SPDX-License-Identifier: Apache-2.0
"""The piece of work in which code runs - a request, a WebSocket, a call of the node, a task or a
thread - and what is to be done when it ends.

`current_scope` runs in the thread that asks. Endings run in the thread that has run the work; those
of a task in its event loop, those of a thread wherever the interpreter drops the thread's storage.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from ._calls import current_origin
from ._hub import Hub

_storage = threading.local()


class _Thread:
    """Lives as long as the thread whose storage alone holds it.

    Attributes:
        scope: what names the thread.
    """

    __slots__ = ("__weakref__", "scope")

    def __init__(self) -> None:
        self.scope = object()


def current_scope(hub: Hub) -> Hashable:
    """What names the current piece of work: the same value wherever it is asked for in it.

    A task that goes on after its request has ended is a piece of work of its own.
    """
    origin = current_origin(hub)
    if origin and hub.is_running(origin):
        return origin
    task = _current_task()
    return _thread().scope if task is None else task


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


def _thread() -> _Thread:
    try:
        thread: _Thread = _storage.thread
    except AttributeError:
        thread = _storage.thread = _Thread()
    return thread


def at_end(hub: Hub, scope: Hashable, ending: Callable[[], None]) -> None:
    """Has `ending` called once, when `scope`, which is the current one, ends."""
    if isinstance(scope, int):
        hub.endings.setdefault(scope, []).append(ending)
    elif isinstance(scope, asyncio.Task):
        scope.add_done_callback(lambda _: ending())
    else:
        weakref.finalize(_thread(), ending).atexit = False
