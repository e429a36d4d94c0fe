# SPDX-License-Identifier: Apache-2.0
"""Results that are dear to compute: kept by the node for all workers, and computed once when many
ask at the same time. Runs in any thread, or in any event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from . import codec
from ._calls import call_service, call_service_async, cast_service
from ._operations import Request, unchanged

T = TypeVar("T")

WAIT_MS = 60_000
STORE_MS = 30_000
MARGIN_MS = 5_000  # what the node may take beyond the wait

# Keys whose values this code is about to compute: it must not wait for itself.
_computing: ContextVar[frozenset[str]] = ContextVar("hornbeam_computing", default=frozenset())


def cached(
    key: str, compute: Callable[[], T], *, ttl_ms: int | None = None, wait_ms: int = WAIT_MS
) -> T:
    """The value of `key`; the result of `compute()`, called here, when the node does not have it.

    Who asks for the same key meanwhile, in whichever worker, waits for that result. When `compute`
    fails the exception is the caller's, and the next one who waits computes; the same when its
    worker dies.

    Args:
        key: text of at most 1024 characters; what belongs together begins alike, for `cache_clear`.
        compute: called without arguments; its result has an Erlang term.
        ttl_ms: milliseconds for which the node keeps the value; None: until it is evicted.
        wait_ms: milliseconds to wait for another's computation; after that it is computed here.

    Returns: the value as it comes back from the node, whether it was there or not.
    Raises: what `compute` raises; TermError: its result cannot be sent; NotConnected, CallTimeout.
    """
    name = f"cached({key!r})"
    found = call_service("cache.get", [_checked(key, ttl_ms)], {}, STORE_MS, name)
    if found:
        value: T = found[0]
        return value
    if key in _computing.get():
        return compute()
    kind, got = call_service("cache.claim", [key, wait_ms], {}, wait_ms + MARGIN_MS, name)
    if kind == "hit":
        value = got
        return value
    computing = _computing.set(_computing.get() | {key})
    try:
        value = _as_sent(compute())
    except BaseException:
        cast_service("cache.abandon", [got], {}, name)
        raise
    finally:
        _computing.reset(computing)
    call_service("cache.store", [got, value], _ttl(ttl_ms), STORE_MS, name)
    return value


async def cached_async(
    key: str,
    compute: Callable[[], Awaitable[T]],
    *,
    ttl_ms: int | None = None,
    wait_ms: int = WAIT_MS,
) -> T:
    """`cached`, awaited; `compute` returns what is to be awaited."""
    name = f"cached({key!r})"
    found = await call_service_async("cache.get", [_checked(key, ttl_ms)], {}, STORE_MS, name)
    if found:
        value: T = found[0]
        return value
    if key in _computing.get():
        return await compute()
    arguments = [key, wait_ms]
    timeout_ms = wait_ms + MARGIN_MS
    kind, got = await call_service_async("cache.claim", arguments, {}, timeout_ms, name)
    if kind == "hit":
        value = got
        return value
    computing = _computing.set(_computing.get() | {key})
    try:
        value = _as_sent(await compute())
    except BaseException:
        cast_service("cache.abandon", [got], {}, name)
        raise
    finally:
        _computing.reset(computing)
    await call_service_async("cache.store", [got, value], _ttl(ttl_ms), STORE_MS, name)
    return value


def cache_clear(prefix: str = "") -> Request[int]:
    """Forgets all values whose keys begin with `prefix`, also those that are being computed.

    Returns: how many there were. Raises: NotConnected, CallTimeout.
    """
    return Request("cache.clear", [prefix], {}, unchanged)


def cache_stats() -> Request[dict[str, Any]]:
    """Figures of all workers since the node has started.

    Returns: `hits`, `misses` (computations), `hit_rate` (0.0 to 1.0), `entries`, `bytes`.
    Raises: NotConnected, CallTimeout.
    """
    return Request("cache.stats", [], {}, unchanged)


def _checked(key: str, ttl_ms: int | None) -> str:
    if not isinstance(key, str) or len(key) > 1024:
        raise ValueError(f"cached: key is {key!r:.80}, expected text of at most 1024 characters")
    if ttl_ms is not None and ttl_ms < 1:
        raise ValueError(f"cached({key!r}): ttl_ms is {ttl_ms}, expected 1 or more")
    return key


def _as_sent(value: T) -> T:
    """A hit and a miss give the same type: what has been to the node and back."""
    sent: Any = codec.decode(codec.encode(value))
    return cast(T, sent)


def _ttl(ttl_ms: int | None) -> dict[str, int]:
    return {} if ttl_ms is None else {"ttl_ms": ttl_ms}
