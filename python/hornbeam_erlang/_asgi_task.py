# SPDX-License-Identifier: Apache-2.0
"""Runs a coroutine at once, and makes an asyncio task of it only when it waits for something.

Runs in the loop's thread. Many requests never wait, and a task costs (benchmarks/tasks.py); what
they answer can leave in the turn of the loop that brought them. So the first step is taken by hand,
inside a context of its own and with a task that is only allocated: `asyncio.current_task()` returns
it, and whoever asks it for more than its identity makes it a real one. When the coroutine waits,
the task is made real and goes on from there; it is the same object all the time.
"""

from __future__ import annotations

import asyncio
from asyncio import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

# What needs a real task: all that `asyncio.Task` offers but `get_coro`.
_METHODS = (
    "__await__",
    "__iter__",
    "__repr__",
    "add_done_callback",
    "cancel",
    "cancelled",
    "cancelling",
    "done",
    "exception",
    "get_context",
    "get_loop",
    "get_name",
    "get_stack",
    "print_stack",
    "remove_done_callback",
    "result",
    "set_name",
    "uncancel",
)


class Runner:
    """Starts the tasks of one event loop, which runs in this thread.

    Attributes:
        waiting: the tasks whose coroutines wait. The loop itself holds tasks weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: set[LazyTask] = set()
        self._call_soon = loop.call_soon
        self._context: Context | None = None
        self._step: Callable[[], object] | None = None

    def run(self, task: LazyTask, context: Context) -> None:
        """Runs the coroutine of `task` in `context` until it waits or ends.

        Called while no task is current. Nothing that the coroutine raises gets out of here.
        """
        task.context = context
        task.has_ended = task.is_real = False
        task.step = None
        loop = self.loop
        _enter_task(loop, task)
        try:
            task.awaited = context.run(task.first_step)
        except StopIteration:
            task.has_ended = True
            task.returned()
        except BaseException as exc:
            task.has_ended = True
            context.run(task.raised, exc)
        finally:
            _leave_task(loop, task)
        if not task.has_ended:
            self.waiting.add(task)
            self._go_on(task)
        elif task.step is not None:
            context.run(task.step)

    def _go_on(self, task: LazyTask) -> None:
        task.make_real()
        step, task.step = task.step, None
        assert step is not None
        task.context.run(step)

    def make_real(self, task: LazyTask) -> None:
        """Initialises `task`. Its first step is not scheduled, but kept for us to take."""
        loop: Any = self.loop
        self._context = context = task.context
        loop.call_soon = self._capture
        try:
            rest: Any = _Rest(self, task)
            asyncio.Task.__init__(task, rest, loop=loop, context=context)
        finally:
            del loop.call_soon
            self._context = None
        task.is_real = True
        task.step, self._step = self._step, None

    def _capture(self, callback: Callable[..., object], *args: Any, context: Any = None) -> object:
        if context is self._context:
            self._step = callback
            return None
        # Something else that came in between, such as a finalizer run by the garbage collector.
        return self._call_soon(callback, *args, context=context)


class LazyTask(asyncio.Task[None]):
    """The task of one coroutine; see the head of the module. Not initialised when it is made.

    Subclasses make the coroutine and say what is to be done at its end; `returned` and `raised`
    may not raise.

    Attributes:
        is_real: whether it has been initialised.
        has_ended: whether the coroutine has ended.
        awaited: what the coroutine waits for since its first step: a future, or None to go on soon.
        step: the first step of the task, which the loop would take, until we take it.
    """

    __slots__ = ("awaited", "context", "coroutine", "has_ended", "is_real", "step")

    runner: Runner
    coroutine: Coroutine[Any, Any, Any]
    context: Context
    awaited: Any
    is_real: bool
    has_ended: bool
    step: Callable[[], object] | None

    def first_step(self) -> Any:
        """Makes `coroutine` and takes its first step: `coroutine.send(None)`."""
        raise NotImplementedError

    def returned(self) -> None:
        raise NotImplementedError

    def raised(self, exc: BaseException) -> None:
        raise NotImplementedError

    def get_coro(self) -> Any:
        return self.coroutine

    def make_real(self) -> None:
        """Initialises the task, unless it is already."""
        if not self.is_real:
            self.runner.make_real(self)
            if self.has_ended:
                # Somebody asks for it afterwards: it is done at once, there is nothing to run.
                self.step = None
                asyncio.Future.set_result(self, None)


_SEEN = object()  # stands for what the coroutine waited for first, once the task knows it


class _Rest:
    """What is left of a coroutine after its first step, for the task: a coroutine, too.

    Lets go of the task at the end, so that neither waits for the garbage collector.
    """

    __slots__ = ("_runner", "_task")

    def __init__(self, runner: Runner, task: LazyTask) -> None:
        self._runner = runner
        self._task: LazyTask | None = task

    def _live(self) -> LazyTask:
        task = self._task
        if task is None or task.has_ended:
            self._task = None
            raise StopIteration
        return task

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: None) -> Any:
        task = self._live()
        awaited, task.awaited = task.awaited, _SEEN
        if awaited is not _SEEN:
            return awaited
        try:
            return task.coroutine.send(value)
        except StopIteration:
            self._end(task)
            task.returned()
        except BaseException as exc:
            self._end(task)
            task.raised(exc)
        raise StopIteration

    def throw(self, exc: Any, *rest: Any) -> Any:
        task = self._live()
        awaited, task.awaited = task.awaited, _SEEN
        # Cancelled before it waited for anything: what it waits for is cancelled, as a task does.
        if awaited is not _SEEN and awaited is not None and awaited.cancel():
            return awaited
        try:
            return task.coroutine.throw(exc, *rest)
        except StopIteration:
            self._end(task)
            task.returned()
        except BaseException as caught:
            self._end(task)
            task.raised(caught)
        raise StopIteration

    def close(self) -> None:
        if self._task is not None:
            self._task.coroutine.close()

    def __await__(self) -> Generator[Any, None, None]:
        raise NotImplementedError

    def _end(self, task: LazyTask) -> None:
        self._task = None
        task.has_ended = True
        self._runner.waiting.discard(task)


Coroutine.register(_Rest)


def _on_demand(name: str) -> Callable[..., Any]:
    method = getattr(asyncio.Task, name)

    def call(self: LazyTask, *args: Any, **kwargs: Any) -> Any:
        self.make_real()
        return method(self, *args, **kwargs)

    call.__name__ = name
    return call


def _attribute(name: str) -> property:
    getter = getattr(asyncio.Task, name).__get__

    def get(self: LazyTask) -> Any:
        self.make_real()
        return getter(self)

    return property(get)


for _name in _METHODS:
    if hasattr(asyncio.Task, _name):
        setattr(LazyTask, _name, _on_demand(_name))
for _name in ("_callbacks", "_loop"):
    setattr(LazyTask, _name, _attribute(_name))
