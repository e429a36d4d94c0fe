# SPDX-License-Identifier: Apache-2.0
"""Request bodies as `http.request` messages, and what follows them."""

from __future__ import annotations

import json

import pytest

from live.raw import Raw, chunked, request
from live.samples import MIB, digest, pieces, sample
from live.serving import Served

LIMIT = 65536  # body_buffer: up to it a body comes with the request, above it it streams

SIZES = [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 5 * MIB]


@pytest.mark.parametrize("size", SIZES)
def test_body_of_known_length(asgi: Served, size: int) -> None:
    """A body arrives whole, below and above the inline limit."""
    data = sample(size)
    with Raw(asgi) as raw:
        assert raw.ask("POST", "/digest/", body=data).json[:2] == digest(data)
        assert raw.ask("GET", "/hello/").body == b"hello"


@pytest.mark.parametrize("size", SIZES)
def test_body_in_chunks(asgi: Served, size: int) -> None:
    """A body of unknown length arrives whole and is de-chunked by the server."""
    data = sample(size)
    body = chunked(*pieces(data, 50_000)) if data else chunked()
    with Raw(asgi) as raw:
        reply = raw.ask("PUT", "/digest/", "Transfer-Encoding: chunked", body=body)
        assert reply.json[:2] == digest(data)


@pytest.mark.parametrize("length", [10, LIMIT, 3 * LIMIT])
def test_utf8_json_arrives_byte_for_byte(asgi: Served, length: int) -> None:
    """A UTF-8 JSON body is neither decoded nor encoded anew on its way."""
    text = json.dumps({"text": "Zoë 東京 \U0001f600 " * length}, ensure_ascii=False)
    with Raw(asgi) as raw:
        reply = raw.ask("POST", "/echo/", "Content-Type: application/json", body=text.encode())
    assert reply.body == text.encode()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_body_of_unusual_methods(asgi: Served, method: str) -> None:
    """A body on GET and DELETE is a body."""
    with Raw(asgi) as raw:
        assert raw.ask(method, "/echo/", body=b"body").body == b"body"


def test_large_body_comes_in_pieces(asgi: Served) -> None:
    """A large body is not gathered before the application sees its beginning."""
    with Raw(asgi) as raw:
        raw.send(request("POST", "/both-ways/", f"Content-Length: {MIB}"))
        raw.send(b"a" * (2 * LIMIT))
        assert raw.head().status == 200
        first = raw.chunk()
        assert first.strip(b"a") == b""
        raw.send(b"b" * (MIB - 2 * LIMIT))
        rest = b"".join(iter(raw.chunk, b""))
    assert first + rest == b"a" * (2 * LIMIT) + b"b" * (MIB - 2 * LIMIT)


def test_chunks_come_as_they_are_sent(asgi: Served) -> None:
    """A conversation: each chunk of the request is answered before the next one is sent."""
    with Raw(asgi) as raw:
        # More than the server gathers before it asks the application.
        raw.send(request("POST", "/both-ways/", "Transfer-Encoding: chunked"))
        raw.send(b"%x\r\n%b\r\n" % (2 * LIMIT, b"x" * 2 * LIMIT))
        assert raw.head().status == 200
        size = 0
        while size < 2 * LIMIT:
            size += len(raw.chunk())
        for word in (b"one", b"two", b"three"):
            raw.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert raw.chunk() == word
        raw.send(b"0\r\n\r\n")
        assert raw.chunk() == b""


@pytest.mark.parametrize("size", [10, LIMIT + 1])
def test_body_that_is_not_read(asgi: Served, size: int) -> None:
    """An application that does not look at the body is answered for; the connection goes on, or
    is said to close where the answer came before the whole body."""
    with Raw(asgi) as raw:
        raw.send(request("POST", "/unread/", body=b"x" * size))
        reply = raw.reply()
        assert reply.body == b"unread"
        if reply.head.one("connection") == "close":
            assert size > LIMIT
            assert raw.file.read() == b""
        else:
            assert raw.ask("GET", "/hello/").body == b"hello"


def test_body_that_is_not_read_and_does_not_end(asgi: Served) -> None:
    """The answer comes while the client still sends, and says that the connection closes."""
    with Raw(asgi) as raw:
        raw.send(request("POST", "/unread/", f"Content-Length: {5 * MIB}"))
        raw.send(b"x" * (LIMIT + 1))
        reply = raw.reply()
        assert reply.body == b"unread"
        assert reply.head.one("connection") == "close"
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_expect_continue(asgi: Served) -> None:
    """100 comes before the body is sent, then the answer."""
    with Raw(asgi) as raw:
        raw.send(request("POST", "/digest/", "Expect: 100-continue", "Content-Length: 200000"))
        assert raw.reply().status == 100
        raw.send(b"x" * 200_000)
        assert raw.reply().json[0] == 200_000
