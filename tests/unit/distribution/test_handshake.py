# SPDX-License-Identifier: Apache-2.0
"""The handshake, of either side, against conversations: whole, byte by byte, and any bytes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam_erlang._distribution_connection import Connection, identity
from hornbeam_erlang._distribution_errors import DistributionError, Refused
from hornbeam_erlang._distribution_flags import MANDATORY, OFFERED, Flag
from hornbeam_erlang._distribution_handshake import Connected, ConnectionRequest
from unit.distribution.ends import byte_by_byte, load, raw

ENTRIES = load("handshakes.json")


def entries(**members: bool) -> list[Any]:
    """Entries that have, or do not have, these members."""
    found = [e for e in ENTRIES if all((key in e) is has for key, has in members.items())]
    return [pytest.param(entry, id=entry["name"]) for entry in found]


def begin(entry: dict[str, Any]) -> Connection:
    local = identity(entry["node"], entry["creation"], Flag(entry.get("flags", OFFERED)))
    if entry["role"] == "acceptor":
        return Connection.accept(local, entry["cookie"], challenge=entry["challenge"])
    expected = entry.get("connected", "otp@h")
    return Connection.connect(local, entry["cookie"], expected, challenge=entry["challenge"])


def play(entry: dict[str, Any], slowly: bool = False) -> tuple[Connection, list[Any]]:
    """Goes through a conversation; what is to be sent has to be what the vector says."""
    connection = begin(entry)
    events: list[Any] = []
    waiting = b""
    for kind, text in entry["steps"]:
        if kind == "in":
            data = raw(text)
            events += byte_by_byte(connection, data) if slowly else connection.receive(data)
        elif kind == "answer":
            waiting = connection.answer(text)
        else:
            assert (waiting + connection.data_to_send()).hex() == text
            waiting = b""
    assert connection.data_to_send() == b""
    return connection, events


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("entry", entries(must_fail=False))
def test_conversations(entry: dict[str, Any], slowly: bool) -> None:
    """Every message of this side has the bytes of the vector, and the peer is who it says."""
    connection, events = play(entry, slowly)
    assert connection.connected is ("connected" in entry)
    if connection.connected:
        last = events[-1]
        assert isinstance(last, Connected)
        assert last.peer.name == entry["connected"]
        assert connection.local.name == entry.get("local", entry["node"])
        assert MANDATORY in last.flags
    if entry["role"] == "acceptor":
        assert isinstance(events[0], ConnectionRequest)


def go_through(connection: Connection, entry: dict[str, Any], slowly: bool) -> None:
    """The steps of a conversation, without a look at what this side says."""
    for kind, text in entry["steps"]:
        if kind == "in":
            byte_by_byte(connection, raw(text)) if slowly else connection.receive(raw(text))
        elif kind == "answer":
            connection.answer(text)


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("entry", entries(must_fail=True))
def test_conversations_that_fail(entry: dict[str, Any], slowly: bool) -> None:
    """An error names the message and the field at fault; the connection stays broken."""
    connection = begin(entry)
    with pytest.raises(DistributionError) as error:
        go_through(connection, entry, slowly)
    assert [error.value.frame, error.value.field] == entry["must_fail"]
    assert not connection.connected
    with pytest.raises(DistributionError) as again:
        connection.receive(b"")
    assert str(again.value) == str(error.value)


@pytest.mark.parametrize("entry", entries(connected=True))
def test_peers_that_leave(entry: dict[str, Any]) -> None:
    """A peer that closes at any point of the handshake is told apart from one that is through."""
    inputs = b"".join(raw(text) for kind, text in entry["steps"] if kind == "in")
    for end in range(len(inputs)):
        connection = begin(entry)
        left = end
        for kind, text in entry["steps"]:
            if kind == "in" and left:
                data = raw(text)[:left]
                left -= len(data)
                connection.receive(data)
            elif kind == "answer" and not left:
                break
            elif kind == "answer":
                connection.answer(text)
        with pytest.raises(DistributionError) as error:
            connection.eof()
        assert error.value.frame in ("handshake", "challenge_ack")
    connection, _ = play(entry)
    connection.eof()


def test_another_cookie_is_what_a_peer_that_leaves_means() -> None:
    """A node that does not like the digest says nothing: the error tells the usual cause."""
    entry = next(e for e in ENTRIES if e["name"] == "connecting to OTP 25")
    connection = begin(entry)
    for kind, text in entry["steps"][:3]:
        if kind == "in":
            connection.receive(raw(text))
    with pytest.raises(DistributionError, match="another cookie"):
        connection.eof()


def test_answers() -> None:
    """Only a request is answered, once, and only by what a node may answer."""
    local = identity("py@h", 7)
    with pytest.raises(RuntimeError):
        Connection.connect(local, "c").answer("ok")
    connection = Connection.accept(local, "c")
    with pytest.raises(RuntimeError):
        connection.answer("ok")
    connection.receive(Connection.connect(identity("otp@h", 1), "c").data_to_send())
    with pytest.raises(ValueError, match="not 'perhaps'"):
        connection.answer("perhaps")
    assert connection.answer("ok")
    with pytest.raises(RuntimeError):
        connection.answer("ok")


def test_cookies_that_no_node_can_have() -> None:
    """A cookie is latin-1 text, as in Erlang."""
    with pytest.raises(ValueError, match="latin-1"):
        Connection.accept(identity("py@h", 7), "€")
    Connection.accept(identity("py@h", 7), "äöü")


def test_challenges_are_not_repeated() -> None:
    """Two connections have two numbers."""
    data = set()
    for _ in range(8):
        connection = Connection.accept(identity("py@h", 7), "c")
        connection.receive(Connection.connect(identity("otp@h", 1), "c").data_to_send())
        data.add(connection.answer("ok"))
    assert len(data) == 8


def test_lengths_inside_of_tls() -> None:
    """There every message of the handshake has a length of four bytes, as those after it."""
    left = Connection.connect(identity("a@h", 1), "c", tls=True)
    right = Connection.accept(identity("b@h", 2), "c", tls=True)
    name = left.data_to_send()
    assert name[:4] == len(name[4:]).to_bytes(4, "big")
    right.receive(name)
    answer = right.answer("ok")
    assert answer[:7] == b"\0\0\0\3sok"
    left.receive(answer)
    right.receive(left.data_to_send())
    left.receive(right.data_to_send())
    assert left.connected
    assert right.connected


def test_errors_can_be_copied() -> None:
    """Their fields survive copying and pickling by those who log them."""
    for error in (DistributionError("ack", "Digest", "why"), Refused("nok", "why")):
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(twin) is type(error)
            assert (str(twin), twin.frame, twin.field) == (str(error), error.frame, error.field)


HALVES = [raw(text) for e in ENTRIES for kind, text in e["steps"] if kind == "in"]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(HALVES),
            st.binary(max_size=40),
            st.binary(max_size=60).map(lambda b: len(b).to_bytes(2, "big") + b),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_any_bytes(pieces: list[bytes], accepts: bool) -> None:
    """Any bytes lead on, or to a DistributionError; nobody gets in who does not know the cookie."""
    local = identity("py@h", 7)
    make = Connection.accept if accepts else Connection.connect
    connection = make(local, "never guessed")
    for piece in pieces:
        try:
            events = connection.receive(piece)
        except DistributionError:
            break
        if any(isinstance(event, ConnectionRequest) for event in events):
            connection.answer("ok")
    assert not connection.connected
