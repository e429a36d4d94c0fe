# SPDX-License-Identifier: Apache-2.0
"""Vectors of the distribution protocol, and connections to try them on, for the tests here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hornbeam_erlang._distribution_connection import Connection, Event, identity
from hornbeam_erlang._distribution_flags import OFFERED, Flag
from hornbeam_erlang._distribution_framing import Limits
from hornbeam_erlang._distribution_handshake import Connected
from hornbeam_erlang.terms import Atom, Pid, Ref

VECTORS = Path(__file__).parent / "vectors"
A = Pid(Atom("a@h"), 1, 2, 3)
B = Pid(Atom("b@h"), 4, 0, 5)
R = Ref(Atom("a@h"), 3, (7, 8, 9))


def load(name: str) -> list[dict[str, Any]]:
    """The entries of one file of vectors."""
    entries: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())
    assert len(entries) > 10
    assert len({entry["name"] for entry in entries}) == len(entries)
    return entries


def raw(packet: str | list[tuple[str, int]]) -> bytes:
    """The bytes of a packet: hexadecimal text, or pieces and how often each comes."""
    if isinstance(packet, str):
        return bytes.fromhex(packet)
    return b"".join(bytes.fromhex(piece) * times for piece, times in packet)


def framed(packet: bytes) -> bytes:
    """A packet with its length of four bytes."""
    return len(packet).to_bytes(4, "big") + packet


def pair(flags: Flag = OFFERED, limits: Limits | None = None) -> tuple[Connection, Connection]:
    """Two connections that have greeted each other: who connected, who accepted."""
    left = Connection.connect(identity("a@h", 3), "cookie", "b@h")
    right = Connection.accept(identity("b@h", 5, flags), "cookie", limits=limits)
    right.receive(left.data_to_send())
    left.receive(right.answer("ok"))
    done = right.receive(left.data_to_send())
    assert isinstance(done[0], Connected)
    done = left.receive(right.data_to_send())
    assert isinstance(done[0], Connected)
    return left, right


def peer(flags: Flag = OFFERED, limits: Limits | None = None) -> Connection:
    """A connection that is to receive what a test makes."""
    return pair(flags, limits)[1]


def byte_by_byte(connection: Connection, data: bytes) -> list[Event]:
    """What comes of bytes that arrive one at a time."""
    return [event for value in data for event in connection.receive(bytes((value,)))]
