# SPDX-License-Identifier: Apache-2.0
"""What the value layer takes of Python, what it refuses, and how it says so. Both twins."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import math
from array import array
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hornbeam_erlang.errors import HornbeamError, TermError
from hornbeam_erlang.terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref
from unit.codec.notation import TWINS, Codec, same

pytestmark = pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)


class Color(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    ANN = "ann"


@dataclasses.dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "left right")
NODE = Atom("a@b")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, False, 1, 0, -1],
        [b"x", "x", b"", "", b"\xff", "é\0"],
        [[], (), {}, [[]], [65, 66], ((),)],
        [1e-20, -0.0, 5e-324, 1.7976931348623157e308],
        [2**80, -(2**80), 2**63, 2**64, -(2**63), 2**4096],
        {1: "one", "k": b"v", (1, b"2"): None, True and "t": [{}]},
        {b"bytes": 1, "bytes": 2, None: 3, 2.5: 4},
        (Atom("ok"), Atom(""), Atom("é" * 255)),
        (Atom("bytes"), 1),
        [ImproperList((1, "two"), 3), BitString(b"\xa0", 3)],
        [Pid(NODE, 1, 2, 3), Port(NODE, 2**40, 1), Port(NODE, 5, 1), Ref(NODE, 1, (1, 2, 3, 4, 5))],
        Fun(b"qw\x05listsw\x03mapa\x02"),
        "x" * 100_000,
        "ł" * 100_000,
        [b"y" * 20_000, "z", b"y" * 20_000],
    ],
)
def test_comes_back_as_it_went_in(codec: Codec, value: object) -> None:
    """A value has the same types and contents after the round trip."""
    assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (memoryview(b"abcd")[::2], b"ac"),
        (memoryview(array("i", [1, 2])), array("i", [1, 2]).tobytes()),
        (bytearray(30_000), bytes(30_000)),
        (Color.RED, 1),
        (Name.ANN, "ann"),
        (Pair(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (Atom("nil"), None),
        (Atom("undefined"), None),
        (Atom("true"), True),
        (np.int16(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (np.bytes_(b"s"), b"s"),
    ],
)
def test_arrives_as_its_nearest_type(codec: Codec, value: object, back: object) -> None:
    """Bytes-likes arrive as bytes, subclasses as their base, NumPy scalars as Python's numbers."""
    assert same(codec.decode(codec.encode(value)), back)


@pytest.mark.parametrize("dtype", ["<f8", ">i4", "|u1", "|b1", "<c16", "<U3", "|S2", "<M8[ns]"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_array_round_trips(codec: Codec, dtype: str, shape: tuple[int, ...]) -> None:
    """An array comes back with its dtype and shape, as one that can be written to."""
    made = np.zeros(shape, np.uint8).astype(dtype)
    back = codec.decode(codec.encode([made]))
    assert isinstance(back, list)
    assert same(back[0], made)
    assert back[0].flags.writeable


def test_large_array_that_is_not_contiguous(codec: Codec) -> None:
    """A strided array arrives as if it had been copied first."""
    made = np.arange(20_000, dtype="<i4").reshape(100, 200).T[::2]
    assert same(codec.decode(codec.encode(made)), np.ascontiguousarray(made))


def test_array_fields_that_do_not_fit_are_refused(codec: Codec) -> None:
    """An {ndarray, …} whose bytes, shape or dtype contradict each other is an error."""
    good = codec.encode(np.zeros(2, "<i4"))
    for old, new in ((b"<i4", b"<i8"), (b"<i4", b"|O8"), (b"<i4", b"zzz"), (b"a\x02m", b"a\x03m")):
        assert old in good
        with pytest.raises(TermError):
            codec.decode(good.replace(old, new))


def test_tuple_that_only_starts_like_an_array(codec: Codec) -> None:
    """{ndarray, A, B, C} of other types is an ordinary tuple."""
    value = (Atom("ndarray"), "<i4", (None,), "x")
    assert same(codec.decode(codec.encode(value)), value)
    value2 = (Atom("ndarray"), 1, 2, 3)
    assert same(codec.decode(codec.encode(value2)), value2)


def cyclic_list() -> list[object]:
    items: list[object] = []
    items.append([1, items])
    return items


def cyclic_dict() -> dict[str, object]:
    table: dict[str, object] = {}
    table["self"] = table
    return table


def released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        (object(), "value", "object has no Erlang term"),
        ({"a": [0, 1, 2, {1}]}, "value['a'][3]", "set has no Erlang term; make it a list"),
        ([decimal.Decimal(1)], "value[0]", "decimal.Decimal has no Erlang term; make it a str"),
        ((1, Point(1)), "value[1]", "asdict"),
        ({"k": math.nan}, "value['k']", "nan is no Erlang float"),
        ([-math.inf], "value[0]", "-inf is no Erlang float"),
        (np.float32("inf"), "value", "inf is no Erlang float"),
        ({(1, frozenset()): 2}, "list(value)[0][1]", "frozenset has no Erlang term"),
        ([{"x": 1, 1j: 2}], "list(value[0])[1]", "complex has no Erlang term"),
        ({"100%": [print]}, "value['100%'][0]", "builtin_function_or_method"),
        ("\ud800", "value", "lone surrogate"),
        ([Atom("\udc00")], "value[0]", "lone surrogate"),
        (ImproperList((1, {2}), 3), "value.elements[1]", "set has no"),
        (ImproperList((1,), {2}), "value.tail", "set has no"),
        (np.array([object()]), "value", "numpy.ndarray has no Erlang term; give it a plain dtype"),
        ([np.zeros(1, [("f", "i4")])], "value[0]", "plain dtype"),
        (Fun(b"junk"), "value", "does not hold the external term"),
        (Fun(b""), "value", "does not hold the external term"),
        (Pid(NODE, 1, 1, 1, external=b"a\x01"), "value", "does not hold the external term"),
        (released(), "value", "released"),
        (cyclic_list(), "value[0][1]", "contains itself here"),
        (cyclic_dict(), "value['self']", "contains itself here"),
    ],
)
def test_refusal_names_path_and_reason(codec: Codec, value: object, path: str, text: str) -> None:
    """What has no term is refused with where it is, what it is and what to do."""
    with pytest.raises(TermError) as caught:
        codec.encode(value)
    assert caught.value.path.startswith(path)
    assert text in caught.value.reason
    assert isinstance(caught.value, HornbeamError | TypeError)
    assert caught.value.__cause__ is None


WRAPS: dict[str, Callable[[object], object]] = {
    "list": lambda value: [value],
    "tuple": lambda value: (value, 2),
    "dict": lambda value: {"k": value},
    "improper": lambda value: ImproperList((value,), 2),
}


def nested(kind: str, depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = WRAPS[kind](value)
    return value


@pytest.mark.parametrize("kind", list(WRAPS))
@pytest.mark.parametrize("limit", [None, 0, 1, 7])
def test_depth_limit(codec: Codec, kind: str, limit: int | None) -> None:
    """max_depth containers are taken both ways, one more is refused both ways."""
    limits: dict[str, Any] = {} if limit is None else {"max_depth": limit}
    depth = 256 if limit is None else limit
    good = codec.encode(nested(kind, depth), **limits)
    codec.decode(good, **limits)
    with pytest.raises(TermError, match="deeper"):
        codec.encode(nested(kind, depth + 1), **limits)
    deeper = codec.encode(nested(kind, depth + 1), max_depth=300)
    with pytest.raises(TermError, match="deeper"):
        codec.decode(deeper, **limits)


@pytest.mark.parametrize(
    "value",
    [b"x" * 50_000, "x" * 50_000, "ł" * 9000, list(range(9000)), [1 << 90_000], {"k": b"v"}],
    ids=["bytes", "str", "text", "list", "int", "dict"],
)
def test_size_limit(codec: Codec, value: object) -> None:
    """max_size bytes are taken both ways, one byte less is refused both ways."""
    size = len(codec.encode(value))
    data = codec.encode(value, max_size=size)
    assert same(codec.decode(data, max_size=size), value)
    with pytest.raises(TermError, match="larger"):
        codec.encode(value, max_size=size - 1)
    with pytest.raises(TermError, match="larger"):
        codec.decode(data, max_size=size - 1)


def test_default_size_limit(codec: Codec) -> None:
    """A value of 32 MiB is taken, one byte more is refused."""
    fits = bytes(32 * 1024 * 1024 - 15)
    assert len(codec.encode(fits)) == 32 * 1024 * 1024
    with pytest.raises(TermError, match="33554432"):
        codec.encode(fits + b"x")


@pytest.mark.parametrize("limits", [{"max_depth": -1}, {"max_depth": 1025}, {"max_size": 0}])
def test_limits_are_checked(codec: Codec, limits: dict[str, int]) -> None:
    """A limit out of range is a ValueError that names it."""
    name = next(iter(limits))
    with pytest.raises(ValueError, match=name):
        codec.encode(1, **limits)
    with pytest.raises(ValueError, match=name):
        codec.decode(b"\x83a\x01", **limits)


@pytest.mark.parametrize("source", [bytearray, memoryview])
def test_decodes_any_bytes_like(codec: Codec, source: type) -> None:
    """Bytes-likes are decoded as bytes are; anything else is named."""
    data = codec.encode([b"x", {"k": np.arange(3)}])
    assert same(codec.decode(source(data)), codec.decode(data))
    with pytest.raises(TermError, match="not str"):
        codec.decode("text")


@pytest.mark.parametrize(
    ("term", "frozen"),
    [
        ([1, [2]], (1, (2,))),
        ({"b": [1], "a": 2}, (("a", 2), ("b", (1,)))),
        (ImproperList(([1],), 2), ImproperList(((1,),), 2)),
        (([1],), ((1,),)),
    ],
)
def test_unhashable_key_arrives_as_tuple(codec: Codec, term: object, frozen: object) -> None:
    """A key that Python cannot hash becomes tuples all the way down."""
    data = b"\x83t\x00\x00\x00\x01" + codec.encode(term)[1:] + b"a\x07"
    assert same(codec.decode(data), {frozen: 7})


def test_array_as_key(codec: Codec) -> None:
    """An array that is a key becomes a tuple too."""
    data = b"\x83t\x00\x00\x00\x01" + codec.encode(np.zeros(1, "|u1"))[1:] + b"a\x07"
    assert codec.decode(data) == {("ndarray", "|u1", (1,), b"\0"): 7}


def test_numbers_far_beyond_64_bits(codec: Codec) -> None:
    """An int of a million bits takes no noticeable time either way."""
    value = -(1 << 1_000_000) + 12345
    assert codec.decode(codec.encode(value)) == value
