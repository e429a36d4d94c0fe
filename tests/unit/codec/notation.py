# SPDX-License-Identifier: Apache-2.0
"""Reads the term vectors and their notation (vectors/README.md); lists the twins to test.

Runs in the test process.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from hornbeam_erlang import _codec_compiled, _codec_pure
from hornbeam_erlang.terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

VECTORS: Final = Path(__file__).parents[3] / "apps/hornbeam/priv/protocol/vectors"


Message = TypeVar("Message", bound=tuple[object, ...])


class Codec(Protocol):
    """What both twins offer."""

    NAME: str

    def encode(self, value: object, *, max_depth: int = ..., max_size: int = ...) -> bytes: ...
    def decode(self, data: object, *, max_depth: int = ..., max_size: int = ...) -> object: ...
    def encode_wire(self, term: object, *, max_depth: int = ..., max_size: int = ...) -> bytes: ...
    def encode_wire_packet(self, messages: list[Message]) -> bytes: ...
    def encode_wire_parts(self, messages: list[Message]) -> list[bytes]: ...
    def is_open(self, message: tuple[object, ...]) -> bool: ...
    def decode_wire(self, data: object, *, max_depth: int = ..., max_size: int = ...) -> object: ...
    def expand(
        self, data: bytes, pos: int, atoms: list[bytes], *, max_size: int = ...
    ) -> tuple[bytes, int]: ...


TWINS: Final[tuple[Codec, ...]] = (_codec_compiled, _codec_pure)


def load(name: str) -> list[dict[str, Any]]:
    """The entries of a file of vectors, of which there must be many."""
    entries: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())
    assert len(entries) >= 100, name
    return entries


def raw(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry, which may be given in parts."""
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    return b"".join(bytes.fromhex(piece) * times for piece, times in entry["parts"])


def build(notation: dict[str, Any]) -> object:
    """The Python value that a notation describes."""
    ((kind, content),) = notation.items()
    return _BUILDERS[kind](content)


def _each(notations: list[dict[str, Any]]) -> list[object]:
    return [build(notation) for notation in notations]


_BUILDERS: Final[dict[str, Any]] = {
    "int": int,
    "float": lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
    "none": lambda _: None,
    "bool": bool,
    "atom": Atom,
    "str": str,
    "bytes": bytes.fromhex,
    "bits": lambda pair: BitString(bytes.fromhex(pair[0]), pair[1]),
    "list": _each,
    "tuple": lambda items: tuple(_each(items)),
    "improper": lambda pair: ImproperList(tuple(_each(pair[0])), build(pair[1])),
    "dict": lambda pairs: {build(key): build(value) for key, value in pairs},
    "pid": lambda parts: Pid(Atom(parts[0]), *parts[1:]),
    "port": lambda parts: Port(Atom(parts[0]), *parts[1:]),
    "ref": lambda parts: Ref(Atom(parts[0]), parts[1], tuple(parts[2])),
    "fun": lambda text: Fun(bytes.fromhex(text)),
}


def same(left: object, right: object) -> bool:
    """Whether two values are equal, of the same types throughout, in the same order.

    Unlike `==` it tells 1 from True and 1.0, "ok" from Atom("ok"), and 0.0 from -0.0.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        assert isinstance(right, list | tuple)
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        assert isinstance(right, dict)
        return len(left) == len(right) and _same_items(left, right)
    if isinstance(left, ImproperList):
        assert isinstance(right, ImproperList)
        return same(left.elements, right.elements) and same(left.tail, right.tail)
    if isinstance(left, np.ndarray):
        assert isinstance(right, np.ndarray)
        return (
            left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())
        )
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    return left == right


def _same_items(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    keys = {key: key for key in right}
    return all(
        key in keys and same(key, keys[key]) and same(value, right[key])
        for key, value in left.items()
    )
