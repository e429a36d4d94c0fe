# SPDX-License-Identifier: Apache-2.0
"""What the ASGI servers are measured with: the same answers as bench_wsgi gives."""

from collections.abc import Awaitable, Callable
from typing import Any

from bench_wsgi import BODIES

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    body = BODIES[scope["path"]]
    length = str(len(body)).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
