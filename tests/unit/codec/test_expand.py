# SPDX-License-Identifier: Apache-2.0
"""Terms of distribution messages made whole: both twins, on every term vector and any bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam_erlang.errors import TermError
from unit.codec.notation import TWINS, Codec, load, raw

twins = pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
TERMS = [raw(entry) for entry in load("terms.json")]
PLAIN = [term for term in TERMS if term[1] != 80]
ATOMS = [b"w\x02ok", b"w\x03a@h", b"v\x01\x00" + b"x" * 256, b"w\x00"]
SMALL = [term for term in PLAIN if len(term) < 400]


def outcome(codec: Codec, data: bytes, pos: int, size: int) -> Any:
    try:
        return codec.expand(data, pos, ATOMS, max_size=size)
    except TermError:
        return "refused"


@twins
def test_terms_without_cached_atoms_stay_as_they_are(codec: Codec) -> None:
    """A term comes out as it went in, and its end is found, whatever stands around it."""
    assert len(PLAIN) > 50
    for term in PLAIN:
        assert codec.expand(term[1:], 0, []) == (term, len(term) - 1)
        assert codec.expand(b"\0\0" + term[1:] + b"\xff", 2, []) == (term, len(term) + 1)


@twins
def test_terms_that_end_early_are_refused(codec: Codec) -> None:
    """No beginning of a term is one."""
    for term in SMALL:
        for end in range(1, len(term)):
            assert outcome(codec, term[1:end], 0, 10_000) == "refused", term


@twins
@pytest.mark.parametrize("atom", ATOMS, ids=["ok", "node", "long", "empty"])
def test_cached_atoms_are_written_out(codec: Codec, atom: bytes) -> None:
    """Wherever an atom may stand, two bytes for it make the same term as the atom itself."""
    number = b"R" + bytes((ATOMS.index(atom),))
    pid = b"X%s" + bytes(12)
    for shape in (
        b"%s",
        b"h\2%s%s",
        b"l\0\0\0\1%sj",
        b"t\0\0\0\1%s%s",
        pid,
        b"Y%s" + bytes(8),
        b"x%s" + bytes(12),
        b"g%s" + bytes(9),
        b"e%s" + bytes(5),
        b"f%s" + bytes(5),
        b"Z\0\2%s" + bytes(12),
        b"r\0\1%s" + bytes(5),
        b"q%s%sa\1",
        b"h\2" + pid + b"q%s%sa\1",
    ):
        count = shape.count(b"%s")
        cached = shape % ((number,) * count)
        whole = shape % ((atom,) * count)
        assert codec.expand(cached + b"j", 0, ATOMS) == (b"\x83" + whole, len(cached))


def fun(module: bytes, node: bytes, free: list[bytes]) -> bytes:
    body = b"\1" + bytes(16) + bytes(4) + len(free).to_bytes(4, "big")
    body += module + b"a\0a\0" + b"X" + node + bytes(12) + b"".join(free)
    return b"p" + (len(body) + 4).to_bytes(4, "big") + body


@twins
def test_funs_have_the_size_of_what_is_in_them(codec: Codec) -> None:
    """Atoms written out in a fun, and in a fun inside it, add to the sizes of both."""
    number, atom = b"R\1", ATOMS[1]
    cached = fun(number, number, [fun(number, number, [number, b"a\1"]), number])
    whole = fun(atom, atom, [fun(atom, atom, [atom, b"a\1"]), atom])
    result, end = codec.expand(b"h\2" + cached + number, 0, ATOMS)
    assert (result, end) == (b"\x83h\2" + whole + atom, len(cached) + 4)
    value: Any = codec.decode(result)
    assert value[0].external == whole


@twins
def test_the_size_of_a_fun_that_lies_stays_a_lie(codec: Codec) -> None:
    """A wrong size is not set right on the way."""
    wrong = bytearray(fun(b"R\1", b"R\1", []))
    wrong[4] += 1
    result, _ = codec.expand(bytes(wrong), 0, ATOMS)
    with pytest.raises(TermError, match="size it announces"):
        codec.decode(result)


@twins
def test_results_have_a_largest_size(codec: Codec) -> None:
    """The limit counts the version byte and atoms written out, to the byte."""
    assert outcome(codec, b"h\2R\0R\0", 0, 11) == (b"\x83h\2w\2okw\2ok", 6)
    assert outcome(codec, b"h\2R\0R\0", 0, 10) == "refused"
    assert outcome(codec, b"m\0\0\0\4abcd", 0, 10) == (b"\x83m\0\0\0\4abcd", 9)
    assert outcome(codec, b"m\0\0\0\4abcd", 0, 9) == "refused"


@twins
def test_what_is_refused(codec: Codec) -> None:
    """Atoms that are not there, counts beyond the bytes, tags that no term starts with."""
    hostile = [b"R\4", b"R", b"P", b"\x83a\1", b"l\xff\xff\xff\xff", b"Xa\1" + bytes(12), b"XR\4"]
    hostile += [b"p" + bytes(25) + b"\xff" * 4 + b"j", b"u\xff\xff\xff\xffj", b"t\xff\xff\xff\xff"]
    for data in hostile:
        assert outcome(codec, data, 0, 10_000) == "refused", data
    for pos in (-1, 2):
        assert outcome(codec, b"j", pos, 10_000) == "refused"


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A term with references to cached atoms put in, and bytes changed."""
    data = bytearray(draw(st.sampled_from(SMALL))[1:])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        piece = st.one_of(
            st.sampled_from([b"R\0", b"R\1", b"R\2", b"p", b"X"]), st.binary(max_size=3)
        )
        data[at : at + draw(st.integers(0, 3))] = draw(piece)
    return bytes(data)


@given(st.one_of(mutations(), st.binary(max_size=60)), st.integers(1, 700))
@settings(max_examples=1500, deadline=None)
def test_any_bytes(data: bytes, size: int) -> None:
    """Any bytes have the same outcome in both twins: a term of bounded size, or a TermError."""
    results = [outcome(codec, data, 0, size) for codec in TWINS]
    assert results[0] == results[1]
    if results[0] != "refused":
        assert len(results[0][0]) <= size
