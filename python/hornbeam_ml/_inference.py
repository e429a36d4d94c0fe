# SPDX-License-Identifier: Apache-2.0
"""Results of models, cached in the node. Runs in any thread or event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import hornbeam_erlang
from hornbeam_erlang import NotConnected, aio

from ._keys import inference_key

T = TypeVar("T")


def cached_inference(
    fn: Callable[[Any], T],
    input_data: Any,
    cache_key: str | None = None,
    cache_prefix: str = "ml",
    *,
    ttl_ms: int | None = None,
) -> T:
    """`fn(input_data)`, computed once for the whole node.

    Args:
        fn: the model's function, e.g. `model.encode`; its result has an Erlang term (arrays do).
        input_data: what it is called with; see `inference_key` for the types that are told apart.
        cache_key: the key instead of one made from `fn` and `input_data`.
        cache_prefix: put before the key, with a colon; `clear_cache` takes it.
        ttl_ms: milliseconds for which the result is kept; None: until it is evicted.

    Returns: the result; of the same type on a hit and on a miss. Where there is no node `fn` is
        called, and nothing is kept.
    Raises: what `fn` raises; TermError: the result cannot be kept; TypeError: there is no key.
    """
    key = _key(fn, input_data, cache_key, cache_prefix)
    try:
        return hornbeam_erlang.cached(key, lambda: fn(input_data), ttl_ms=ttl_ms)
    except NotConnected:
        return fn(input_data)


async def cached_inference_async(
    fn: Callable[[Any], Any],
    input_data: Any,
    cache_key: str | None = None,
    cache_prefix: str = "ml",
    *,
    ttl_ms: int | None = None,
) -> Any:
    """`cached_inference`, awaited. A plain `fn` runs in a thread, a coroutine function in the
    loop."""
    key = _key(fn, input_data, cache_key, cache_prefix)

    async def compute() -> Any:
        if inspect.iscoroutinefunction(fn):
            return await fn(input_data)
        return await asyncio.to_thread(fn, input_data)

    return await aio.cached(key, compute, ttl_ms=ttl_ms)


def _key(fn: Callable[..., Any], input_data: Any, cache_key: str | None, cache_prefix: str) -> str:
    return f"{cache_prefix}:{inference_key(fn, input_data) if cache_key is None else cache_key}"


def cache_stats() -> dict[str, Any]:
    """Hits and misses of all workers since the node has started.

    Returns: `hits`, `misses`, `hit_rate` (0.0 to 1.0), and of the cache `entries` and `bytes`.
    """
    return hornbeam_erlang.cache_stats()


def clear_cache(prefix: str = "ml") -> int:
    """Forgets all results with that `cache_prefix`. Returns: how many there were."""
    return hornbeam_erlang.cache_clear(f"{prefix}:")
