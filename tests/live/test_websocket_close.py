# SPDX-License-Identifier: Apache-2.0
"""The end of a WebSocket: codes, reasons, and that both sides hear of it."""

from __future__ import annotations

import socket as sockets
import struct

import pytest

from apps.gate import Gate
from live.conftest import Start
from live.serving import Served, wait_until
from live.websocket import CLOSE, TEXT, Socket, closing, frame, opened


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


def told(asgi: Served, gate: Gate) -> Socket:
    """A socket whose application tells the disconnect it gets."""
    socket = opened(asgi, "/told/", gate_field(gate))
    gate.expect("accepted")
    return socket


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1001, "going away"), (1011, "x" * 123), (3000, "Zoë 東"), (4999, "mine")],
)
def test_code_and_reason_reach_the_application(
    asgi: Served, gate: Gate, code: int, reason: str
) -> None:
    """`websocket.disconnect` has the client's code and reason; send() raises afterwards; the close
    is answered with the same code.
    """
    with told(asgi, gate) as socket:
        socket.send(closing(code, reason.encode()[:123]))
        assert socket.frame().code == code
        gate.expect(f"{code} {reason}")
        gate.expect("OSError")
        assert socket.rest() == b""


def test_close_without_a_code(asgi: Served, gate: Gate) -> None:
    """No code in the frame: 1005."""
    with told(asgi, gate) as socket:
        socket.send(frame(CLOSE))
        assert socket.frame().opcode == CLOSE
        gate.expect("1005 ")


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_connection_that_breaks(asgi: Served, gate: Gate, how: str) -> None:
    """No close frame: 1006."""
    socket = told(asgi, gate)
    if how == "resets":
        socket.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close()
    gate.expect("1006 ")
    gate.expect("OSError")


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/closes/", 1000, ""),
        ("/closes/1001", 1001, ""),
        ("/closes/1011/broken", 1011, "broken"),
        ("/closes/3000/Zo%C3%AB", 3000, "Zoë"),
        ("/closes/4999/mine", 4999, "mine"),
    ],
)
def test_code_and_reason_of_the_application(
    asgi: Served, path: str, code: int, reason: str
) -> None:
    """`websocket.close` closes with its code, 1000 if there is none, and its reason."""
    with opened(asgi, path) as socket:
        found = socket.closed()
    assert (found.code, found.reason) == (code, reason)


@pytest.mark.usefixtures("ours")
def test_application_that_returns(asgi: Served) -> None:
    """Its last message arrives, then the socket is closed."""
    with opened(asgi, "/returns/") as socket:
        assert socket.text() == "that was all"
        assert socket.closed().code == 1000


@pytest.mark.usefixtures("ours")
def test_application_that_raises(asgi: Served) -> None:
    """An exception closes the socket with 1011, and is logged."""
    with opened(asgi, "/raises/after") as socket:
        assert socket.closed().code == 1011
    wait_until(lambda: "LookupError: lost after the accept" in asgi.errors(), "it is logged")


@pytest.mark.usefixtures("ours")
def test_application_that_does_not_receive(asgi: Served, gate: Gate) -> None:
    """send() raises once the socket is gone."""
    with opened(asgi, "/sends-on/", gate_field(gate)):
        gate.expect("accepted")
    gate.expect("OSError")


@pytest.mark.usefixtures("ours")
def test_application_that_ignores_the_end(start_asgi: Start, gate: Gate) -> None:
    """No session outlives its socket: one that neither receives nor sends is cancelled after
    `timeout`.
    """
    served = start_asgi("apps.websocket_cases:application", ("timeout", 1000), SITE_FOLDER="")
    with opened(served, "/deaf/", gate_field(gate)):
        gate.expect("accepted")
    gate.expect("cancelled")


def test_messages_before_the_close_are_received(asgi: Served, gate: Gate) -> None:
    """What came before the close frame is received before the disconnect."""
    with opened(asgi, "/heard/", gate_field(gate)) as socket:
        socket.send(frame(TEXT, b"one") + frame(TEXT, b"two") + closing(3001))
        for word in ("one", "two", "3001"):
            gate.expect(word)


def test_no_session_is_left(asgi: Served) -> None:
    """Sessions that ended in every way are gone: their number is what it was."""
    for path in ("/echo/", "/closes/", "/returns/", "/raises/after", "/greeting/"):
        for _ in range(10):
            opened(asgi, path).close()

    def left() -> int:
        with opened(asgi, "/counted/") as socket:
            return int(socket.text().split()[0])

    wait_until(lambda: left() == 0, "no session but the one that asks is open")
