# SPDX-License-Identifier: Apache-2.0
"""Servers for the tests of the load generator, right and wrong ones, byte by byte.

Runs in: a thread with an event loop for each server.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Protocol

from load import HOST

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Handler = Callable[[Reader, Writer], Awaitable[None]]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT = 0x81


class Listening(Protocol):
    """What the servers of asyncio and of `websockets` have in common."""

    @property
    def sockets(self) -> Iterable[socket.socket]: ...


@contextmanager
def served(start: Callable[[], AbstractAsyncContextManager[Listening]]) -> Iterator[int]:
    """Runs a server in a thread of its own for the time of the block. Yields: its port."""
    up: Future[tuple[int, Callable[[], object]]] = Future()

    async def main() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with start() as server:
            (first, *_) = server.sockets
            end = functools.partial(loop.call_soon_threadsafe, over.set)
            up.set_result((first.getsockname()[1], end))
            await over.wait()

    # Connections that are still served then are cancelled, and waited for.
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    port, end = up.result(30)
    try:
        yield port
    finally:
        end()
        thread.join(20)


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[asyncio.Server]:
    """A TCP server whose connections end, however they end, without a word in the log."""

    async def quietly(reader: Reader, writer: Writer) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(quietly, HOST, 0)
    try:
        yield server
    finally:
        server.close()


async def head(reader: Reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def accept(reader: Reader, writer: Writer, *lines: bytes) -> bytes:
    request = await head(reader)
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    answer = base64.b64encode(hashlib.sha1(key + GUID).digest())
    headers = [b"upgrade: websocket", b"connection: Upgrade", *lines]
    headers.append(b"sec-websocket-accept: " + answer)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + b"\r\n".join(headers) + b"\r\n\r\n")
    return request


async def receive(reader: Reader) -> tuple[int, bytes, bytes]:
    """First byte, masking key and unmasked payload of a client's frame."""
    first, second = await reader.readexactly(2)
    assert second & 0x80, "a client's frames are masked"
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    key = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    return first, key, bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def frame(payload: bytes, first: int = TEXT) -> bytes:
    short = len(payload) < 126
    return bytes([first, len(payload) if short else 126]) + (
        payload if short else len(payload).to_bytes(2) + payload
    )


def answering(answer: Callable[[bytes], bytes]) -> Handler:
    """A WebSocket server that writes `answer(message)` to each message."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer)
        while True:
            writer.write(answer((await receive(reader))[2]))

    return handler
