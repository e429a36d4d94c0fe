# SPDX-License-Identifier: Apache-2.0
"""The smallest ASGI application: one line of text for every HTTP request."""

from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(f"this application does not speak {scope['type']}")
    head = {"status": 200, "headers": [(b"content-type", b"text/plain")]}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": b"Hello from Hornbeam ASGI!"})
