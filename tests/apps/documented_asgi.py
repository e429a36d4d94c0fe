# SPDX-License-Identifier: Apache-2.0
"""What the documents that describe hornbeam show for ASGI, as `apps.documented`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from apps.documented import Model, fresh
from hornbeam_erlang import (
    publish,
    receive_pubsub,
    register_hook,
    stream_async,
    subscribe,
    unsubscribe,
)


async def generate(path: str, prompt: str) -> AsyncIterator[str]:
    async for chunk in stream_async(path, "generate", prompt):
        yield chunk


async def websocket_app(scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket that is told what is published to its user, each time its client says something;
    and a page of a stream."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "http":
        path = fresh("llm")
        register_hook(path, Model)
        text = "".join([chunk async for chunk in generate(path, "streamed")])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})
        return
    await send({"type": "websocket.accept"})
    user_id = scope["path"].strip("/")
    subscribe(f"user:{user_id}")
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") == "publish":
                publish(f"user:{user_id}", {"for": user_id})
            published = receive_pubsub(timeout=0)
            if published:
                await send({"type": "websocket.send", "text": json.dumps(published)})
    finally:
        unsubscribe(f"user:{user_id}")
