# SPDX-License-Identifier: Apache-2.0
"""The decoding half of the pure codec: one reader per tag, in a table per layer.

Runs in the thread that calls. `_codec_pure_reader` says what keeps hostile bytes in check.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, NoReturn

from ._codec_common import (
    COST_DICT,
    COST_ENTRY,
    COST_LIST,
    COST_SLOT,
    COST_TUPLE,
    MEMORY_FACTOR,
    freeze,
    inflate,
    limits,
    make_array,
    note_hash,
    old_float,
)
from ._codec_pure_opaque import read_fun, read_old_reference, read_pid, read_port, read_reference
from ._codec_pure_reader import ATOM_TAGS, Read, Reader, Readers, atom_text
from .errors import TermError
from .terms import Atom, BitString, ImproperList

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


def read(data: object, readers: Readers, max_depth: int, max_size: int) -> object:
    """The value of one external term, version byte included."""
    limits(max_depth, max_size)
    raw = _whole(data, max_size)
    start = 1
    if readers is VALUE_READERS and raw[1:2] == b"P":
        raw = inflate(memoryview(raw)[2:], max_size)
        start = 0
    reader = Reader(raw, start, readers, max_depth, max_size * MEMORY_FACTOR)
    try:
        tag = raw[reader.pos]
        reader.pos += 1
        value = readers[tag](reader, 0)
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


def _atom(reader: Reader, _depth: int) -> None | bool | Atom:
    text = atom_text(reader, reader.data[reader.pos - 1])
    return _ATOM_VALUES[text] if text in _ATOM_VALUES else Atom(text)


def _wire_atom(reader: Reader, _depth: int) -> None | bool:
    text = atom_text(reader, reader.data[reader.pos - 1])
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


# -- containers; a level of nesting is one Python frame, hence the same loop in each --------------


def _nil(reader: Reader, _depth: int) -> list[object]:
    reader.charge(COST_LIST)
    return []


def _string(reader: Reader, _depth: int) -> list[int]:
    size = reader.number(2)
    reader.charge(COST_LIST + COST_SLOT * size)
    return list(reader.take(size))


def _list(reader: Reader, depth: int) -> object:
    """A list; one whose tail is a list again, which Erlang reads as one list, included."""
    data, readers = reader.data, reader.readers
    items: list[object] = []
    while True:
        count = reader.number(4)
        reader.enter(count + 1, depth, COST_LIST + COST_SLOT * count)
        for _ in range(count):
            reader.owed -= 1
            tag = data[reader.pos]
            reader.pos += 1
            items.append(readers[tag](reader, depth + 1))
        reader.owed -= 1
        tag = data[reader.pos]
        reader.pos += 1
        if tag != _LIST:
            break
    tail = readers[tag](reader, depth + 1)
    if isinstance(tail, list):
        return items + tail if tail else items
    return _improper(reader, items, tail)


def _improper(reader: Reader, items: list[object], tail: object) -> object:
    if reader.readers is not VALUE_READERS:
        reader.fail("an improper list is not allowed in a message")
    return ImproperList(tuple(items), tail) if items else tail


def _tuple(reader: Reader, depth: int) -> object:
    """A tuple, or one of the values that the value layer writes as a tuple."""
    data, readers = reader.data, reader.readers
    arity = reader.number(1 if data[reader.pos - 1] == _SMALL_TUPLE else 4)
    if not arity:
        return ()
    if arity in (2, 4) and readers is VALUE_READERS:
        special = _special(reader, arity)
        if special is not None:
            return special
    reader.enter(arity, depth, COST_TUPLE + COST_SLOT * arity)
    items: list[object] = []
    for _ in range(arity):
        reader.owed -= 1
        tag = data[reader.pos]
        reader.pos += 1
        items.append(readers[tag](reader, depth + 1))
    return tuple(items)


def _special(reader: Reader, arity: int) -> object:
    """The value of `{bytes, B}` and `{ndarray, D, S, B}`; None for any other tuple."""
    start = reader.pos
    if not reader.next_is(*ATOM_TAGS):
        return None
    name = atom_text(reader, reader.data[reader.pos - 1])
    value = None
    if arity == 2 and name == "bytes" and reader.next_is(_BINARY):
        value = reader.take(reader.number(4))
    elif arity == 4 and name == "ndarray":
        value = _array(reader)
    if value is None:
        reader.pos = start
    return value


def _array(reader: Reader) -> Any:
    if not reader.next_is(_BINARY):
        return None
    dtype = reader.take(reader.number(4))
    if not reader.next_is(_SMALL_TUPLE):
        return None
    shape = []
    for _ in range(reader.number(1)):
        if not reader.next_is(97, 98, 110):
            return None
        shape.append(reader.readers[reader.data[reader.pos - 1]](reader, 0))
    if not reader.next_is(_BINARY):
        return None
    return make_array(dtype, tuple(shape), reader.take(reader.number(4)))


def _map(reader: Reader, depth: int) -> dict[object, object]:
    count = reader.number(4)
    if not count:
        reader.charge(COST_LIST)
        return {}
    reader.enter(2 * count, depth, COST_DICT + COST_ENTRY * count)
    data, readers = reader.data, reader.readers
    result: dict[object, object] = {}
    seen: dict[int, int] = {}
    for _ in range(count):
        tag = reader.enter_key()
        reader.owed -= 1
        key = readers[tag](reader, depth + 1)
        reader.key_depth -= 1
        if type(key) not in _PLAIN_KEYS and not _is_short(key):
            key = freeze(key)
            note_hash(seen, key)
        reader.owed -= 1
        tag = data[reader.pos]
        reader.pos += 1
        result[key] = readers[tag](reader, depth + 1)
    if len(result) != count:
        reader.fail("two keys of a map are equal in Python")
    return result


_PLAIN_KEYS: Final = frozenset((str, bytes, Atom, bool, type(None)))


def _is_short(key: object) -> bool:
    """Ints that are their own hash cannot collide with each other."""
    return type(key) is int and -(1 << 60) < key < 1 << 60


def _table(readers: dict[int, Read]) -> Readers:
    return [readers.get(tag, _unknown) for tag in range(256)]


_WIRE: Final[dict[int, Read]] = {
    97: _small_integer,
    98: _integer,
    110: _wire_big,
    **dict.fromkeys((100, 115, 118, 119), _wire_atom),
    104: _tuple,
    105: _tuple,
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
        88: read_pid,
        89: read_port,
        90: read_reference,
        99: _float,
        **dict.fromkeys(ATOM_TAGS, _atom),
        101: read_old_reference,
        102: read_port,
        103: read_pid,
        109: _binary,
        110: _small_big,
        111: _large_big,
        112: read_fun,
        113: read_fun,
        114: read_reference,
        117: read_fun,
        120: read_port,
    }
)
