# SPDX-License-Identifier: Apache-2.0
"""Backpressure of WebSockets: a slow socket slows its own sender only, and costs bounded memory."""

from __future__ import annotations

import pytest

from apps.gate import Gate
from live.proc import resident
from live.samples import MIB
from live.serving import Served, wait_until
from live.websocket import BINARY, TEXT, Frame, frame, opened

pytestmark = pytest.mark.usefixtures("ours")

SMALL_BUFFER = 65536
GROWTH = 32 * MIB


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


def held(asgi: Served) -> int:
    return sum(map(resident, (asgi.node_pid(), *asgi.worker_pids())))


def test_client_that_does_not_read(asgi: Served, gate: Gate) -> None:
    """send() waits when the client is slow: of 512 MiB little is sent; other sockets are served;
    the client reads on where it stood.
    """
    before = held(asgi)
    with opened(asgi, "/flood/512", gate_field(gate), receive_buffer=SMALL_BUFFER) as socket:
        gate.expect("accepted")
        seen = [-1]

        def stalls() -> bool:
            gate.tell("how far")
            seen.append(int(gate.hear()))
            return seen[-1] == seen[-2] > 0

        wait_until(stalls, "the application sends no more")
        assert seen[-1] * 65536 < GROWTH
        with opened(asgi, "/echo/") as other:
            for _ in range(50):
                other.send(frame(TEXT, b"quick"))
                assert other.frame() == Frame(TEXT, b"quick")
        assert held(asgi) - before < GROWTH
        for _ in range(seen[-1] + 50):
            assert socket.frame() == Frame(BINARY, bytes(65536))


def test_application_that_does_not_receive(asgi: Served, gate: Gate) -> None:
    """A client that sends faster than the application receives is stopped; nothing is lost."""
    before = held(asgi)
    with opened(asgi, "/sluggish/", gate_field(gate)) as socket:
        gate.expect("not receiving")
        socket.socket.settimeout(1)
        piece, sent, rest = frame(BINARY, bytes(65536)), 0, b""
        while True:
            try:
                size = socket.socket.send(rest or piece)
            except TimeoutError:
                break
            rest = (rest or piece)[size:]
            sent += not rest
            assert sent < 512 * 16, "the client is never stopped"
        assert held(asgi) - before < GROWTH
        socket.socket.settimeout(20)
        gate.open()
        socket.send(rest)
        socket.send(frame(TEXT, b""))
        assert socket.socket.recv(2)[:1] == b"\x81"
        size = int(socket.socket.recv(125))
        assert size == (sent + bool(rest)) * 65536


def test_flood_to_a_quick_client(asgi: Served, gate: Gate) -> None:
    """To a client that reads, 64 MiB go through, and memory stays flat."""
    before = held(asgi)
    with opened(asgi, "/flood/64", gate_field(gate)) as socket:
        gate.expect("accepted")
        for _ in range(64 * 16):
            assert socket.frame() == Frame(BINARY, bytes(65536))
        assert held(asgi) - before < GROWTH
