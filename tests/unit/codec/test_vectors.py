# SPDX-License-Identifier: Apache-2.0
"""Every term vector, through both twins and both layers: whole, cut short, and with a byte more."""

from __future__ import annotations

from typing import Any

import pytest

from hornbeam_erlang.errors import TermError
from unit.codec.notation import TWINS, Codec, build, load, raw, same

TERMS = load("terms.json")
HOSTILE = load("hostile_terms.json")


def name_of(item: Any) -> str:
    return str(item["name"]) if isinstance(item, dict) else str(item.NAME)


twins = pytest.mark.parametrize("codec", TWINS, ids=name_of)
terms = pytest.mark.parametrize("entry", TERMS, ids=name_of)


@twins
@terms
def test_value_is_what_the_vector_says(codec: Codec, entry: dict[str, Any]) -> None:
    """The value layer makes the value of the vector, of the same types throughout."""
    value = codec.decode(raw(entry))
    assert same(value, build(entry["value"])), value


@twins
@terms
def test_value_round_trips(codec: Codec, entry: dict[str, Any]) -> None:
    """Encoded again, a value has the same bytes if they were canonical, else the same meaning."""
    value = codec.decode(raw(entry))
    again = codec.encode(value)
    assert same(codec.decode(again), value)
    if entry["canonical"]:
        assert again == raw(entry)
    built = build(entry["value"])
    assert same(codec.decode(codec.encode(built)), built)


@twins
@terms
def test_message_layer_takes_or_refuses_the_term(codec: Codec, entry: dict[str, Any]) -> None:
    """The message layer makes bytes of every binary, and refuses what is not of its few types."""
    if "wire" not in entry:
        with pytest.raises(TermError):
            codec.decode_wire(raw(entry))
        return
    term = codec.decode_wire(raw(entry))
    assert same(term, build(entry["wire"])), term
    assert same(codec.decode_wire(codec.encode_wire(term)), term)


@twins
@terms
def test_every_proper_prefix_is_refused(codec: Codec, entry: dict[str, Any]) -> None:
    """A term that is cut anywhere is an error, on both layers."""
    whole = raw(entry)
    for size in range(len(whole)):
        assert refused(codec.decode, whole[:size]), size
        assert refused(codec.decode_wire, whole[:size]), size


@twins
@terms
def test_a_byte_more_is_refused(codec: Codec, entry: dict[str, Any]) -> None:
    """A term is all there is: whatever byte follows it is an error."""
    for byte in (0, 106, 131):
        assert refused(codec.decode, raw(entry) + bytes([byte]))
        assert refused(codec.decode_wire, raw(entry) + bytes([byte]))


@twins
@pytest.mark.parametrize("entry", HOSTILE, ids=name_of)
def test_hostile_bytes_are_refused(codec: Codec, entry: dict[str, Any]) -> None:
    """Hostile bytes give a TermError with a text, and nothing else."""
    limits = {"max_size": entry["max_size"]} if "max_size" in entry else {}
    with pytest.raises(TermError, match=r"\w"):
        codec.decode_wire(raw(entry), **limits)
    if entry["layer"] == "both":
        with pytest.raises(TermError, match=r"\w"):
            codec.decode(raw(entry), **limits)


@pytest.mark.parametrize("entry", HOSTILE, ids=name_of)
def test_twins_refuse_with_the_same_words(entry: dict[str, Any]) -> None:
    """Both twins give the same reason, the place included."""
    limits = {"max_size": entry["max_size"]} if "max_size" in entry else {}
    compiled, pure = (reason(codec, raw(entry), limits) for codec in TWINS)
    assert compiled == pure


def reason(codec: Codec, data: bytes, limits: dict[str, int]) -> tuple[str, ...]:
    texts = []
    for decode in (codec.decode, codec.decode_wire):
        try:
            decode(data, **limits)
        except TermError as exc:
            texts.append(str(exc))
    return tuple(texts)


def refused(decode: Any, data: bytes) -> bool:
    try:
        decode(data)
    except TermError:
        return True
    return False
