# SPDX-License-Identifier: Apache-2.0
"""The codec twins against a live node, in both directions: what we write it reads as we meant it,
and what it writes we read and write again as the same term."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hornbeam_erlang.errors import TermError
from hornbeam_erlang.terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref
from oracle.beam import Beam
from unit.codec.notation import TWINS, Codec, build, load, raw, same

NODE = Atom("far@host")
OPAQUE: list[object] = [
    Pid(NODE, 7, 1, 2),
    Port(NODE, 9, 2),
    Ref(NODE, 2, (5, 6, 7)),
    Fun(b"qw\x05listsw\x03mapa\x02"),
]
ATOMS = ["ok", "é", "ł", "", "z" * 255]
examples = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.integers(2**2030, 2**2060),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.sampled_from(ATOMS).map(Atom),
    st.sampled_from(OPAQUE),
    st.builds(BitString, st.binary(min_size=1, max_size=9), st.integers(1, 7)),
)
keys = st.one_of(
    st.integers(2, 2**70), st.text(st.characters(exclude_categories=["Cs"])), st.binary()
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(st.one_of(keys, st.tuples(keys, keys)), inner, max_size=6),
        st.builds(
            ImproperList,
            st.lists(inner, min_size=1, max_size=3).map(tuple),
            st.one_of(st.integers(), st.text("abc")),
        ),
    ),
    max_leaves=30,
)
messages = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(st.one_of(st.binary(), st.integers(2, 2**64 - 1)), inner, max_size=6),
    ),
    max_leaves=30,
)


def meant(term: dict[str, Any], wire: bool) -> object:
    """The Python value of a term's notation, by the table of the layer and not by a codec."""
    ((kind, content),) = term.items()
    if kind == "atom" and content in ("undefined", "true", "false"):
        return {"undefined": None, "true": True, "false": False}[content]
    if kind == "binary":
        return bytes.fromhex(content) if wire else bytes.fromhex(content).decode()
    if kind == "opaque":
        return TWINS[1].decode(bytes.fromhex(content))
    if kind == "export":
        assert content == [{"atom": "lists"}, {"atom": "map"}, {"int": "2"}]
        return OPAQUE[-1]
    if kind == "list":
        return [meant(item, wire) for item in content]
    if kind == "improper":
        return ImproperList(tuple(meant(t, wire) for t in content[0]), meant(content[1], wire))
    if kind == "map":
        return {meant(key, wire): meant(value, wire) for key, value in content}
    if kind == "tuple":
        if not wire and content and content[0] == {"atom": "bytes"}:
            return bytes.fromhex(content[1]["binary"])
        return tuple([meant(item, wire) for item in content])
    return build(term)


@given(value=values)
@examples
def test_node_reads_values_as_they_were_meant(beam: Beam, value: object) -> None:
    """What either twin encodes is, on the node, the term that the table of values gives."""
    encoded = {codec.encode(value) for codec in TWINS}
    assert len(encoded) == 1
    assert same(meant(beam.describe(encoded.pop()), wire=False), value)


@given(message=messages)
@examples
def test_node_reads_messages_as_they_were_meant(beam: Beam, message: object) -> None:
    """What either twin encodes for the message layer is the plain term on the node."""
    encoded = {codec.encode_wire(message) for codec in TWINS}
    assert len(encoded) == 1
    assert same(meant(beam.describe(encoded.pop()), wire=True), message)


@pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
@pytest.mark.parametrize("seed", range(6))
def test_values_of_the_node_round_trip(beam: Beam, codec: Codec, seed: int) -> None:
    """A random term of the node, whatever way it encodes it, goes through Python unchanged."""
    for term in beam.generate(b"V", seed, 100):
        assert beam.compare(term, codec.encode(codec.decode(term))) == "equal"


@pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
@pytest.mark.parametrize("seed", range(4))
def test_messages_of_the_node_round_trip(beam: Beam, codec: Codec, seed: int) -> None:
    """A random message of the node goes through Python unchanged."""
    for term in beam.generate(b"M", seed, 60):
        assert beam.compare(term, codec.encode_wire(codec.decode_wire(term))) == "equal"


@pytest.mark.parametrize("seed", range(4))
def test_twins_read_the_same(beam: Beam, seed: int) -> None:
    """Both twins make the same value of what the node writes."""
    for term in beam.generate(b"V", 1000 + seed, 100):
        assert same(TWINS[0].decode(term), TWINS[1].decode(term))


IDENTIFIERS = (Pid, Port, Ref, Fun)
SMALL = [raw(entry) for entry in load("terms.json") if len(entry["hex"]) < 400]


def has_identifier(value: object) -> bool:
    """Which numbers an identifier may have differs between releases of the node."""
    if isinstance(value, ImproperList):
        return has_identifier([*value.elements, value.tail])
    if isinstance(value, dict):
        return has_identifier([*value, *value.values()])
    if isinstance(value, list | tuple):
        return any(map(has_identifier, value))
    return isinstance(value, IDENTIFIERS)


@given(seed=st.sampled_from(SMALL), at=st.integers(1, 200), byte=st.integers(0, 255))
@examples
def test_node_reads_what_we_read(beam: Beam, seed: bytes, at: int, byte: int) -> None:
    """A damaged term that we accept, and that has no identifiers, the node accepts as well."""
    data = bytearray(seed)
    data[1 + at % (len(data) - 1)] = byte
    try:
        value = TWINS[0].decode(bytes(data))
    except TermError:
        return
    assert has_identifier(value) or beam.describe(bytes(data)) is not None, data.hex()
