# SPDX-License-Identifier: Apache-2.0
"""Finds the end of an external term without making values of it.

Runs in the thread that encodes or decodes. Funs need it: they are kept as the bytes they came in,
and their environment may hold what Python could not. It does not recurse, so depth costs nothing.
"""

from __future__ import annotations

from typing import Final

from ._codec_common import OPAQUE_TAGS
from .errors import TermError

# What follows the tag: (bytes of the length or count, fixed bytes, children per count, more
# children). With no children per count, the count is a number of bytes.
_SHAPES: Final[dict[int, tuple[int, int, int, int]]] = {
    70: (0, 8, 0, 0),  # NEW_FLOAT_EXT
    77: (4, 1, 0, 0),  # BIT_BINARY_EXT
    97: (0, 1, 0, 0),  # SMALL_INTEGER_EXT
    98: (0, 4, 0, 0),  # INTEGER_EXT
    99: (0, 31, 0, 0),  # FLOAT_EXT
    100: (2, 0, 0, 0),  # ATOM_EXT
    104: (1, 0, 1, 0),  # SMALL_TUPLE_EXT
    105: (4, 0, 1, 0),  # LARGE_TUPLE_EXT
    106: (0, 0, 0, 0),  # NIL_EXT
    107: (2, 0, 0, 0),  # STRING_EXT
    108: (4, 0, 1, 1),  # LIST_EXT
    109: (4, 0, 0, 0),  # BINARY_EXT
    110: (1, 1, 0, 0),  # SMALL_BIG_EXT
    111: (4, 1, 0, 0),  # LARGE_BIG_EXT
    115: (1, 0, 0, 0),  # SMALL_ATOM_EXT
    116: (4, 0, 2, 0),  # MAP_EXT
    118: (2, 0, 0, 0),  # ATOM_UTF8_EXT
    119: (1, 0, 0, 0),  # SMALL_ATOM_UTF8_EXT
}
_ATOMS: Final = frozenset((100, 115, 118, 119))
_INTEGERS: Final = frozenset((97, 98))
_BYTE: Final = frozenset((97,))
_PIDS: Final = frozenset((88, 103))
# Identifiers: a node and then this many bytes.
_AFTER_NODE: Final = {88: 12, 89: 8, 101: 5, 102: 5, 103: 9, 120: 12}
_REFERENCES: Final = {90: 4, 114: 1}  # bytes of the creation, which the words follow
_NEW_FUN_HEAD: Final = 29  # size, arity, uniq, index and count of free variables
_FUN: Final = 117
_NEW_FUN: Final = 112
_EXPORT: Final = 113

Bytes = bytes | memoryview


def scan(data: Bytes, pos: int) -> int:
    """The position after the term that starts at `pos`. Raises TermError."""
    pending = 1
    while pending:
        if pending > len(data) - pos:  # each takes a byte at least
            raise TermError(f"the bytes end inside a term, at byte {len(data)}")
        tag = data[pos]
        shape = _SHAPES.get(tag)
        if shape is None:
            pos, more = _special(data, pos, tag)
        else:
            pos, more = _counted(data, pos + 1, shape)
        pending += more - 1
    if pos > len(data):
        raise TermError(f"the bytes end inside a term, at byte {len(data)}")
    return pos


def _counted(data: Bytes, pos: int, shape: tuple[int, int, int, int]) -> tuple[int, int]:
    width, fixed, per_count, more = shape
    count = _number(data, pos, width)
    pos += width + fixed
    if per_count:
        return pos, count * per_count + more
    return pos + count, more


def _number(data: Bytes, pos: int, width: int) -> int:
    return int.from_bytes(data[pos : pos + width], "big")


def _special(data: Bytes, pos: int, tag: int) -> tuple[int, int]:
    after = _AFTER_NODE.get(tag)
    if after is not None:
        return _one_of(_ATOMS, data, pos + 1) + after, 0
    if tag in _REFERENCES:
        words = _number(data, pos + 1, 2)
        return _one_of(_ATOMS, data, pos + 3) + _REFERENCES[tag] + 4 * words, 0
    if tag == _EXPORT:
        arity = _one_of(_ATOMS, data, _one_of(_ATOMS, data, pos + 1))
        return _one_of(_BYTE, data, arity), 0
    if tag == _NEW_FUN:
        module = pos + 1 + _NEW_FUN_HEAD
        return _after_module(data, module, _PIDS), 1 + _number(data, pos + 26, 4)
    if tag == _FUN:
        module = _after_pid(data, pos + 5)
        return _after_module(data, module, None), _number(data, pos + 1, 4)
    raise TermError(f"no external term starts with {tag}, at byte {pos}")


def _after_module(data: Bytes, pos: int, then: frozenset[int] | None) -> int:
    """After the module, index and uniq of a fun; `then` are the tags that may follow."""
    index = _one_of(_ATOMS, data, pos)
    end = _one_of(_INTEGERS, data, _one_of(_INTEGERS, data, index))
    if then is not None and (end >= len(data) or data[end] not in then):
        raise TermError(f"the pid of a fun is expected at byte {end}")
    return end


def _after_pid(data: Bytes, pos: int) -> int:
    if pos >= len(data) or data[pos] not in _PIDS:
        raise TermError(f"the pid of a fun is expected at byte {pos}")
    return _special(data, pos, data[pos])[0]


def _one_of(tags: frozenset[int], data: Bytes, pos: int) -> int:
    """After the simple term at `pos`, which has one of these tags."""
    if pos >= len(data) or data[pos] not in tags:
        raise TermError(f"an atom or a number of another type is expected at byte {pos}")
    end, _ = _counted(data, pos + 1, _SHAPES[data[pos]])
    return end


def is_opaque(external: bytes) -> bool:
    """Whether these bytes are exactly one identifier, fun or bit string."""
    try:
        return external[:1] != b"" and external[0] in OPAQUE_TAGS and _is_whole(external)
    except TermError:
        return False


def _is_whole(external: bytes) -> bool:
    return scan(external, 0) == len(external)
