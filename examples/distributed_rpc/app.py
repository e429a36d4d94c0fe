# SPDX-License-Identifier: Apache-2.0
"""Inference on other machines: an ASGI application whose node has GPU nodes beside it, and one that
keeps the log.

The variables GPU_NODES and LOG_NODE name them. See README.md for the commands.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import model

from hornbeam_erlang import CallTimeout, NodeDown, aio, connect, rpc_cast

GPU_NODES = os.environ.get("GPU_NODES", "").split()
LOG_NODE = os.environ.get("LOG_NODE", "")

for each in GPU_NODES:
    try:
        connect(each)
    except (NodeDown, CallTimeout):
        pass  # it is called when it is there: see distributed_embedding


async def gpu_nodes() -> list[str]:
    """The GPU nodes that are there now, told by their names."""
    return sorted(node for node in await aio.nodes() if "gpu" in node)


def split(texts: list[str], count: int) -> list[list[str]]:
    """The texts in `count` parts, as even as can be; none is empty."""
    return [part for part in (texts[start::count] for start in range(count)) if part]


def merged(parts: list[list[Any]], count: int) -> list[Any]:
    """The opposite of `split`."""
    found: list[Any] = [None] * sum(map(len, parts))
    for start, part in enumerate(parts):
        found[start::count] = part
    return found


async def encode_on(node: str, texts: list[str]) -> list[list[float]]:
    """On that node, or here when it is gone or takes too long."""
    try:
        vectors: list[list[float]] = await aio.rpc_call(
            node, "embedding_service", "encode", [texts], timeout_ms=60000
        )
        return vectors
    except (NodeDown, CallTimeout):
        return await asyncio.to_thread(model.encode, texts)


async def distributed_embedding(texts: list[str]) -> dict[str, Any]:
    """Every node makes its part of the vectors, all at the same time."""
    found = await gpu_nodes()
    if not found:
        return {"nodes": [], "vectors": await asyncio.to_thread(model.encode, texts)}
    parts = split(texts, len(found))
    vectors = await asyncio.gather(*map(encode_on, found, parts))
    return {"nodes": found, "vectors": merged(vectors, len(found))}


async def predict(text: str) -> Any:
    """By the first GPU node there is, or here."""
    for node in await gpu_nodes():
        return await aio.rpc_call(node, "ml_model", "predict", [text], timeout_ms=30000)
    return {**model.predict(text), "node": await aio.node()}


def log(user: str) -> None:
    """Nobody waits for the log."""
    if LOG_NODE:
        rpc_cast(LOG_NODE, "logger", "log", ["notice", f"{user} has asked", {"user": user}])


async def answer(path: str, query: dict[str, list[str]]) -> Any:
    log(query.get("user", ["somebody"])[0])
    if path == "/embed":
        return await distributed_embedding(query["text"])
    if path == "/predict":
        return await predict(query["text"][0])
    return {"nodes": await aio.nodes(), "this": await aio.node()}


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """/nodes, /embed?text=…&text=…, /predict?text=…; the parameter `user` is for the log."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    found = await answer(scope["path"], parse_qs(scope["query_string"].decode()))
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})
