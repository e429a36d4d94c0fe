# SPDX-License-Identifier: Apache-2.0
"""Operations of the node's services, each described once; the sync and the async function come
from it.

An operation is a function that takes what the caller gives and returns a `Request`: nothing is
sent by it. Runs in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from . import _calls
from ._timeouts import chosen

DEFAULT_TIMEOUT_MS = 5000

P = ParamSpec("P")
T = TypeVar("T")


class Request(NamedTuple, Generic[T]):
    """What is asked of a service of the node, and what its answer means.

    Attributes:
        service: its name; which terms it takes is written where the node implements it.
        positional, keyword: its arguments, values with an Erlang term.
        read: makes the result of the operation from the service's.
        timeout_ms: milliseconds the caller waits; 0: what `call_timeout` says, else 5 s.
        what: what errors call it; empty: the operation's name.
    """

    service: str
    positional: list[Any]
    keyword: dict[str, Any]
    read: Callable[[Any], T]
    timeout_ms: int = 0
    what: str = ""


def synchronous(operation: Callable[P, Request[T]]) -> Callable[P, T]:
    """The function that carries `operation` out and waits, in the thread that calls it."""
    name = operation.__name__

    @wraps(operation)
    def carry_out(*args: P.args, **kwargs: P.kwargs) -> T:
        service, positional, keyword, read, timeout_ms, what = operation(*args, **kwargs)
        timeout_ms = timeout_ms or chosen(DEFAULT_TIMEOUT_MS)
        return read(_calls.call_service(service, positional, keyword, timeout_ms, what or name))

    return described(carry_out, operation, "hornbeam_erlang")


def asynchronous(operation: Callable[P, Request[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The coroutine function that carries `operation` out while its event loop goes on.

    A task that is cancelled meanwhile gives the call up; the node may have done it all the same.
    """
    name = operation.__name__

    @wraps(operation)
    async def carry_out(*args: P.args, **kwargs: P.kwargs) -> T:
        service, positional, keyword, read, timeout_ms, what = operation(*args, **kwargs)
        timeout_ms, what = timeout_ms or chosen(DEFAULT_TIMEOUT_MS), what or name
        found = await _calls.call_service_async(service, positional, keyword, timeout_ms, what)
        return read(found)

    return described(carry_out, operation, "hornbeam_erlang.aio")


F = TypeVar("F", bound=Callable[..., Any])


def described(function: F, operation: Callable[..., Any], module: str) -> F:
    """`function` as the public form of `operation` in `module`: it returns the request's result."""
    parameters = signature(operation)
    result = parameters.return_annotation.removeprefix("Request[").removesuffix("]")
    public = parameters.replace(return_annotation=result)
    vars(function)["__signature__"] = public
    function.__annotations__ = {**operation.__annotations__, "return": result}
    function.__module__ = module
    del vars(function)["__wrapped__"]
    return function


def twin(function: F, of: Callable[..., Any]) -> F:
    """`function` as the form of the public function `of` that is awaited."""
    function.__name__ = function.__qualname__ = of.__name__
    function.__doc__ = of.__doc__
    function.__module__ = "hornbeam_erlang.aio"
    return function


def unchanged(result: Any) -> Any:
    """`read` of an operation whose result is the service's."""
    return result
