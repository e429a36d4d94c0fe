# SPDX-License-Identifier: Apache-2.0
"""Any bytes give a value or a TermError, in bounded memory and time. Both twins, both layers."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam_erlang.errors import TermError
from unit.codec.notation import TWINS, Codec, load, raw, same

twins = pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
SEEDS = [raw(entry) for entry in load("terms.json") + load("hostile_terms.json")]
SMALL = [seed for seed in SEEDS if 1 < len(seed) < 600]
MEGABYTE = 1 << 20

Outcome = tuple[str, Any]


def outcome(decode: Any, data: bytes) -> Outcome:
    """The value, or that it was refused; any other exception fails the test."""
    try:
        return "value", decode(data)
    except TermError:
        return "refused", None


def check(data: bytes) -> None:
    """Both twins agree, and what was accepted can be encoded and is then the same."""
    for layer, encode in (("decode", "encode"), ("decode_wire", "encode_wire")):
        outcomes = [outcome(getattr(codec, layer), data) for codec in TWINS]
        assert same(outcomes[0], outcomes[1]), (layer, outcomes)
        kind, value = outcomes[0]
        if kind == "value":
            encoded = [getattr(codec, encode)(value) for codec in TWINS]
            assert encoded[0] == encoded[1]
            assert same(getattr(TWINS[0], layer)(encoded[0]), value)


@given(st.binary(max_size=80))
@settings(max_examples=1500, deadline=None)
def test_any_bytes_after_the_version(data: bytes) -> None:
    """Random bytes never do more than fail."""
    check(b"\x83" + data)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A vector with a few bytes changed, cut out, repeated or put in."""
    data = bytearray(draw(st.sampled_from(SMALL)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(1, max(1, len(data) - 1)))
        size = draw(st.integers(0, 4))
        piece = draw(st.one_of(st.binary(max_size=5), st.just(bytes(data[at : at + 9]))))
        data[at : at + size] = piece
    return bytes(data)


@given(mutations())
@settings(max_examples=2500, deadline=None)
def test_damaged_terms(data: bytes) -> None:
    """A legal term that was damaged gives what both twins agree on."""
    check(data)


BOMBS = [
    b"l\xff\xff\xff\xff",
    b"i\xff\xff\xff\xff",
    b"t\x7f\xff\xff\xff",
    b"m\xff\xff\xff\xff",
    b"o\xff\xff\xff\xff\0",
    b"M\xff\xff\xff\xff\x07",
    b"Z\xff\xffw\x01a",
    b"p\xff\xff\xff\xff",
    b"P\x02\x00\x00\x00x\x9c",
    b"l\0\0\x20\0" * 255,
    b"h\xff" * 250,
]


@twins
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:5].hex())
def test_counts_ask_for_no_memory(codec: Codec, bomb: bytes) -> None:
    """A count that the bytes cannot keep makes nothing of its size."""
    data = b"\x83" + bomb + b"\0" * 9000
    tracemalloc.start()
    try:
        for decode in (codec.decode, codec.decode_wire):
            assert outcome(decode, data)[0] == "refused"
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()


FULL_SIZE_BOMB = """
import resource, struct, sys, zlib
from hornbeam_erlang import _codec_compiled, _codec_pure
from hornbeam_erlang.errors import TermError
codec = {"compiled": _codec_compiled, "pure": _codec_pure}[sys.argv[1]]
item = bytes.fromhex(sys.argv[2])
count = ((32 << 20) - 6) // len(item)
plain = b"l" + struct.pack(">I", count) + item * count + b"j"
bomb = b"\\x83P" + struct.pack(">I", len(plain)) + zlib.compress(plain, 9)
del plain
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    codec.decode(bomb)
except TermError as exc:
    print(len(bomb), exc)
"""


@twins
@pytest.mark.parametrize("item", [b"j", b"t\0\0\0\1a\1j"], ids=["empty lists", "maps"])
def test_bombs_of_full_size_fit_in_a_gigabyte(codec: Codec, item: bytes) -> None:
    """32 MiB of the dearest containers, sent as 32 KiB, are refused below 1 GiB of memory."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_SIZE_BOMB, codec.NAME, item.hex()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "too much memory" in done.stdout, done.stderr


@twins
def test_colliding_keys_take_no_time(codec: Codec) -> None:
    """A map made so that its keys collide is refused before it makes the dict slow."""
    prime = 2**61 - 1
    keys = [codec.encode(prime * n)[1:] + b"j" for n in range(1, 100_001)]
    data = b"\x83t" + len(keys).to_bytes(4, "big") + b"".join(keys)
    start = time.perf_counter()
    with pytest.raises(TermError, match="same hash"):
        codec.decode(data)
    assert time.perf_counter() - start < 20  # else it would be minutes


@twins
def test_maps_of_large_numbers_are_taken(codec: Codec) -> None:
    """Large numbers, floats and tuples that do not collide are keys as any other."""
    value = {key: None for n in range(500) for key in (2**70 + n, n + 0.5, (n, "x"))}
    assert same(codec.decode(codec.encode(value)), value)
