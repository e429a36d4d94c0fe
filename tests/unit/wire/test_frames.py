# SPDX-License-Identifier: Apache-2.0
"""Every frame of the shared vectors, whole, byte by byte and with something behind it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam_erlang import codec
from hornbeam_erlang._wire import (
    FROM_NODE,
    FROM_WORKER,
    MAX_PACKET,
    ProtocolError,
    Splitter,
    packets,
    parse,
)
from unit.wire import vectors

FRAMES = vectors.read("frames.json", 700)
GOOD = [entry for entry in FRAMES if "messages" in entry]
BAD = [entry for entry in FRAMES if "must_fail" in entry]
CHECKS = {"node": FROM_NODE, "worker": FROM_WORKER}


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


def framed(entry: dict[str, Any]) -> bytes:
    packet = vectors.packet(entry)
    return len(packet).to_bytes(4, "big") + packet


def test_every_frame_is_good_or_bad() -> None:
    """No entry escapes both of the tests below."""
    assert len(GOOD) + len(BAD) == len(FRAMES)
    assert len(GOOD) >= 50
    assert len(BAD) >= 350


@pytest.mark.parametrize("entry", GOOD, ids=names(GOOD))
def test_good_frame(entry: dict[str, Any]) -> None:
    """A legal packet gives its messages, and the same messages encode to a packet that gives them
    again."""
    messages = [vectors.message(item) for item in entry["messages"]]
    checks = CHECKS[entry["from"]]
    assert parse(vectors.packet(entry), checks) == messages
    (again,) = packets(messages)
    assert parse(b"".join(again)[4:], checks) == messages


@pytest.mark.parametrize("entry", BAD, ids=names(BAD))
def test_bad_frame(entry: dict[str, Any]) -> None:
    """An illegal packet is refused with the name of the error, and a text for people."""
    with pytest.raises(ProtocolError) as caught:
        parse(vectors.packet(entry), CHECKS[entry["from"]])
    assert caught.value.name == entry["must_fail"], caught.value.text
    assert caught.value.text


def test_truncated_frames() -> None:
    """Every proper prefix of a legal packet is `bad_packet`, and so is a legal packet with one
    byte more."""
    for entry in GOOD:
        packet = vectors.packet(entry)
        for bytes_ in [packet[:end] for end in range(len(packet))] + [packet + b"\x00"]:
            with pytest.raises(ProtocolError, match="bad_packet"):
                parse(bytes_, CHECKS[entry["from"]])


STREAM = b"".join(framed(entry) for entry in GOOD)
PACKETS = [vectors.packet(entry) for entry in GOOD]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64, 1000, len(STREAM)])
def test_splitter_portions(step: int) -> None:
    """The splitter gives the same packets whatever portions the bytes arrive in."""
    splitter = Splitter()
    got: list[bytes] = []
    for start in range(0, len(STREAM), step):
        got += splitter.feed(STREAM[start : start + step])
    assert got == PACKETS


def test_splitter_every_cut() -> None:
    """Two packets arrive whole wherever the bytes are cut in two."""
    stream = framed(GOOD[0]) + framed(GOOD[1])
    for cut in range(len(stream) + 1):
        splitter = Splitter()
        assert splitter.feed(stream[:cut]) + splitter.feed(stream[cut:]) == PACKETS[:2]


@pytest.mark.parametrize("length", [0, MAX_PACKET + 1, 2**32 - 1])
def test_splitter_refuses_length(length: int) -> None:
    """A length of 0 or beyond the limit is `bad_packet` as soon as it is read."""
    with pytest.raises(ProtocolError, match=f"bad_packet: packet length {length}"):
        Splitter().feed(length.to_bytes(4, "big"))


def test_splitter_waits_for_the_longest_packet() -> None:
    """A length of exactly the limit is legal."""
    assert Splitter().feed(MAX_PACKET.to_bytes(4, "big") + b"\x83") == []


def test_packets_are_cut_at_the_limit() -> None:
    """What does not fit one packet leaves in several, in order, each of legal size."""
    chunk = bytes(30 * 1024 * 1024)
    messages: list[Any] = [(21, ident, chunk) for ident in range(1, 5)]
    sizes = []
    seen: list[Any] = []
    for packet in map(b"".join, packets(messages)):
        sizes.append(int.from_bytes(packet[:4], "big"))
        assert sizes[-1] == len(packet) - 4 <= MAX_PACKET
        seen += [message[1] for message in parse(packet[4:], FROM_WORKER)]
    assert seen == [1, 2, 3, 4]
    assert len(sizes) == 2


def test_message_count_is_cut_at_the_limit() -> None:
    """65536 messages are one packet, 65537 are two."""
    assert len(list(packets([(6,)] * 65536))) == 1
    assert len(list(packets([(6,)] * 65537))) == 2


def test_errors_name_the_field() -> None:
    """The text of `bad_message` says which field of which message is at fault and what was
    expected."""
    cases = {
        "OPEN of the node: Method is an integer": "Method of OPEN: expected a binary",
        "CREDIT of the node: Bytes is 0": "Bytes of CREDIT: expected an integer 1..2147483648",
        "BODY of the node with a field too many": "BODY has 4 fields, expected 3",
        "HELLO of the node: Min is above Max": "Max of HELLO: expected at least Min",
    }
    by_name = {entry["name"]: entry for entry in BAD}
    for name, text in cases.items():
        with pytest.raises(ProtocolError) as caught:
            parse(vectors.packet(by_name[name]))
        assert caught.value.text == text


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are messages or a ProtocolError, and nothing else, as a packet and as a stream."""
    for checks in (FROM_NODE, FROM_WORKER):
        with contextlib.suppress(ProtocolError):
            assert parse(b"\x83" + data, checks)
    with contextlib.suppress(ProtocolError):
        Splitter().feed(data)


@given(st.sampled_from(GOOD), st.integers(0, 400), st.integers(0, 255))
def test_any_byte_changed(entry: dict[str, Any], position: int, byte: int) -> None:
    """A legal packet with one byte changed is messages or a ProtocolError."""
    data = bytearray(vectors.packet(entry))
    data[position % len(data)] = byte
    with contextlib.suppress(ProtocolError):
        assert parse(bytes(data), CHECKS[entry["from"]])


def test_both_codecs_encode_packets_with_their_length() -> None:
    """`encode_wire_packet` writes the length that the splitter expects."""
    packet = codec.encode_wire_packet([(6,)])
    assert Splitter().feed(packet) == [packet[4:]]
