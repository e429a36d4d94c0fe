# SPDX-License-Identifier: Apache-2.0
"""What the ASGI servers are measured with.

Over HTTP `/` and `/large` as bench_wsgi has them, `/wait` after one millisecond, `/json` what was
posted, parsed and written again, `/events` without end; over WebSocket an echo.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench_wsgi import BODIES

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

# Text of each event after its two numbers: 128 bytes in all, as scenarios.py says.
FILL = "x" * 84


async def answer(send: Send, kind: bytes, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", kind), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def posted(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message["body"])
        if not message.get("more_body", False):
            return b"".join(parts)


async def events(scope: Scope, send: Send) -> None:
    """An event every `scope["query_string"]` seconds: its number, and the time it was made."""
    pause = float(scope["query_string"])
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    number = 0
    while True:
        event = f"id: {number:010d}\ndata: {time.monotonic_ns():020d} {FILL}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(pause)
        number += 1


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        return await echo(receive, send)
    path = scope["path"]
    if path == "/events":
        return await events(scope, send)
    if path == "/json":
        body = json.dumps(json.loads(await posted(receive))).encode()
        return await answer(send, b"application/json", body)
    if path == "/wait":
        await asyncio.sleep(0.001)
        path = "/"
    await answer(send, b"text/plain", BODIES[path])
