# SPDX-License-Identifier: Apache-2.0
"""The message layer: the few types packets are made of. Both twins. (PROTOCOL.md, section 3)"""

from __future__ import annotations

import struct

import pytest

from hornbeam_erlang.errors import TermError
from hornbeam_erlang.terms import Atom, BitString, ImproperList
from unit.codec.notation import TWINS, Codec, same

pytestmark = pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)

INTEGERS = [0, 255, 256, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, 2**64 - 1, -(2**63)]


@pytest.mark.parametrize(
    "term",
    [
        [],
        b"",
        [(1, 1, 1, {b"version": b"0.1"}), (19, 7, 200, {b"k": [b"a", b"b"]}, b"body")],
        {b"k": True, 1: False, b"n": None},
        INTEGERS,
        tuple(range(300)),
        [b"x" * 16_383, b"y" * 16_384, b"z" * 200_000, 1],
    ],
)
def test_comes_back_as_it_went_in(codec: Codec, term: object) -> None:
    """A term has the same types and contents after the round trip."""
    assert same(codec.decode_wire(codec.encode_wire(term)), term)


def test_binaries_are_bytes_whatever_they_hold(codec: Codec) -> None:
    """Text and other bytes are plain binaries in both directions."""
    data = codec.encode_wire([b"text", b"\xff", bytearray(b"ab"), memoryview(b"abcd")[::2]])
    assert data == b"\x83l\0\0\0\4m\0\0\0\4textm\0\0\0\1\xffm\0\0\0\2abm\0\0\0\2acj"
    assert same(codec.decode_wire(data), [b"text", b"\xff", b"ab", b"ac"])


@pytest.mark.parametrize(
    ("term", "path", "text"),
    [
        ("text", "value", "encode()"),
        ([1, ("x",)], "value[1][0]", "encode()"),
        ({b"k": 1.5}, "value[b'k']", "float"),
        ({"k": 1}, "list(value)[0]", "encode()"),
        ([Atom("ok")], "value[0]", "Atom('ok')"),
        ((2**64,), "value[0]", "65 bits"),
        ((-(2**63) - 1,), "value[0]", "64 bits"),
        ([ImproperList((1,), 2)], "value[0]", "ImproperList"),
        ([BitString(b"\x80", 1)], "value[0]", "BitString"),
        ({1, 2}, "value", "set"),
    ],
)
def test_other_types_are_refused(codec: Codec, term: object, path: str, text: str) -> None:
    """Text, floats, atoms and the rest are refused with their path."""
    with pytest.raises(TermError) as caught:
        codec.encode_wire(term)
    assert caught.value.path == path
    assert text in caught.value.reason


def test_packet_is_length_and_term(codec: Codec) -> None:
    """A packet is the u32 length of the term, then the term; large binaries included."""
    messages: list[tuple[object, ...]] = [(6,), (21, 1, b"d" * 100_000), (28, 5)]
    packet = codec.encode_wire_packet(messages)
    assert packet == struct.pack(">I", len(packet) - 4) + codec.encode_wire(messages)


LARGE = b"d" * 100_000


@pytest.mark.parametrize(
    "messages",
    [
        [(6,)],
        [(21, 1, LARGE)],
        [(6,), (21, 1, LARGE), (28, 5), (21, 2, LARGE)],
        [(21, 1, b"d" * 16383), (21, 1, b"d" * 16384), (21, 1, b"")],
        [(21, 1, bytearray(LARGE)), (21, 2, memoryview(LARGE)[1:])],
    ],
)
def test_parts_are_the_packet(codec: Codec, messages: list[tuple[object, ...]]) -> None:
    """Parts, each of them bytes, join to the packet."""
    parts = codec.encode_wire_parts(messages)
    assert all(type(part) is bytes for part in parts)
    assert b"".join(parts) == codec.encode_wire_packet(messages)


def test_parts_do_not_change(codec: Codec) -> None:
    """What the application does to its buffer afterwards is not in the packet."""
    data = bytearray(LARGE)
    parts = codec.encode_wire_parts([(21, 1, data)])
    data[:] = b"e" * len(data)
    assert b"".join(parts) == codec.encode_wire_packet([(21, 1, LARGE)])


def test_large_binaries_are_not_copied(codec: Codec) -> None:
    """A part of the compiled codec is the very binary; the pure one makes one part."""
    parts = codec.encode_wire_parts([(21, 1, LARGE), (6,)])
    assert [part is LARGE for part in parts] == {
        "compiled": [False, True, False],
        "pure": [False],
    }[codec.NAME]


@pytest.mark.parametrize("messages", [[], (), ((6,),), None, b"x"])
def test_packet_wants_a_list_of_messages(codec: Codec, messages: object) -> None:
    """A packet without a message, or of another type, is refused."""
    with pytest.raises(TermError, match="at least one message"):
        codec.encode_wire_packet(messages)  # type: ignore[arg-type]
    with pytest.raises(TermError, match="at least one message"):
        codec.encode_wire_parts(messages)  # type: ignore[arg-type]


def test_packet_limit(codec: Codec) -> None:
    """A term of 64 MiB is taken, one byte more is refused."""
    overhead = len(codec.encode_wire_packet([(1, b"")])) - 4
    fits = bytes(64 * 1024 * 1024 - overhead)
    assert len(codec.encode_wire_packet([(1, fits)])) == 64 * 1024 * 1024 + 4
    with pytest.raises(TermError, match="67108864"):
        codec.encode_wire_packet([(1, fits + b"x")])
    with pytest.raises(TermError, match="67108864"):
        codec.encode_wire_parts([(1, fits + b"x")])
