# SPDX-License-Identifier: Apache-2.0
"""WebSockets for websocket_SUITE: every path echoes. GET /ends tells the process id of the worker
and the close codes that the application has seen."""

from __future__ import annotations

import os
from typing import Any

ENDS: list[str] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        body = (f"{os.getpid()} " + " ".join(ENDS)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        return
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "welcome"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    ENDS.append(str(message["code"]))
