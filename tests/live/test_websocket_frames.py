# SPDX-License-Identifier: Apache-2.0
"""Frames that RFC 6455 forbids: each closes the socket with its code, and the application hears."""

from __future__ import annotations

import pytest

from apps.gate import Gate
from hornbeam_erlang.terms import Atom
from live.conftest import Start
from live.serving import Served
from live.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Frame,
    closing,
    frame,
    opened,
)

PROTOCOL, NOT_UTF8, TOO_BIG = 1002, 1007, 1009

ILLEGAL: dict[str, bytes] = {
    "not masked": frame(TEXT, b"x", mask=False),
    "RSV1 without an extension": frame(TEXT, b"x", FIN | RSV1),
    "RSV2": frame(TEXT, b"x", FIN | RSV2),
    "RSV3": frame(BINARY, b"x", FIN | RSV3),
    "reserved opcode 3": frame(3, b"x"),
    "reserved opcode 7": frame(7, b"x"),
    "reserved opcode 11": frame(11, b"x"),
    "reserved opcode 15": frame(15, b"x"),
    "continuation of nothing": frame(CONTINUATION, b"x"),
    "second beginning": frame(TEXT, b"x", 0) + frame(TEXT, b"y"),
    "fragmented ping": frame(PING, b"x", 0),
    "fragmented close": frame(CLOSE, b"\x03\xe8", 0),
    "long ping": frame(PING, b"x" * 126),
    "long pong": frame(PONG, b"x" * 126),
    "long close": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "close of one byte": frame(CLOSE, b"\x03"),
    "length above 2^63": frame(BINARY, b"", length=b"\x7f\xff" + b"\xff" * 7),
    **{
        f"close {code}": closing(code)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)
    },
}

BAD_TEXTS: dict[str, list[bytes]] = {
    "a lone continuation byte": [b"\x80"],
    "an overlong slash": [b"\xc0\xaf"],
    "a surrogate": [b"\xed\xa0\x80"],
    "above U+10FFFF": [b"\xf4\x90\x80\x80"],
    "cut at its end": [b"Zo\xc3"],
    "cut, then an end": [b"Zo\xc3", b""],
    "cut, then ASCII": [b"Zo\xc3", b"a"],
    "Latin-1": [b"caf\xe9"],
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_frame(asgi: Served, gate: Gate, name: str) -> None:
    """Closed with 1002; the application gets a disconnect."""
    with opened(asgi, "/told/", f"X-Gate: {gate.headers['X-Gate']}") as socket:
        gate.expect("accepted")
        socket.send(ILLEGAL[name])
        codes = {PROTOCOL, TOO_BIG} if "2^63" in name else {PROTOCOL}
        assert socket.closed().code in codes
        assert int(gate.hear().split()[0]) in {*codes, 1005, 1006}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_text_that_is_not_utf8(asgi: Served, name: str) -> None:
    """Closed with 1007, however the text is fragmented; the application never sees it."""
    pieces = BAD_TEXTS[name]
    opcodes = [TEXT, *[CONTINUATION] * (len(pieces) - 1)]
    flags = [*[0] * (len(pieces) - 1), FIN]
    with opened(asgi, "/echo/") as socket:
        for opcode, data, flag in zip(opcodes, pieces, flags, strict=True):
            socket.send(frame(opcode, data, flag))
        assert socket.closed().code == NOT_UTF8


def test_close_reason_that_is_not_utf8(asgi: Served) -> None:
    """The reason of a close frame is UTF-8 as well."""
    with opened(asgi, "/echo/") as socket:
        socket.send(closing(1000, b"\xff"))
        assert socket.closed().code in {PROTOCOL, NOT_UTF8}


@pytest.mark.parametrize(
    "data", [b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf", b"\xed\x9f\xbf", b"\0", "\ufeffx".encode()]
)
def test_unusual_text_is_text(asgi: Served, data: bytes) -> None:
    """What is UTF-8 is taken: noncharacters, NUL, a byte order mark."""
    with opened(asgi, "/echo/") as socket:
        socket.send(frame(TEXT, data))
        assert socket.frame() == Frame(TEXT, data)


LIMIT = 1000


@pytest.fixture
def limited(start_asgi: Start) -> Served:
    """At most 1000 bytes in a message."""
    option = ("websocket_max_frame_size", LIMIT)
    return start_asgi("apps.websocket_cases:application", option, ("loop", Atom("asyncio")))


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_largest_message(limited: Served, opcode: int, size: int) -> None:
    """A message of the limit, or less, is taken."""
    with opened(limited, "/echo/") as socket:
        socket.send(frame(opcode, b"x" * size))
        assert socket.frame() == Frame(opcode, b"x" * size)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_too_large_message(limited: Served, opcode: int) -> None:
    """One byte more: 1009, before the rest is read."""
    with opened(limited, "/echo/") as socket:
        socket.send(frame(opcode, b"x" * (LIMIT + 1)))
        assert socket.closed().code == TOO_BIG


def test_too_large_message_in_fragments(limited: Served) -> None:
    """The limit is the message's, not each fragment's."""
    with opened(limited, "/echo/") as socket:
        socket.send(frame(BINARY, b"x" * 600, 0))
        socket.send(frame(CONTINUATION, b"x" * 600))
        assert socket.closed().code == TOO_BIG


def test_default_limit(asgi: Served) -> None:
    """16 MiB: a header that announces more is refused without waiting for the data."""
    with opened(asgi, "/echo/") as socket:
        size = (16777216 + 1).to_bytes(8)
        socket.send(bytes([FIN | BINARY, 0xFF]) + size + b"\0\0\0\0" + b"x" * 100)
        assert socket.closed().code == TOO_BIG
