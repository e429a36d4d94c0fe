# SPDX-License-Identifier: Apache-2.0
"""Where a decoding of the pure codec is, and what it may still take.

Runs in the thread that calls. Nothing is believed: a count is held against the bytes that are
left before anything is made of it, and containers are charged to a budget of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from ._codec_common import MAX_KEY_DEPTH
from .errors import TermError
from .terms import MAX_ATOM_CHARACTERS

ATOM_TAGS: Final = frozenset((100, 115, 118, 119))


class Reader:
    """One decoding under way: where it is, and what it may still take."""

    __slots__ = ("budget", "data", "end", "key_depth", "max_depth", "owed", "pos", "readers")

    def __init__(
        self, data: bytes, pos: int, readers: Readers, max_depth: int, budget: int
    ) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data)
        self.readers = readers
        self.max_depth = max_depth
        self.budget = budget
        self.key_depth = 0
        # Terms that the containers around here have yet to come, of a byte each at least.
        self.owed = 0

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

    def next_is(self, *tags: int) -> bool:
        """Whether the next term has one of these tags, which is then behind the reader."""
        if self.pos == self.end or self.data[self.pos] not in tags:
            return False
        self.pos += 1
        return True

    def enter_key(self) -> int:
        """The tag of a key of a map, with which the keys nest one level deeper."""
        self.key_depth += 1
        if self.key_depth > MAX_KEY_DEPTH:
            self.fail(f"maps are keys of maps more than {MAX_KEY_DEPTH} levels deep")
        self.pos += 1
        return self.data[self.pos - 1]

    def enter(self, count: int, depth: int, cost: int) -> None:
        """Before a container with at least `count` bytes of elements is read."""
        if count > self.end - self.pos - self.owed:
            self.fail(f"a count of {count} is more than the bytes that follow")
        self.owed += count
        if depth >= self.max_depth:
            self.fail(f"nests deeper than {self.max_depth} levels")
        self.charge(cost)

    def charge(self, cost: int) -> None:
        self.budget -= cost
        if self.budget < 0:
            self.fail("would take too much memory")


Read = Callable[[Reader, int], object]
Readers = list[Read]


def atom_text(reader: Reader, tag: int) -> str:
    raw = reader.take(reader.number(2 if tag in (100, 118) else 1))
    try:
        text = raw.decode("latin-1" if tag in (100, 115) else "utf-8")
    except UnicodeDecodeError:
        reader.fail("an atom is not UTF-8")
    if len(text) > MAX_ATOM_CHARACTERS:
        reader.fail(f"an atom has {len(text)} characters, more than {MAX_ATOM_CHARACTERS}")
    return text
