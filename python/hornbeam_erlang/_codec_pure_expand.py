# SPDX-License-Identifier: Apache-2.0
"""Terms of distribution messages made whole: cached atoms written out, the version byte put first.

Runs in the thread that calls. Only the structure is looked at; what the term says, and whether it
is legal at all, is for the decoder of whoever reads it. It does not recurse. Its compiled twin is
in `_codec_compiled`.
"""

from __future__ import annotations

from typing import Final

from .errors import TermError

CACHED_ATOM: Final = 82
_ATOM_WIDTHS: Final = {100: 2, 118: 2, 115: 1, 119: 1}
_FUN: Final = 117
_NEW_FUN: Final = 112
# What follows the tag: (bytes of the length or count, fixed bytes, terms per count, more terms).
# With no terms per count, the count is a number of bytes.
_SHAPES: Final[dict[int, tuple[int, int, int, int]]] = {
    70: (0, 8, 0, 0),  # NEW_FLOAT_EXT
    77: (4, 1, 0, 0),  # BIT_BINARY_EXT
    97: (0, 1, 0, 0),  # SMALL_INTEGER_EXT
    98: (0, 4, 0, 0),  # INTEGER_EXT
    99: (0, 31, 0, 0),  # FLOAT_EXT
    104: (1, 0, 1, 0),  # SMALL_TUPLE_EXT
    105: (4, 0, 1, 0),  # LARGE_TUPLE_EXT
    106: (0, 0, 0, 0),  # NIL_EXT
    107: (2, 0, 0, 0),  # STRING_EXT
    108: (4, 0, 1, 1),  # LIST_EXT
    109: (4, 0, 0, 0),  # BINARY_EXT
    110: (1, 1, 0, 0),  # SMALL_BIG_EXT
    111: (4, 1, 0, 0),  # LARGE_BIG_EXT
    116: (4, 0, 2, 0),  # MAP_EXT
    **{tag: (width, 0, 0, 0) for tag, width in _ATOM_WIDTHS.items()},
    113: (0, 0, 0, 3),  # EXPORT_EXT: module, function, arity
    _FUN: (4, 0, 1, 4),  # pid, module, index, uniq, free variables
}
# Identifiers: bytes before the node, and after it (of a reference: beside its words).
_IDENTIFIERS: Final = {
    88: (0, 12),  # NEW_PID_EXT
    89: (0, 8),  # NEW_PORT_EXT
    90: (2, 4),  # NEWER_REFERENCE_EXT
    101: (0, 5),  # REFERENCE_EXT
    102: (0, 5),  # PORT_EXT
    103: (0, 9),  # PID_EXT
    114: (2, 1),  # NEW_REFERENCE_EXT
    120: (0, 12),  # V4_PORT_EXT
}
_NEW_FUN_HEAD: Final = 29  # size, arity, uniq, index and count of free variables


class _Expansion:
    """One term under way: what was read, what was written, and funs whose size may change."""

    __slots__ = ("atoms", "copied", "data", "funs", "limit", "out", "pending", "pos")

    def __init__(self, data: bytes, pos: int, atoms: list[bytes], limit: int) -> None:
        self.data = data
        self.pos = self.copied = pos
        self.atoms = atoms
        self.limit = limit
        self.out = bytearray(b"\x83")
        self.pending = 1
        # Funs around here: where they start in `data` and `out`, terms pending when they are whole.
        self.funs: list[tuple[int, int, int]] = []

    def run(self) -> tuple[bytes, int]:
        while self.pending:
            if self.pending > len(self.data) - self.pos:  # each takes a byte at least
                self.short()
            self.pending -= 1
            self.term()
            if self.pos > len(self.data):
                self.short()
            while self.funs and self.funs[-1][2] == self.pending:
                self.end_fun(*self.funs.pop()[:2])
        self.flush()
        return bytes(self.out), self.pos

    def term(self) -> None:
        tag = self.data[self.pos]
        shape = _SHAPES.get(tag)
        if shape is not None:
            width, fixed, per_count, more = shape
            count = self.number(1, width)
            self.pos += 1 + width + fixed
            if per_count:
                self.pending += count * per_count
            else:
                self.pos += count
            self.pending += more
        elif tag == CACHED_ATOM:
            self.atom()
        elif tag in _IDENTIFIERS:
            self.identifier(*_IDENTIFIERS[tag])
        elif tag == _NEW_FUN:
            self.begin_fun()
        else:
            raise TermError(f"no term of a message starts with {tag}, at byte {self.pos}")

    def number(self, offset: int, width: int) -> int:
        start = self.pos + offset
        if width > len(self.data) - start:
            self.short()
        return int.from_bytes(self.data[start : start + width], "big")

    def atom(self) -> None:
        """Writes a cached atom out."""
        self.flush()
        index = self.number(1, 1)
        if index >= len(self.atoms):
            raise TermError(f"there is no cached atom {index}, at byte {self.pos}")
        self.out += self.atoms[index]
        if len(self.out) > self.limit:
            raise TermError(f"a term with its atoms written out is larger than {self.limit}")
        self.pos += 2
        self.copied = self.pos

    def identifier(self, before: int, after: int) -> None:
        words = 4 * self.number(1, before)
        self.pos += 1 + before
        tag = self.number(0, 1)
        if tag == CACHED_ATOM:
            self.atom()
        elif tag in _ATOM_WIDTHS:
            width = _ATOM_WIDTHS[tag]
            self.pos += 1 + width + self.number(1, width)
        else:
            raise TermError(f"a node name is an atom, not tag {tag}, at byte {self.pos}")
        self.pos += after + words

    def begin_fun(self) -> None:
        free = self.number(26, 4)
        self.flush()
        self.funs.append((self.pos, len(self.out), self.pending))
        self.pending += 4 + free  # module, index, uniq, pid, free variables
        self.pos += 1 + _NEW_FUN_HEAD

    def end_fun(self, start: int, at: int) -> None:
        """Adds to the size of a fun that is whole what its cached atoms have added."""
        self.flush()
        growth = len(self.out) - at - (self.pos - start)
        size = int.from_bytes(self.out[at + 1 : at + 5], "big") + growth
        self.out[at + 1 : at + 5] = (size & 0xFFFFFFFF).to_bytes(4, "big")

    def flush(self) -> None:
        """Writes what was read and not written yet."""
        if len(self.out) + self.pos - self.copied > self.limit:
            raise TermError(f"a term is larger than {self.limit}")
        self.out += self.data[self.copied : self.pos]
        self.copied = self.pos

    def short(self) -> None:
        raise TermError(f"the bytes end inside a term, at byte {len(self.data)}")


def expand(data: bytes, pos: int, atoms: list[bytes], limit: int) -> tuple[bytes, int]:
    """The term that starts at `pos`, as an external term, and the position after it."""
    return _Expansion(data, pos, atoms, limit).run()
