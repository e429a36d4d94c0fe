# SPDX-License-Identifier: Apache-2.0
"""The ASGI twin of `slow_cases`: it streams as fast as it may, and reads as slowly as it is told.

Runs in: the worker's loop.
"""

from __future__ import annotations

import asyncio
import time
import zlib

from apps.asgi_types import App, Receive, Scope, Send, answer, argument, body, start
from apps.slow_cases import CHUNK, MIB

produced = 0  # chunks that send() has taken since the worker began


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def progress(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, b"%d" % produced)


async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
    """As many MiB as the argument says."""
    global produced
    await send(start())
    for _ in range(int(argument(scope)) * MIB // len(CHUNK)):
        produced += 1
        await send(body(CHUNK, more=True))
    await send(body())


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, at most as many bytes a second as the argument says; 0 is no limit."""
    rate = int(argument(scope))
    begin, size, check, more = time.monotonic(), 0, 0, True
    while more:
        message = await receive()
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        check = zlib.crc32(piece, check)
        if rate:
            await asyncio.sleep(max(0.0, begin + size / rate - time.monotonic()))
    await answer(send, b"%d %d" % (size, check))


APPS: dict[str, App] = {"hello": hello, "progress": progress, "stream": stream, "upload": upload}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(f"no {scope['type']} here")
    await APPS[scope["path"].split("/", 2)[1]](scope, receive, send)
