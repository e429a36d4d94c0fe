# SPDX-License-Identifier: Apache-2.0
"""What the bare ASGI applications share: the types of the interface, and its commonest messages.

Runs in: the worker.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

TEXT = (b"content-type", b"text/plain")


def argument(scope: Scope) -> str:
    """What stands behind the case's name in the path."""
    path: str = scope["path"]
    return path.split("/", 2)[2]


def start(status: int = 200, *fields: tuple[bytes, bytes], **more: object) -> Message:
    headers = list(fields or (TEXT,))
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answer(send: Send, data: bytes, status: int = 200) -> None:
    await send(start(status))
    await send(body(data))


async def answer_json(send: Send, value: object) -> None:
    await send(start(200, (b"content-type", b"application/json")))
    await send(body(json.dumps(value).encode()))


async def read(receive: Receive) -> bytes:
    """The whole body of the request."""
    data: bytes = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        data += message.get("body", b"")
        if not message.get("more_body", False):
            return data
