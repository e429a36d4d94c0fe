# SPDX-License-Identifier: Apache-2.0
"""What a peer can make this side keep, and any bytes it may send."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam_erlang._distribution_connection import Connection
from hornbeam_erlang._distribution_errors import DistributionError
from hornbeam_erlang._distribution_framing import CACHE_SIZE, HEADER_ROOM, Limits
from unit.distribution.ends import A, B, byte_by_byte, framed, load, pair, peer, raw

SMALL = Limits(message=1000, unfinished=3, unfinished_bytes=2500)
PACKETS = [raw(packet) for entry in load("messages.json") for packet in entry["packets"]]


def first(sequence: int, number: int, body: bytes) -> bytes:
    return framed(b"\x83E" + struct.pack(">QQ", sequence, number) + b"\0" + body)


def following(sequence: int, number: int, body: bytes) -> bytes:
    return framed(b"\x83F" + struct.pack(">QQ", sequence, number) + body)


def refused(connection: Connection, data: bytes) -> DistributionError:
    with pytest.raises(DistributionError) as error:
        connection.receive(data)
    return error.value


def test_packets_have_a_largest_size() -> None:
    """A packet one byte too large is refused by its length, before any of it has arrived."""
    limit = SMALL.message + HEADER_ROOM
    assert peer(limits=SMALL).receive(limit.to_bytes(4, "big")) == []
    error = refused(peer(limits=SMALL), (limit + 1).to_bytes(4, "big"))
    assert (error.frame, error.field) == ("packet", "Length")


def test_messages_have_a_largest_size() -> None:
    """The limit holds for a message in one packet, and for one in fragments."""
    control = pair()[0].link(A, B)[7:]
    link_and = bytes.fromhex("680361166103")  # not looked at: the size is wrong before that
    assert refused(peer(limits=SMALL), framed(b"\x83D\0" + b"m" + bytes(9))).frame == "message"
    large = b"\x83D\0" + control[:1] + b"\3a\x16" + control[4:]
    within = large + b"m" + (994).to_bytes(4, "big") + bytes(994)
    assert len(peer(limits=SMALL).receive(framed(within))) == 1
    beyond = large + b"m" + (995).to_bytes(4, "big") + bytes(995)
    assert refused(peer(limits=SMALL), framed(beyond)).field == "Message"
    connection = peer(limits=SMALL)
    connection.receive(first(1, 3, link_and + bytes(994)))
    assert "larger than 1000" in refused(connection, following(1, 2, b"x")).reason


def test_unfinished_messages_are_bounded_in_number_and_bytes() -> None:
    """Fragments of too many messages, or with too many bytes together, end the connection."""
    connection = peer(limits=SMALL)
    for sequence in range(3):
        connection.receive(first(sequence, 2, b"x"))
    assert refused(connection, first(9, 2, b"x")).field == "SequenceId"
    connection = peer(limits=SMALL)
    for sequence in range(2):
        connection.receive(first(sequence, 2, bytes(1000)))
    connection.receive(first(2, 2, bytes(500)))
    assert "more than 2500" in refused(connection, following(2, 1, b"x")).reason


def test_a_count_of_fragments_takes_no_memory() -> None:
    """A message announced in 2^64 - 1 fragments costs as much as what has come of it."""
    connection = peer()
    tracemalloc.start()
    try:
        connection.receive(first(1, (1 << 64) - 1, b"x"))
        for number in range(1000):
            connection.receive(following(1, (1 << 64) - 2 - number, b""))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_atom_cache_is_bounded() -> None:
    """2048 places, whatever a peer sends; old atoms go when new ones come."""
    connection = peer()
    link = pair()[0].link(A, B)[7:]
    tracemalloc.start()
    try:
        for turn in range(4):
            for place in range(CACHE_SIZE):
                name = f"{turn}-{place}".ljust(50, "x").encode()
                bits = bytes((8 | place >> 8, place & 255, len(name)))
                connection.receive(framed(b"\x83D\1" + bits + name + link))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_atoms_written_out_are_part_of_a_message_s_size() -> None:
    """Two bytes that stand for an atom of 255 do not make a message of any size."""
    connection = peer(limits=SMALL)
    link = pair()[0].link(A, B)[7:]
    control = link[:1] + b"\3a\x16" + link[4:]
    atoms = b"\x83D\1\x08\x05\xff" + b"a" * 255
    payload = b"l" + (100).to_bytes(4, "big") + b"R\0" * 100 + b"j"
    error = refused(connection, framed(atoms + control + payload))
    assert "larger than 1000" in error.reason


def test_refused_connections_leave_nothing() -> None:
    """A thousand connections that are refused leave the memory where it was."""

    def refuse() -> None:
        for packet in PACKETS[-20:]:
            connection = peer(limits=SMALL)
            try:
                connection.receive(framed(packet))
            except DistributionError:
                continue

    for _ in range(5):
        refuse()
    tracemalloc.start()
    try:
        refuse()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(45):
            refuse()
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A packet of the vectors with a few bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from([p for p in PACKETS if len(p) < 500])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@given(st.lists(st.one_of(mutated(), st.binary(max_size=60)), max_size=6))
@settings(max_examples=400, deadline=None)
def test_any_packets(packets: list[bytes]) -> None:
    """Any packets are events or a DistributionError, the same whole and byte by byte."""
    data = b"".join(framed(packet) for packet in packets)
    outcomes = []
    for take in (Connection.receive, byte_by_byte):
        connection = peer(limits=SMALL)
        try:
            outcomes.append(repr(take(connection, data)))
        except DistributionError as exc:
            outcomes.append(f"{exc.frame} {exc.field}")
    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(data: bytes) -> None:
    """Any bytes wait for more, are events, or a DistributionError."""
    connection = peer(limits=SMALL)
    with contextlib.suppress(DistributionError):
        connection.receive(data)
