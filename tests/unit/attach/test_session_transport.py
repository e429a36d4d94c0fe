# SPDX-License-Identifier: Apache-2.0
"""Packets as messages between two processes: out, in whatever pieces they come, and what else may
come between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic

import pytest

from hornbeam_erlang import _session_transport, codec
from hornbeam_erlang._attach import FLAGS
from hornbeam_erlang._distribution_connection import Connection, identity
from hornbeam_erlang._distribution_events import Send
from hornbeam_erlang._distribution_signals import TICK_PACKET, Encoded
from hornbeam_erlang._session_transport import Session, SessionTransport
from hornbeam_erlang.terms import Atom, Pid

OWNER = Pid(Atom("b@h"), 4, 0, 5)
SELF = Pid(Atom("a@h"), 1, 2, 3)
OTHER = Pid(Atom("b@h"), 9, 0, 5)
PACKETS = [b"\x83one", b"\x83" + bytes(range(256)) * 300, b"\x83", b"\x83three"]

Ends = tuple[SessionTransport, Connection, socket.socket]


class Lost(Exception):
    pass


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """The transport, and the node's end of its connection."""
    left = Connection.connect(identity("a@h", 3, FLAGS), "cookie", "b@h")
    right = Connection.accept(identity("b@h", 5), "cookie")
    right.receive(left.data_to_send())
    left.receive(right.answer("ok"))
    right.receive(left.data_to_send())
    left.receive(right.data_to_send())
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(_session_transport, "_bound_silence", lambda *_: None)
    owner = replace(OWNER, external=codec.encode(OWNER)[1:])  # as it was received
    transport = SessionTransport(ours, left, Session(SELF, owner, 60.0, []))

    def lose() -> None:
        raise Lost

    monkeypatch.setattr(transport, "_end", lose)
    with theirs:
        yield transport, right, theirs
    transport.close()


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(4, "big") + packet


def command(node: Connection, packet: bytes, sender: Pid = OWNER) -> bytes:
    """What the node writes to send a packet."""
    head = b"\x83h\x02" + codec.encode(OWNER)[1:] + b"h\x02" + codec.encode(Atom("command"))[1:]
    return node.send(sender, SELF, Encoded(head + b"m" + framed(packet)))


def read_all(transport: SessionTransport, theirs: socket.socket, data: bytes, size: int) -> bytes:
    """What is read of bytes that come in pieces of a size."""
    found = b""
    for start in range(0, len(data), size):
        theirs.sendall(data[start : start + size])
        while transport.poll(0):
            found += transport.read()
    return found


@pytest.mark.parametrize("size", [1, 3, 50, 4096, 65536])
def test_packets_in_any_pieces(ends: Ends, size: int) -> None:
    """Each comes once, whole, in order, with its length; ticks and messages of others between them
    leave nothing."""
    transport, node, theirs = ends
    packets = PACKETS if size > 3 else [packet[:40] for packet in PACKETS]
    data = b"".join(
        command(node, packet)
        + TICK_PACKET
        + node.send(OTHER, SELF, (Atom("hello"), 1))
        + command(node, packet, OTHER)
        for packet in packets
    )
    expected = b"".join(framed(packet) * 2 for packet in packets)
    assert read_all(transport, theirs, data, size) == expected


def test_one_after_the_other(ends: Ends) -> None:
    """As it is when nothing else happens: every read brings one packet, and nothing is left."""
    transport, node, theirs = ends
    for packet in PACKETS * 3:
        theirs.sendall(command(node, packet))
        found = transport.read()
        while len(found) < len(packet) + 4:
            found += transport.read()
        assert found == framed(packet)


def test_what_is_written(ends: Ends) -> None:
    """A packet becomes one message to the owner, as of a port."""
    transport, node, theirs = ends
    transport.write(framed(b"\x83pack"), b"")
    transport.write(framed(b"\x83x"))
    events = node.receive(theirs.recv(65536))
    assert [type(event) for event in events] == [Send, Send]
    found = []
    for event in events:
        assert isinstance(event, Send)
        assert event.to == OWNER
        found.append(codec.decode(event.payload))
    assert found == [(SELF, (Atom("data"), b"\x83pack")), (SELF, (Atom("data"), b"\x83x"))]


def test_the_node_ends_the_session(ends: Ends) -> None:
    """By a message, or by closing."""
    transport, node, theirs = ends
    theirs.sendall(node.send(OWNER, SELF, (OWNER, Atom("close"))))
    with pytest.raises(Lost):
        transport.read()
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(Lost):
        transport.read()


def test_a_silent_node_is_given_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a sign of life is due and nothing has come for longer than the tick time."""
    transport, _, _ = ends
    now = monotonic()
    monkeypatch.setattr(_session_transport, "monotonic", lambda: now + 59)
    transport.write(framed(b"\x83"))
    monkeypatch.setattr(_session_transport, "monotonic", lambda: now + 61)
    with pytest.raises(Lost):
        transport.write(framed(b"\x83"))
