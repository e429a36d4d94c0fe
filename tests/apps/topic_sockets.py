# SPDX-License-Identifier: Apache-2.0
"""WebSocket clients that join topics, and subscribers in their handlers.

Clients say what to do in JSON: `["join", topic]`, `["leave", topic]`, `["prefix", topic]`. Over
HTTP `GET /topic?text` publishes text, `POST /topic` JSON; the answer is the count.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hornbeam_erlang import aio, publish, receive_pubsub, subscribe


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await publisher(scope, receive, send)
    elif scope["type"] == "websocket":
        handler = {"/joining": joining, "/handling": handling, "/waiting": waiting}[scope["path"]]
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await handler(scope, receive, send)
    else:
        raise RuntimeError("no lifespan here")


async def publisher(scope: dict[str, Any], receive: Any, send: Any) -> None:
    topic, text = scope["path"][1:], scope["query_string"].decode()
    message: Any = text
    if scope["method"] == "POST":
        event = await receive()
        message = json.loads(event["body"])
    elif text.startswith("bytes:"):
        message = text.removeprefix("bytes:").encode()
    count = await aio.publish(topic, message)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(count).encode()})


async def joining(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert "hornbeam.topics" in scope["extensions"]
    while (message := await receive())["type"] == "websocket.receive":
        verb, topic = json.loads(message["text"])
        name = "hornbeam.topics.leave" if verb == "leave" else "hornbeam.topics.join"
        await send({"type": name, "topic": topic, "prefix": verb == "prefix"})
        await send({"type": "websocket.send", "text": f"{verb} {topic}"})


async def handling(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Looks for messages whenever the client says something."""
    subscribe("handled")
    await send({"type": "websocket.send", "text": "subscribed"})
    while (await receive())["type"] == "websocket.receive":
        found = receive_pubsub(timeout=0)
        await send({"type": "websocket.send", "text": json.dumps(found)})
        publish("handled", "next")


async def waiting(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Passes on what a task of its own receives."""
    await aio.subscribe("waited")

    async def forward() -> None:
        while True:
            message = await aio.receive_pubsub(timeout=30)
            await send({"type": "websocket.send", "text": json.dumps(message)})

    task = asyncio.create_task(forward())
    await send({"type": "websocket.send", "text": "subscribed"})
    while (await receive())["type"] == "websocket.receive":
        pass
    task.cancel()
