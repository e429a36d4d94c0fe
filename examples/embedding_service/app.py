# SPDX-License-Identifier: Apache-2.0
"""Embeddings of texts over HTTP: computed once for the whole node, many requests in one call of
the model.

    GET /embed?text=...              {"embedding": [384 numbers]}
    GET /similarity?a=...&b=...      {"similarity": -1.0 to 1.0}
    GET /stats                       hits and misses of the cache, texts and calls of the model

Runs as `hornbeam --interface asgi --app-dir examples/embedding_service app:application`.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from minilm import Floats, MiniLM

from hornbeam_erlang import aio
from hornbeam_ml import batched, cached_inference_async

model = MiniLM()
counts = {"model_calls": 0, "model_texts": 0}


@batched(max_size=32, max_wait_ms=5)
def encode(texts: list[str]) -> Floats:
    counts["model_calls"] += 1
    counts["model_texts"] += len(texts)
    return model.encode(texts)


async def embedding(text: str) -> Floats:
    """From the cache; else in a batch with whatever other requests need now."""
    found: Floats = await cached_inference_async(encode.call_async, text, cache_prefix="minilm")
    return found


async def embed(query: dict[str, str]) -> Any:
    return {"embedding": (await embedding(query["text"])).tolist()}


async def similarity(query: dict[str, str]) -> Any:
    one, other = await embedding(query["a"]), await embedding(query["b"])
    return {"similarity": float(one @ other)}


async def stats(query: dict[str, str]) -> Any:
    return {**await aio.cache_stats(), **counts}


ROUTES = {"/embed": embed, "/similarity": similarity, "/stats": stats}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not spoken here")
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    try:
        status, answer = 200, await ROUTES[scope["path"]](query)
    except KeyError as exc:
        status, answer = 404, {"missing": str(exc)}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
