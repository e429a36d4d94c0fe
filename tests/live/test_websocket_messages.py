# SPDX-License-Identifier: Apache-2.0
"""WebSocket messages in both directions."""

from __future__ import annotations

import pytest

from apps.gate import Gate
from apps.websocket_cases import WRONG
from live.serving import Served
from live.websocket import (
    BINARY,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Frame,
    Socket,
    closing,
    frame,
    opened,
)


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


SIZES = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_text_stays_text(asgi: Served, size: int) -> None:
    """A text comes back as a text, in every encoding of its length."""
    data = "ä東\U0001f600z".encode() * (size // 10 + 1)
    data = b"x" * (size % 10) + data[: size // 10 * 10]
    with opened(asgi, "/echo/") as socket:
        socket.send(frame(TEXT, data))
        assert socket.frame() == Frame(TEXT, data)


@pytest.mark.parametrize("size", SIZES)
def test_binary_stays_binary(asgi: Served, size: int) -> None:
    """Bytes come back as bytes, also when they are UTF-8, and when there are none."""
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    with opened(asgi, "/echo/") as socket:
        for sent in (data, b"text" * (size // 4)):
            socket.send(frame(BINARY, sent))
            assert socket.frame() == Frame(BINARY, sent)


def test_what_the_application_receives(asgi: Served) -> None:
    """`text` is str, `bytes` is bytes; empty messages are messages."""
    with opened(asgi, "/received/") as socket:
        for opcode, data, seen in (
            (TEXT, "Zoë".encode(), "('text', 'Zoë')"),
            (BINARY, b"Zo\xff", r"('bytes', b'Zo\xff')"),
            (TEXT, b"", "('text', '')"),
            (BINARY, b"", "('bytes', b'')"),
        ):
            socket.send(frame(opcode, data))
            assert seen in socket.text()


def test_what_the_application_may_send(asgi: Served) -> None:
    """None beside the other key; empty text and empty bytes."""
    with opened(asgi, "/shapes/") as socket:
        found = [socket.frame() for _ in range(4)]
        assert socket.closed().code == 1000
    expected = [(TEXT, b"one"), (BINARY, b"two"), (TEXT, b""), (BINARY, b"")]
    assert [(one.opcode, one.data) for one in found] == expected


def test_order_and_number(asgi: Served) -> None:
    """A thousand messages in one write come back in their order."""
    with opened(asgi, "/echo/") as socket:
        socket.send(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
        assert [socket.text() for _ in range(1000)] == [str(number) for number in range(1000)]


def test_greeting(asgi: Served) -> None:
    """The app may speak first, and again after a sleep, without any frame from the client."""
    with opened(asgi, "/greeting/") as socket:
        assert socket.text() == "welcome"
        assert socket.text() == "still there?"


def test_background_task_sends(asgi: Served) -> None:
    """A task of its own sends while the application waits for the client."""
    with opened(asgi, "/background/") as socket:
        assert [socket.text() for _ in range(3)] == ["tick 0", "tick 1", "tick 2"]
        socket.send(frame(TEXT, b"hello"))
        assert socket.text() == "heard"


def test_fragments_are_joined(asgi: Served) -> None:
    """A message in fragments, empty ones and a character cut in two among them, is one message."""
    whole = "Zoë 東京".encode()
    cuts = [whole[:3], b"", whole[3:4], whole[4:9], whole[9:], b""]
    opcodes = [TEXT, *[CONTINUATION] * 5]
    flags = [0, 0, 0, 0, 0, FIN]
    with opened(asgi, "/received/") as socket:
        for opcode, data, flag in zip(opcodes, cuts, flags, strict=True):
            socket.send(frame(opcode, data, flag))
        assert "('text', 'Zoë 東京')" in socket.text()


def test_control_frames_between_fragments(asgi: Served) -> None:
    """A ping within a fragmented message is answered at once, and does not break it."""
    with opened(asgi, "/echo/") as socket:
        socket.send(frame(BINARY, b"first ", 0) + frame(PING, b"are you there"))
        assert socket.frame() == Frame(PONG, b"are you there")
        socket.send(frame(CONTINUATION, b"last"))
        assert socket.frame() == Frame(BINARY, b"first last")


@pytest.mark.parametrize("data", [b"", b"x", b"y" * 125])
def test_ping_is_answered(asgi: Served, data: bytes) -> None:
    """Ping gives a pong with the same data; the application sees neither."""
    with opened(asgi, "/received/") as socket:
        socket.send(frame(PING, data))
        assert socket.frame() == Frame(PONG, data)
        socket.send(frame(PONG, b"unasked") + frame(TEXT, b"after"))
        assert "after" in socket.text()


@pytest.mark.usefixtures("ours")
def test_ping_is_answered_by_the_node(asgi: Served, gate: Gate) -> None:
    """Also while the application does not look at its socket."""
    with opened(asgi, "/sluggish/", gate_field(gate)) as socket:
        gate.expect("not receiving")
        socket.send(frame(PING, b"now"))
        assert socket.frame() == Frame(PONG, b"now")


def test_frames_byte_by_byte(asgi: Served) -> None:
    """Frames that come a byte at a time are the same frames."""
    with opened(asgi, "/echo/") as socket:
        for byte in frame(TEXT, b"slow") + frame(BINARY, b"z" * 130):
            socket.send(bytes([byte]))
        assert socket.frame() == Frame(TEXT, b"slow")
        assert socket.frame() == Frame(BINARY, b"z" * 130)


ORDER = ("send-first", "unknown-type", "unknown-type-later", "http-type", "http-type-later")


@pytest.mark.parametrize("case", ORDER)
def test_order_raises(asgi: Served, gate: Gate, case: str) -> None:
    """A message that may not come now, or that nobody knows: RuntimeError with its type."""
    said = said_about(asgi, gate, case)
    assert said.startswith("RuntimeError: ")
    assert WRONG[case][1]["type"] in said


# What the exception's text has of a message that is no message: the value at fault.
VALUES = {
    "text-bytes": "b'bytes'",
    "bytes-text": "'text'",
    "subprotocol-header": "sec-websocket-protocol",
    "denial-body-first": "http.response.body",
}


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("case", sorted(WRONG.keys() - ORDER))
def test_forbidden_message_raises(asgi: Served, gate: Gate, case: str) -> None:
    """A message out of its order raises with its type, one that cannot be sent with its value."""
    said = said_about(asgi, gate, case)
    assert said != "nothing raised"
    assert VALUES.get(case, WRONG[case][1]["type"]) in said


def said_about(asgi: Served, gate: Gate, case: str) -> str:
    with Socket(asgi) as socket:
        socket.ask_for(f"/wrong/{case}", gate_field(gate))
        if case in ("close-twice", "send-after-close"):
            socket.accept()
            socket.send(closing(1000))
        return gate.hear()
