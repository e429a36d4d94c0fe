# SPDX-License-Identifier: Apache-2.0
"""Calls of another node: by `rpc_call`, and by `erpc:call` from Erlang in the node of this worker;
and calls of that node itself, `node()`, of which a call of another one consists as well.

`/NAME?node&count&pids` measures `count` of them one way; `pids` are the processes, beside this one,
whose processor time counts. `wsgi` is one thread, `asgi` an event loop.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any

from bench_state import processor

import hornbeam_erlang as hornbeam
from hornbeam_erlang import aio

VALUE = list(range(10))
HOUR_MS = 3_600_000
CALL = ("lists", "reverse", [VALUE])


def spent(count: int, clock: float, processors: float) -> dict[str, float]:
    """Of one call, microseconds."""
    return {"clock": clock / count * 1e6, "processors": processors / count * 1e6}


def erpc(node: str, count: int, pids: list[int], at_once: int) -> dict[str, float]:
    """From Erlang. Nothing runs in this process meanwhile."""
    arguments = [node, count, at_once, VALUE]
    began = processor(pids)
    us = hornbeam.rpc_call(hornbeam.node(), "bench_erpc", "run", arguments, HOUR_MS)
    used = processor(pids) - began
    return spent(count, us / 1e6, used)


def repeated(operation: Callable[[], object], count: int, pids: list[int]) -> dict[str, float]:
    """From one thread."""
    for _ in range(max(1, count // 20)):
        operation()
    used, began = processor((os.getpid(), *pids)), perf_counter()
    for _ in range(count):
        operation()
    took = perf_counter() - began
    return spent(count, took, processor((os.getpid(), *pids)) - used)


async def awaited(
    operation: Callable[[], Awaitable[object]], count: int, pids: list[int], at_once: int
) -> dict[str, float]:
    """From an event loop, by as many tasks as calls are made at once."""

    async def calls(each: int) -> None:
        for _ in range(each):
            await operation()

    await calls(max(1, count // 20))
    used, began = processor((os.getpid(), *pids)), perf_counter()
    await asyncio.gather(*(calls(count // at_once) for _ in range(at_once)))
    took = perf_counter() - began
    return spent(count, took, processor((os.getpid(), *pids)) - used)


def arguments(query: str) -> tuple[str, int, list[int]]:
    node, count, pids = query.split("&")
    hornbeam.connect(node)
    return node, int(count), [int(pid) for pid in pids.split(",")]


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/rpc_call, /node and /erpc, one at a time."""
    answer: object = "ready"
    if environ["QUERY_STRING"]:
        other, count, pids = arguments(environ["QUERY_STRING"])
        if environ["PATH_INFO"] == "/erpc":
            answer = erpc(other, count, pids, 1)
        elif environ["PATH_INFO"] == "/rpc_call":
            answer = repeated(lambda: hornbeam.rpc_call(other, *CALL), count, pids)
        else:
            answer = repeated(hornbeam.node, count, pids)
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


Send = Callable[[dict[str, Any]], Awaitable[None]]


async def asgi(scope: dict[str, Any], receive: Any, send: Send) -> None:
    """/rpc_call/AT_ONCE, /node/AT_ONCE and /erpc/AT_ONCE."""
    answer: object = "ready"
    if scope["query_string"]:
        _, way, at_once = scope["path"].split("/")
        query = scope["query_string"].decode()
        other, count, pids = await asyncio.to_thread(arguments, query)
        if way == "erpc":
            answer = await asyncio.to_thread(erpc, other, count, pids, int(at_once))
        else:
            call = aio.node if way == "node" else lambda: aio.rpc_call(other, *CALL)
            answer = await awaited(call, count, pids, int(at_once))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
