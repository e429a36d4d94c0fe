# SPDX-License-Identifier: Apache-2.0
"""A WebSocket that sends back what it gets: text as text, bytes as bytes."""

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def app(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise RuntimeError(f"this example speaks WebSocket only, not {scope['type']}")
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (said := await receive())["type"] == "websocket.receive":
        await send({**said, "type": "websocket.send"})
