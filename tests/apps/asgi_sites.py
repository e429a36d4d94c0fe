# SPDX-License-Identifier: Apache-2.0
"""What the sites in the ASGI frameworks share: middleware, a resource with a life, a chat room.

Runs in: workers of hornbeam and of uvicorn.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

from apps.asgi_types import App, Message, Receive, Scope, Send

FOLDER = Path(os.environ["SITE_FOLDER"])

request_id: ContextVar[str] = ContextVar("request_id", default="none")

# What background tasks have done, in order.
done: list[str] = []


class TagMiddleware:
    """A pure ASGI middleware: it sets a context variable that the endpoint sees, and sends it back
    as a header.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        value = dict(scope["headers"]).get(b"x-request-id", b"none")
        request_id.set(value.decode())

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"x-tag", value)]
            await send(message)

        await self.app(scope, receive, tagged)


class Resource:
    """A pool, say: opened in the lifespan, used by requests, closed at the end."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.open = True
        self.used = 0

    async def use(self) -> int:
        if not self.open or asyncio.get_running_loop() is not self.loop:
            raise RuntimeError("used out of its loop or after its end")
        await asyncio.sleep(0)
        self.used += 1
        return self.used


class Room:
    """A chat room: what one says everyone hears."""

    def __init__(self) -> None:
        self.members: dict[object, Callable[[str], Awaitable[None]]] = {}

    async def say(self, text: str) -> None:
        await asyncio.gather(*(tell(text) for tell in list(self.members.values())))


async def digest(stream: AsyncIterable[bytes]) -> list[object]:
    """Length and SHA-256 of a body that is read as it comes."""
    sha, size = hashlib.sha256(), 0
    async for piece in stream:
        sha.update(piece)
        size += len(piece)
    return [size, sha.hexdigest()]


def digest_of(data: bytes) -> list[object]:
    return [len(data), hashlib.sha256(data).hexdigest()]


async def lines(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"line %d\n" % number


async def events(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"id: %d\ndata: event %d\n\n" % (number, number)
        await asyncio.sleep(0.001)


async def remember(word: str) -> None:
    await asyncio.sleep(0.01)
    done.append(word)
