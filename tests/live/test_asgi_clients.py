# SPDX-License-Identifier: Apache-2.0
"""Clients that nobody here wrote: httpx over HTTP/1.1 and HTTP/2, curl, aiohttp, websockets."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import websockets.asyncio.client as websockets

from live.samples import MIB, digest, pieces, sample
from live.serving import Served

SECONDS = 30


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, SECONDS))


def base(asgi: Served, scheme: str = "http") -> str:
    return f"{scheme}://{asgi.host}:{asgi.port}"


# --- httpx


@pytest.fixture(params=["http/1.1", "http/2"])
def http2(request: pytest.FixtureRequest) -> bool:
    """Whether the client speaks HTTP/2."""
    if request.param == "http/2":
        request.getfixturevalue("with_http2")
    return bool(request.param == "http/2")


def httpx_client(asgi: Served, http2: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base(asgi), http1=not http2, http2=http2, trust_env=False, timeout=SECONDS
    )


def test_httpx_requests_at_once(asgi: Served, http2: bool) -> None:
    """Two hundred requests of one client, forty at once: each gets its own answer."""

    async def main() -> None:
        async with httpx_client(asgi, http2) as client:
            gauge = asyncio.Semaphore(40)

            async def one(number: int) -> None:
                async with gauge:
                    response = await client.post("/echo/", content=b"%d" % number)
                assert response.content == b"%d" % number
                assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")

            await asyncio.gather(*map(one, range(200)))

    run(main())


@pytest.mark.parametrize("size", [10, 65537, 5 * MIB])
def test_httpx_streamed_upload(asgi: Served, http2: bool, size: int) -> None:
    """A body of unknown length from an asynchronous generator."""
    data = sample(size)

    async def content() -> AsyncIterator[bytes]:
        for piece in pieces(data):
            yield piece

    async def main() -> None:
        async with httpx_client(asgi, http2) as client:
            response = await client.post("/digest/", content=content())
            assert response.json()[:2] == digest(data)

    run(main())


def test_httpx_server_sent_events(asgi: Served, http2: bool) -> None:
    """Events line by line."""

    async def main() -> None:
        async with (
            httpx_client(asgi, http2) as client,
            client.stream("GET", "/events/50") as response,
        ):
            found = [line async for line in response.aiter_lines() if line.startswith("data")]
        assert found == [f"data: event {number}" for number in range(50)]

    run(main())


# --- curl


def curl(asgi: Served, *arguments: str) -> bytes:
    line = [base(asgi) + text if text.startswith("/") else text for text in arguments]
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", *line],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(params=["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def version(request: pytest.FixtureRequest) -> str:
    if "http2" in request.param:
        request.getfixturevalue("with_http2")
    return str(request.param)


def test_curl(asgi: Served, tmp_path: Path, version: str) -> None:
    """A page, an upload that waits for 100, a download."""
    data = sample(2 * MIB)
    (tmp_path / "data").write_bytes(data)
    assert curl(asgi, version, "/hello/") == b"hello"
    source = f"@{tmp_path / 'data'}"
    found = curl(
        asgi, version, "--header", "Expect: 100-continue", "--data-binary", source, "/echo/"
    )
    assert found == data
    assert len(curl(asgi, version, "/pieces/100/1000")) == 100_000


# --- aiohttp


def test_aiohttp(asgi: Served) -> None:
    """Requests on pooled connections, an upload in chunks, a stream."""

    async def main() -> None:
        async with aiohttp.ClientSession(base(asgi)) as session:
            for number in range(20):
                async with session.post("/echo/", data=b"%d" % number) as response:
                    assert await response.read() == b"%d" % number
            data = sample(3 * MIB)
            async with session.put("/digest/", data=chunks(data)) as response:
                assert (await response.json())[:2] == digest(data)
            async with session.get("/pieces/1000/1000") as response:
                size = 0
                async for piece in response.content.iter_any():
                    size += len(piece)
                assert size == 1_000_000

    run(main())


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(data):
        yield piece


def test_aiohttp_websocket(asgi: Served) -> None:
    """Text, bytes, a compressed message if both can, and the close code."""

    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(base(asgi, "ws") + "/echo/", compress=15) as socket,
        ):
            for text in ("Zoë", "", "x" * 100_000):
                await socket.send_str(text)
                assert await socket.receive_str() == text
            await socket.send_bytes(b"\0\xff")
            assert await socket.receive_bytes() == b"\0\xff"
            await socket.close(code=4000)
            assert socket.close_code == 4000

    run(main())


# --- websockets


def test_websockets(asgi: Served) -> None:
    """Messages, fragments, pings, and the close of the server, with its code and reason."""

    async def main() -> None:
        async with websockets.connect(base(asgi, "ws") + "/echo/", proxy=None) as socket:
            await socket.send("Zoë")
            assert await socket.recv() == "Zoë"
            await socket.send([b"first ", b"second ", b"third"])
            assert await socket.recv() == b"first second third"
            assert await (await socket.ping()) >= 0
        closing = websockets.connect(base(asgi, "ws") + "/closes/4003/why", proxy=None)
        async with closing as socket:
            await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4003, "why")

    run(main())


def test_hundred_websockets(asgi: Served) -> None:
    """A hundred sockets at once, ten messages each: every one gets its own, in order."""

    async def one(number: int) -> None:
        async with websockets.connect(base(asgi, "ws") + "/echo/", proxy=None) as socket:
            for index in range(10):
                await socket.send(f"{number} {index}")
                assert await socket.recv() == f"{number} {index}"

    async def main() -> None:
        await asyncio.gather(*map(one, range(100)))

    run(main())
