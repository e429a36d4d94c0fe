# SPDX-License-Identifier: Apache-2.0
"""Cached results as WSGI requests: `/case?argument`, answered in JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hornbeam_erlang import aio, cached, state_incr
from hornbeam_ml import cache_stats, cached_inference, cached_inference_async, clear_cache


def slow(text: str) -> dict[str, Any]:
    """Counts how often it runs in all workers."""
    state_incr(f"computed:{text}")
    print(f"{os.getpid()} computes {text}", file=sys.stderr, flush=True)
    time.sleep(0.3)
    return {"by": os.getpid(), "vector": np.full(3, len(text), "f4"), "pair": (1, b"x")}


def failing(text: str) -> str:
    state_incr(f"computed:{text}")
    raise OSError(f"no result for {text}")


def describe(result: dict[str, Any]) -> list[Any]:
    vector = result["vector"]
    pair = result["pair"]
    return [result["by"], type(vector).__name__, str(vector.dtype), vector.tolist(), repr(pair)]


def compute(argument: str) -> Any:
    return describe(cached_inference(slow, argument))


def compute_awaited(argument: str) -> Any:
    return describe(asyncio.run(cached_inference_async(slow, argument)))


def fail(argument: str) -> Any:
    try:
        return cached_inference(failing, argument)
    except OSError as exc:
        return f"{type(exc).__name__}: {exc}"


def count(argument: str) -> Any:
    return state_incr(f"computed:{argument}", 0)


def stats(argument: str) -> Any:
    return cache_stats()


def clear(argument: str) -> Any:
    return clear_cache(argument or "ml")


def explicit(argument: str) -> Any:
    return [
        cached_inference(len, argument, cache_key="same", cache_prefix="lengths"),
        cached_inference(len, argument + "more", cache_key="same", cache_prefix="lengths"),
    ]


def nested(argument: str) -> Any:
    """A computation that asks for its own key does not wait for itself."""
    return cached("nested", lambda: ["outer", cached("nested", lambda: "inner")])


def gathered(argument: str) -> Any:
    """Tasks of one request that ask for the same key compute once."""
    runs = []

    async def one() -> int:
        runs.append(1)
        await asyncio.sleep(0.05)
        return 7

    async def work() -> list[int]:
        return await asyncio.gather(*(aio.cached("gathered", one) for _ in range(5)))

    return [asyncio.run(work()), len(runs)]


def time_to_live(argument: str) -> Any:
    first = cached("short", lambda: 1, ttl_ms=20)
    deadline = time.monotonic() + 30
    while cached("short", lambda: 2, ttl_ms=20) == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return [first, cached("short", lambda: 3, ttl_ms=10_000) in (2, 3)]


CASES: dict[str, Callable[[str], Any]] = {
    function.__name__: function
    for function in (
        compute, compute_awaited, fail, count, stats, clear, explicit, nested, gathered,
        time_to_live,
    )
}  # fmt: skip


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    result = CASES[environ["PATH_INFO"][1:]](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(result).encode()]
