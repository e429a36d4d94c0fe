# SPDX-License-Identifier: Apache-2.0
"""The decoding half of the pure codec: one reader per tag, in a table per layer.

Runs in the thread that calls. Nothing is believed: a count is held against the bytes that are
left before anything is made of it, and containers are charged to a budget of memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final, NoReturn

from ._codec_common import (
    COST_DICT,
    COST_ENTRY,
    COST_LIST,
    COST_SLOT,
    COST_TUPLE,
    MAX_KEY_DEPTH,
    MEMORY_FACTOR,
    freeze,
    inflate,
    limits,
    make_array,
    note_hash,
    old_float,
)
from ._codec_scan import scan
from .errors import TermError
from .terms import (
    MAX_ATOM_CHARACTERS,
    MAX_REF_WORDS,
    Atom,
    BitString,
    Fun,
    ImproperList,
    Pid,
    Port,
    Ref,
)

_INT32: Final = struct.Struct(">i").unpack_from
_DOUBLE: Final = struct.Struct(">d").unpack_from
_ATOM_VALUES: Final[dict[str, None | bool]] = {
    "undefined": None,
    "nil": None,
    "true": True,
    "false": False,
}
_WIRE_ATOMS: Final[dict[str, None | bool]] = {"undefined": None, "true": True, "false": False}
_LIST: Final = 108
_BINARY: Final = 109
_SMALL_TUPLE: Final = 104
_ATOM_TAGS: Final = frozenset((100, 115, 118, 119))


class Reader:
    """One decoding under way: where it is, and what it may still take."""

    __slots__ = ("budget", "data", "end", "key_depth", "max_depth", "pos", "readers")

    def __init__(self, data: bytes, readers: Readers, max_depth: int, budget: int) -> None:
        self.data = data
        self.pos = 1
        self.end = len(data)
        self.readers = readers
        self.max_depth = max_depth
        self.budget = budget
        self.key_depth = 0

    def fail(self, what: str) -> NoReturn:
        raise TermError(f"{what}, at byte {self.pos}")

    def short(self) -> NoReturn:
        raise TermError(f"the bytes end inside a term, at byte {self.end}")

    def take(self, size: int) -> bytes:
        start = self.pos
        if size > self.end - start:
            self.short()
        self.pos = start + size
        return self.data[start : start + size]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def enter(self, count: int, depth: int, cost: int) -> None:
        """Before a container with at least `count` bytes of elements is read."""
        if count > self.end - self.pos:
            self.fail(f"a count of {count} is more than the bytes that follow")
        if depth >= self.max_depth:
            self.fail(f"nests deeper than {self.max_depth} levels")
        self.charge(cost)

    def charge(self, cost: int) -> None:
        self.budget -= cost
        if self.budget < 0:
            self.fail("would take too much memory")


Read = Callable[[Reader, int], object]
Readers = list[Read]


def read(data: object, readers: Readers, max_depth: int, max_size: int) -> object:
    """The value of one external term, version byte included."""
    limits(max_depth, max_size)
    raw = _whole(data, max_size)
    if readers is VALUE_READERS and raw[1:2] == b"P":
        raw = b"\x83" + inflate(memoryview(raw)[2:], max_size)
    reader = Reader(raw, readers, max_depth, max_size * MEMORY_FACTOR)
    try:
        value = _term(reader, 0)
    except IndexError:
        reader.short()
    except RecursionError:
        raise TermError("nests deeper than Python's recursion limit leaves room for") from None
    if reader.pos != reader.end:
        raise TermError(f"{reader.end - reader.pos} bytes follow the term, at byte {reader.pos}")
    return value


def _whole(data: object, max_size: int) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TermError(f"an external term is bytes, not {type(data).__qualname__}")
    raw = bytes(data)
    if len(raw) > max_size:
        raise TermError(f"a term of {len(raw)} bytes is larger than {max_size}")
    if raw[:1] != b"\x83":
        raise TermError("an external term starts with byte 131")
    return raw


def _term(reader: Reader, depth: int) -> object:
    tag = reader.data[reader.pos]
    reader.pos += 1
    return reader.readers[tag](reader, depth)


def _unknown(reader: Reader, _depth: int) -> NoReturn:
    reader.pos -= 1
    reader.fail(f"tag {reader.data[reader.pos]} is not known or not allowed here")


# -- numbers -------------------------------------------------------------------------------------


def _small_integer(reader: Reader, _depth: int) -> int:
    return reader.take(1)[0]


def _integer(reader: Reader, _depth: int) -> int:
    value: int = _INT32(reader.take(4))[0]
    return value


def _small_big(reader: Reader, _depth: int) -> int:
    return _big(reader, reader.number(1))


def _large_big(reader: Reader, _depth: int) -> int:
    return _big(reader, reader.number(4))


def _big(reader: Reader, size: int) -> int:
    sign = reader.number(1)
    if sign > 1:
        reader.fail(f"the sign of an integer is 0 or 1, not {sign}")
    magnitude = int.from_bytes(reader.take(size), "little")
    return -magnitude if sign else magnitude


def _wire_big(reader: Reader, _depth: int) -> int:
    size = reader.number(1)
    if size > 8:
        reader.fail(f"an integer of {size} bytes is more than 64 bits")
    value = _big(reader, size)
    if value < -(1 << 63):
        reader.fail("a negative integer is more than 64 bits")
    return value


def _new_float(reader: Reader, _depth: int) -> float:
    value: float = _DOUBLE(reader.take(8))[0]
    if not math.isfinite(value):
        reader.fail("a float is not finite")
    return value


def _float(reader: Reader, _depth: int) -> float:
    return old_float(reader.take(31))


# -- atoms and binaries --------------------------------------------------------------------------


def _atom_text(reader: Reader, tag: int) -> str:
    raw = reader.take(reader.number(2 if tag in (100, 118) else 1))
    try:
        text = raw.decode("latin-1" if tag in (100, 115) else "utf-8")
    except UnicodeDecodeError:
        reader.fail("an atom is not UTF-8")
    if len(text) > MAX_ATOM_CHARACTERS:
        reader.fail(f"an atom has {len(text)} characters, more than {MAX_ATOM_CHARACTERS}")
    return text


def _atom(reader: Reader, _depth: int) -> None | bool | Atom:
    text = _atom_text(reader, reader.data[reader.pos - 1])
    return _ATOM_VALUES[text] if text in _ATOM_VALUES else Atom(text)


def _wire_atom(reader: Reader, _depth: int) -> None | bool:
    text = _atom_text(reader, reader.data[reader.pos - 1])
    if text not in _WIRE_ATOMS:
        reader.fail(f"the atom {text!r} is not allowed in a message")
    return _WIRE_ATOMS[text]


def _wire_binary(reader: Reader, _depth: int) -> bytes:
    return reader.take(reader.number(4))


def _binary(reader: Reader, depth: int) -> str | bytes:
    return _text_or_bytes(_wire_binary(reader, depth))


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _bit_binary(reader: Reader, _depth: int) -> str | bytes | BitString:
    size = reader.number(4)
    bits = reader.number(1)
    if bits > 8 or (bits == 0) != (size == 0):
        reader.fail(f"a bit string of {size} bytes cannot use {bits} bits of the last")
    raw = reader.take(size)
    return BitString(raw, bits) if 0 < bits < 8 else _text_or_bytes(raw)


# -- containers ----------------------------------------------------------------------------------


def _nil(reader: Reader, _depth: int) -> list[object]:
    reader.charge(COST_LIST)
    return []


def _string(reader: Reader, _depth: int) -> list[int]:
    size = reader.number(2)
    reader.charge(COST_LIST + COST_SLOT * size)
    return list(reader.take(size))


def _items(reader: Reader, count: int, depth: int) -> list[object]:
    """`count` terms that stand in `depth` containers."""
    data = reader.data
    readers = reader.readers
    items: list[object] = []
    for _ in range(count):
        tag = data[reader.pos]
        reader.pos += 1
        items.append(readers[tag](reader, depth))
    return items


def _list(reader: Reader, depth: int) -> object:
    """A list; one whose tail is a list again, which Erlang reads as one list, included."""
    items: list[object] = []
    while True:
        count = reader.number(4)
        reader.enter(count + 1, depth, COST_LIST + COST_SLOT * count)
        items += _items(reader, count, depth + 1)
        if reader.data[reader.pos] != _LIST:
            break
        reader.pos += 1
    tail = _items(reader, 1, depth + 1)[0]
    if isinstance(tail, list):
        return items + tail
    return _improper(reader, items, tail)


def _improper(reader: Reader, items: list[object], tail: object) -> object:
    if reader.readers is not VALUE_READERS:
        reader.fail("an improper list is not allowed in a message")
    return ImproperList(tuple(items), tail) if items else tail


def _small_tuple(reader: Reader, depth: int) -> object:
    return _tuple(reader, reader.number(1), depth)


def _large_tuple(reader: Reader, depth: int) -> object:
    return _tuple(reader, reader.number(4), depth)


def _tuple(reader: Reader, arity: int, depth: int) -> tuple[object, ...]:
    if not arity:
        return ()
    reader.enter(arity, depth, COST_TUPLE + COST_SLOT * arity)
    return tuple(_items(reader, arity, depth + 1))


def _tagged_tuple(reader: Reader, depth: int) -> object:
    """A tuple of the value layer: `{bytes, B}` and `{ndarray, D, S, B}` are values of their own."""
    start = reader.pos
    arity = reader.number(1)
    if arity in (2, 4) and reader.pos < reader.end and reader.data[reader.pos] in _ATOM_TAGS:
        reader.pos += 1
        name = _atom_text(reader, reader.data[reader.pos - 1])
        if arity == 2 and name == "bytes" and reader.data[reader.pos] == _BINARY:
            reader.pos += 1
            return _wire_binary(reader, depth)
        if arity == 4 and name == "ndarray":
            array = _array(reader)
            if array is not None:
                return array
    reader.pos = start
    return _small_tuple(reader, depth)


def _array(reader: Reader) -> object:
    """The array after the atom `ndarray`; None when this is another tuple that starts so."""
    data = reader.data
    if data[reader.pos] != _BINARY:
        return None
    reader.pos += 1
    dtype = _wire_binary(reader, 0)
    if data[reader.pos] != _SMALL_TUPLE:
        return None
    reader.pos += 1
    arity = reader.number(1)
    shape = []
    for _ in range(arity):
        if data[reader.pos] not in (97, 98, 110):
            return None
        shape += _items(reader, 1, 0)
    if data[reader.pos] != _BINARY:
        return None
    reader.pos += 1
    return make_array(dtype, tuple(shape), _wire_binary(reader, 0))


def _map(reader: Reader, depth: int) -> dict[object, object]:
    count = reader.number(4)
    if not count:
        reader.charge(COST_LIST)
        return {}
    reader.enter(2 * count, depth, COST_DICT + COST_ENTRY * count)
    result: dict[object, object] = {}
    seen: dict[int, int] = {}
    for _ in range(count):
        key = _key(reader, depth + 1)
        if type(key) not in _PLAIN_KEYS and not _is_short(key):
            key = freeze(key)
            note_hash(seen, key)
        result[key] = _term(reader, depth + 1)
    if len(result) != count:
        reader.fail("two keys of a map are equal in Python")
    return result


_PLAIN_KEYS: Final = frozenset((str, bytes, Atom, bool, type(None)))


def _is_short(key: object) -> bool:
    """Ints that are their own hash cannot collide with each other."""
    return type(key) is int and -(1 << 60) < key < 1 << 60


def _key(reader: Reader, depth: int) -> object:
    reader.key_depth += 1
    if reader.key_depth > MAX_KEY_DEPTH:
        reader.fail(f"maps are keys of maps more than {MAX_KEY_DEPTH} levels deep")
    key = _term(reader, depth)
    reader.key_depth -= 1
    return key


# -- identifiers and funs ------------------------------------------------------------------------


def _node(reader: Reader) -> Atom:
    tag = reader.number(1)
    if tag not in _ATOM_TAGS:
        reader.fail(f"a node name is an atom, not tag {tag}")
    return Atom(_atom_text(reader, tag))


def _pid(reader: Reader, _depth: int) -> Pid:
    start = reader.pos - 1
    width = 4 if reader.data[start] == 88 else 1
    node = _node(reader)
    numbers = reader.number(4), reader.number(4), reader.number(width)
    return Pid(node, *numbers, external=reader.data[start : reader.pos])


def _port(reader: Reader, _depth: int) -> Port:
    start = reader.pos - 1
    tag = reader.data[start]
    node = _node(reader)
    numbers = reader.number(8 if tag == 120 else 4), reader.number(1 if tag == 102 else 4)
    return Port(node, *numbers, external=reader.data[start : reader.pos])


def _old_reference(reader: Reader, _depth: int) -> Ref:
    start = reader.pos - 1
    node = _node(reader)
    word, creation = reader.number(4), reader.number(1)
    return Ref(node, creation, (word,), external=reader.data[start : reader.pos])


def _reference(reader: Reader, _depth: int) -> Ref:
    start = reader.pos - 1
    count = reader.number(2)
    if not 1 <= count <= MAX_REF_WORDS:
        reader.fail(f"a reference has 1 to {MAX_REF_WORDS} words, not {count}")
    node = _node(reader)
    creation = reader.number(4 if reader.data[start] == 90 else 1)
    words = tuple([reader.number(4) for _ in range(count)])
    return Ref(node, creation, words, external=reader.data[start : reader.pos])


def _fun(reader: Reader, _depth: int) -> Fun:
    start = reader.pos - 1
    stop = scan(reader.data, start)
    if reader.data[start] == 112 and int.from_bytes(reader.data[start + 1 : start + 5]) + 1 != (
        stop - start
    ):
        reader.fail("a fun does not have the size it announces")
    reader.pos = stop
    return Fun(reader.data[start:stop])


def _table(readers: dict[int, Read]) -> Readers:
    return [readers.get(tag, _unknown) for tag in range(256)]


_WIRE: Final[dict[int, Read]] = {
    97: _small_integer,
    98: _integer,
    110: _wire_big,
    **dict.fromkeys((100, 115, 118, 119), _wire_atom),
    104: _small_tuple,
    105: _large_tuple,
    106: _nil,
    107: _string,
    108: _list,
    109: _wire_binary,
    116: _map,
}
WIRE_READERS: Final = _table(_WIRE)
VALUE_READERS: Final = _table(
    {
        **_WIRE,
        70: _new_float,
        77: _bit_binary,
        88: _pid,
        89: _port,
        90: _reference,
        99: _float,
        **dict.fromkeys(_ATOM_TAGS, _atom),
        101: _old_reference,
        102: _port,
        103: _pid,
        104: _tagged_tuple,
        109: _binary,
        110: _small_big,
        111: _large_big,
        112: _fun,
        113: _fun,
        114: _reference,
        117: _fun,
        120: _port,
    }
)
