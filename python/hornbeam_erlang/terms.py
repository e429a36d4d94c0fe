# SPDX-License-Identifier: Apache-2.0
"""Erlang terms that Python has no type of its own for.

Runs in any thread: all of them are immutable, slotted, comparable with `==` and hashable (an
`ImproperList` when its elements are). Identifiers are opaque: they come from the node and go back
to it. They keep the bytes they arrived as, which take no part in comparison, so that one that was
written with an older tag of the external term format leaves as it came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from .errors import TermError

__all__ = ["Atom", "BitString", "Fun", "ImproperList", "Pid", "Port", "Ref"]

MAX_ATOM_CHARACTERS: Final = 255
MAX_REF_WORDS: Final = 5


class Atom(str):
    """An Erlang atom. It is a `str` of at most 255 characters, so `Atom("ok") == "ok"`.

    The node accepts existing atoms only. `undefined`, `nil`, `true` and `false` arrive as None,
    None, True and False.

    Raises:
        TermError: the text is longer than 255 characters.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if len(text) > MAX_ATOM_CHARACTERS:
            raise TermError(f"an atom has at most 255 characters, this text has {len(text)}")
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"Atom({str.__repr__(self)})"


def _raw_bytes() -> bytes:
    return field(default=b"", repr=False, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Pid:
    """An Erlang process identifier.

    Attributes:
        node: name of its node.
        id, serial: u32 numbers of the process.
        creation: u32, tells incarnations of the node apart.
    """

    node: Atom
    id: int
    serial: int
    creation: int
    external: bytes = _raw_bytes()

    def __post_init__(self) -> None:
        _check_words(self, self.id, self.serial, self.creation)


@dataclass(frozen=True, slots=True)
class Port:
    """An Erlang port identifier.

    Attributes:
        node: name of its node.
        id: u64.
        creation: u32, tells incarnations of the node apart.
    """

    node: Atom
    id: int
    creation: int
    external: bytes = _raw_bytes()

    def __post_init__(self) -> None:
        _check_words(self, self.id >> 32, self.id & 0xFFFFFFFF, self.creation)


@dataclass(frozen=True, slots=True)
class Ref:
    """An Erlang reference.

    Attributes:
        node: name of its node.
        creation: u32, tells incarnations of the node apart.
        words: one to five u32, the first of them the lowest.
    """

    node: Atom
    creation: int
    words: tuple[int, ...]
    external: bytes = _raw_bytes()

    def __post_init__(self) -> None:
        if not 1 <= len(self.words) <= MAX_REF_WORDS:
            raise TermError(f"a reference has 1 to 5 words, this one {len(self.words)}")
        _check_words(self, self.creation, *self.words)


def _check_words(term: object, *words: int) -> None:
    if not all(0 <= word <= 0xFFFFFFFF for word in words):
        raise TermError(f"{term!r} holds a number that is out of range")


@dataclass(frozen=True, slots=True)
class Fun:
    """An Erlang fun, local or external (`fun M:F/A`). Python cannot look into it.

    Attributes:
        external: its external term, without the version byte. Funs are equal when these are.
    """

    external: bytes

    def __repr__(self) -> str:
        return f"<Fun of {len(self.external)} bytes>"


@dataclass(frozen=True, slots=True)
class BitString:
    """A bit string that is not a whole number of bytes; one that is, is `bytes`.

    Attributes:
        data: the bytes; bits of the last one that are not used are cleared.
        bits: how many bits of the last byte are used, from the most significant: 1 to 7.
    """

    data: bytes
    bits: int

    def __post_init__(self) -> None:
        if not self.data or not 1 <= self.bits <= 7:
            raise TermError("a bit string has at least one byte, with 1 to 7 bits of the last used")
        last = self.data[-1] & (0xFF00 >> self.bits)
        object.__setattr__(self, "data", bytes(self.data[:-1]) + bytes([last & 0xFF]))


@dataclass(frozen=True, slots=True)
class ImproperList:
    """A list whose tail is no list: `[1, 2 | 3]` is `ImproperList((1, 2), 3)`.

    Attributes:
        elements: what stands before the bar, at least one.
        tail: what stands after it; never a list.
    """

    elements: tuple[object, ...]
    tail: object

    def __post_init__(self) -> None:
        if not isinstance(self.elements, tuple) or not self.elements:
            raise TermError("the elements of an improper list are a tuple with at least one entry")
        if isinstance(self.tail, list | ImproperList):
            raise TermError("the tail of an improper list is no list; append to the elements")
