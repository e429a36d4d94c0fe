# SPDX-License-Identifier: Apache-2.0
"""Many operations on the shared state in one round trip.

A pipeline belongs to the thread or task that fills it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, cast

from . import _calls, _state
from ._operations import DEFAULT_TIMEOUT_MS, Request
from ._timeouts import chosen
from .errors import HornbeamError

P = ParamSpec("P")
T = TypeVar("T")

_MISSING: Final = object()


class Pending(Generic[T]):
    """The result of one operation of a pipeline, once that has been sent."""

    __slots__ = ("_outcome",)

    def __init__(self) -> None:
        self._outcome: Any = _MISSING

    def result(self) -> T:
        """What the operation returned.

        Raises: what it raised. RuntimeError: its pipeline has not been sent.
        """
        if isinstance(self._outcome, HornbeamError):
            raise self._outcome
        if self._outcome is _MISSING:
            raise RuntimeError("the pipeline of this operation has not been sent")
        return cast(T, self._outcome)


def _queued(
    operation: Callable[P, Request[T]],
) -> Callable[Concatenate[Batch, P], Pending[T]]:
    """The method that puts `operation` into a pipeline."""

    def queue(self: Batch, /, *args: P.args, **kwargs: P.kwargs) -> Pending[T]:
        return self._queue(operation.__name__, operation(*args, **kwargs))

    queue.__name__ = operation.__name__.removeprefix("state_")
    queue.__doc__ = f"Puts `{operation.__name__}` into the pipeline."
    return queue


class Batch:
    """Operations that wait to be sent together; what sync and async pipelines share.

    Attributes:
        results: after the block, one entry for each operation in order: its result, or the
            exception that it raised.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []
        self._queue_of: list[tuple[str, Request[Any], Pending[Any]]] = []

    get = _queued(_state.state_get)
    set = _queued(_state.state_set)
    delete = _queued(_state.state_delete)
    incr = _queued(_state.state_incr)
    decr = _queued(_state.state_decr)
    add = _queued(_state.state_add)
    cas = _queued(_state.state_cas)
    update = _queued(_state.state_update)
    get_multi = _queued(_state.state_get_multi)
    set_multi = _queued(_state.state_set_multi)
    delete_multi = _queued(_state.state_delete_multi)

    def _queue(self, name: str, request: Request[T]) -> Pending[T]:
        pending: Pending[T] = Pending()
        self._queue_of.append((name, request, pending))
        return pending

    def _request(self) -> Request[None]:
        operations = [
            (request.service.removeprefix("state."), request.positional, request.keyword)
            for _, request, _ in self._queue_of
        ]
        return Request("state.pipeline", [operations], {}, self._take)

    def _is_due(self, kind: type[BaseException] | None) -> bool:
        return kind is None and bool(self._queue_of)

    def _take(self, outcomes: list[Any]) -> None:
        for (name, request, pending), outcome in zip(self._queue_of, outcomes, strict=True):
            if type(outcome) is list:
                pending._outcome = request.read(outcome[0])
            else:
                fault, details = outcome
                pending._outcome = _calls.failure(fault, details, name, DEFAULT_TIMEOUT_MS)
            self.results.append(pending._outcome)


class Pipeline(Batch):
    """See `pipeline`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_due(kind):
            service, positional, keyword, read, *_ = self._request()
            timeout_ms = chosen(DEFAULT_TIMEOUT_MS)
            read(_calls.call_service(service, positional, keyword, timeout_ms, "pipeline"))


class AsyncPipeline(Batch):
    """See `hornbeam_erlang.aio.pipeline`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_due(kind):
            service, positional, keyword, read, *_ = self._request()
            timeout_ms = chosen(DEFAULT_TIMEOUT_MS)
            call = _calls.call_service_async
            read(await call(service, positional, keyword, timeout_ms, "pipeline"))


def pipeline() -> Pipeline:
    """Many operations on the shared state in one round trip, sent at the end of the `with` block.

        with pipeline() as p:
            p.set("a", 1)
            count = p.incr("n")
        p.results           # [None, 1]
        count.result()      # 1

    The methods are the operations on keys without `state_`: get, set, delete, incr, decr, add,
    cas, update, get_multi, set_multi, delete_multi. They run in order and each for itself: one
    that fails leaves the others alone, and others may write in between. A block that raises sends
    nothing.

    Raises, at the end of the block: NotConnected, CallTimeout (they may have been done all the
        same), TermError (a key or value has no Erlang term; none was done). What a single operation
        raises stands in its place of `results`, and `result()` of what its method returned raises
        it.
    """
    return Pipeline()
