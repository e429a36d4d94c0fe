# SPDX-License-Identifier: Apache-2.0
"""Messages between connected nodes, against vectors: read whole and byte by byte, and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._distribution_connection import Connection, Encoded, Tick
from hornbeam_erlang._distribution_errors import DistributionError
from hornbeam_erlang._distribution_events import Exit, RegisteredSend, Send, Unlink
from hornbeam_erlang._distribution_flags import OFFERED, Flag
from hornbeam_erlang._distribution_framing import FRAGMENT
from hornbeam_erlang.errors import TermError
from hornbeam_erlang.terms import Atom, Pid
from unit.distribution.ends import A, B, R, byte_by_byte, framed, load, pair, peer, raw

ENTRIES = load("messages.json")
REASON = (Atom("x"), 1)
OLD = OFFERED & ~(Flag.DIST_HDR_ATOM_CACHE | Flag.FRAGMENTS | Flag.SEND_SENDER)
OLD &= ~(Flag.EXIT_PAYLOAD | Flag.UNLINK_ID)

CALLS: dict[str, Callable[[Connection], bytes]] = {
    "link": lambda c: c.link(A, B),
    "send": lambda c: c.send(A, B, REASON),
    "register_send": lambda c: c.register_send(A, "name", REASON),
    "alias_send": lambda c: c.alias_send(B, R, REASON),
    "group_leader": lambda c: c.group_leader(A, B),
    "exit": lambda c: c.exit(A, B, REASON),
    "exit2": lambda c: c.exit2(A, B, REASON),
    "monitor": lambda c: c.monitor(A, B, R),
    "monitor name": lambda c: c.monitor(A, Atom("name"), R),
    "demonitor": lambda c: c.demonitor(A, B, R),
    "monitor_exit": lambda c: c.monitor_exit(A, B, R, REASON),
    "spawn_request": lambda c: c.spawn_request(
        R, A, ("m", "f"), [REASON], [Atom("link")], group_leader=B
    ),
    "spawn_reply": lambda c: c.spawn_reply(R, A, B, 3),
    "spawn_reply notsup": lambda c: c.spawn_reply(R, A, Atom("notsup")),
    "unlink": lambda c: c.unlink((1 << 64) - 1, A, B),
    "unlink_ack": lambda c: c.unlink_ack(1, A, B),
}


def entries(member: str) -> list[Any]:
    found = [entry for entry in ENTRIES if member in entry]
    return [pytest.param(entry, id=entry["name"]) for entry in found]


def stream(entry: dict[str, Any]) -> bytes:
    return b"".join(framed(raw(packet)) for packet in entry["packets"])


def described(event: object) -> object:
    """An event as vectors write it; the large message of the capture by what it is made of."""
    if isinstance(event, Send) and len(event.payload) > 100_000:
        assert event.payload[6:] == b"0123456789abcdef" * 8200
        return ["Send of 0123456789abcdef 8200 times"]
    return repr(event)


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("entry", entries("events"))
def test_messages_are_read(entry: dict[str, Any], slowly: bool) -> None:
    """Every packet means what the vector says, however its bytes arrive."""
    connection = peer()
    data = stream(entry)
    events = byte_by_byte(connection, data) if slowly else connection.receive(data)
    assert [described(event) for event in events] == entry["events"]
    connection.eof()


@pytest.mark.parametrize("entry", entries("must_fail"))
def test_messages_that_are_refused(entry: dict[str, Any]) -> None:
    """An error names the message and the field at fault, and nothing is read after it."""
    for slowly in (False, True):
        connection = peer()
        with pytest.raises(DistributionError) as error:
            byte_by_byte(connection, stream(entry)) if slowly else connection.receive(stream(entry))
        assert [error.value.frame, error.value.field] == entry["must_fail"]
        with pytest.raises(DistributionError):
            connection.receive(framed(b""))


@pytest.mark.parametrize("entry", entries("call"))
def test_messages_are_written(entry: dict[str, Any]) -> None:
    """What is said to a peer has the bytes of the vector, with and without headers."""
    plain = entry["name"].endswith("(pass through)")
    connection = pair(OLD if plain else OFFERED)[0]
    assert CALLS[entry["call"]](connection).hex() == stream(entry).hex()


def test_every_call_has_a_vector() -> None:
    """Nothing that can be sent is without a vector."""
    assert {entry["call"] for entry in ENTRIES if "call" in entry} == set(CALLS)


@pytest.mark.parametrize("size", [0, 1, FRAGMENT - 60, FRAGMENT, FRAGMENT + 1, 5 * FRAGMENT + 7])
@pytest.mark.parametrize("flags", [OFFERED, OLD], ids=["fragments", "pass through"])
def test_messages_of_every_size(flags: Flag, size: int) -> None:
    """A message arrives whole whatever its size, in fragments where both nodes know them."""
    left, right = pair(flags)
    data = left.register_send(A, "name", b"x" * size) + left.link(A, B)
    events = right.receive(data)
    assert isinstance(events[0], RegisteredSend)
    assert codec.decode(events[0].payload) == b"x" * size
    assert len(events) == 2
    cut = flags is OFFERED and size >= FRAGMENT
    assert data[5:6] == (b"E" if cut else b"D" if flags is OFFERED else b"\x83")


def test_ticks() -> None:
    """A tick is four zero bytes, and comes out as a sign of life."""
    left, right = pair()
    assert left.tick() == b"\0\0\0\0"
    assert [type(event) for event in right.receive(left.tick() * 3)] == [Tick] * 3


def test_terms_that_are_encoded_already() -> None:
    """An Encoded term is sent as it is, also as the reason in a control message of old nodes."""
    term = Encoded(codec.encode_wire([1, b"\xff"]))
    left, right = pair()
    (event,) = right.receive(left.send(A, B, term))
    assert isinstance(event, Send)
    assert event.payload == term
    left, right = pair(OLD)
    (ended,) = right.receive(left.exit(A, B, Encoded(codec.encode(REASON))))
    assert isinstance(ended, Exit)
    assert codec.decode(ended.reason) == REASON


def test_terms_that_cannot_be_sent() -> None:
    """A value without a term is refused before anything is sent, and spoils nothing."""
    left, right = pair()
    with pytest.raises(TermError):
        left.send(A, B, object())
    with pytest.raises(TermError):
        left.register_send(A, "n" * 256, 1)
    assert len(right.receive(left.link(A, B))) == 1


def test_payloads_that_python_cannot_hold() -> None:
    """A map with the keys 1 and 1.0 has no dict: it is refused by who decodes it, not before."""
    left, right = pair()
    both = Encoded(bytes.fromhex("8374000000026101" + "6101" + "463ff0000000000000" + "6102"))
    (event,) = right.receive(left.send(A, B, both))
    assert isinstance(event, Send)
    with pytest.raises(TermError, match="equal in Python"):
        codec.decode(event.payload)


def test_unlink_without_a_number_has_no_answer() -> None:
    """UNLINK of old nodes is not acknowledged."""
    left, right = pair(OLD)
    (event,) = right.receive(left.unlink(5, A, B))
    assert event == Unlink(0, A, B)
    assert right.unlink_ack(0, B, A) == b""


def test_a_peer_that_leaves_in_the_middle_of_a_packet() -> None:
    """That is an error; leaving between packets is none."""
    left, right = pair()
    data = left.link(A, B)
    right.receive(data[:-1])
    with pytest.raises(DistributionError, match="closed after"):
        right.eof()
    whole = peer()
    whole.receive(data)
    whole.eof()


def test_identifiers_keep_no_reference_to_the_cache() -> None:
    """A pid whose node came as a reference to the cache can be sent on by itself."""
    entry = next(e for e in ENTRIES if e["name"].startswith("atoms sent once"))
    event = peer().receive(stream(entry))[1]
    sender = getattr(event, "sender", None)
    assert isinstance(sender, Pid)
    assert codec.encode(sender) == codec.encode(A)
