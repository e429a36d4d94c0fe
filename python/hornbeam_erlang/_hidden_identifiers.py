# SPDX-License-Identifier: Apache-2.0
"""Pids and references that a Python node gives to its own processes and requests.

Runs in any thread. Numbers are not given again within one creation of the node.
"""

from __future__ import annotations

import itertools
import secrets
import struct
from dataclasses import replace
from typing import Final

from . import codec
from .terms import Atom, Pid, Ref

__all__ = ["Identifiers"]

# What nodes of any age take: 15 bits of id and 13 of serial in a pid, 18 bits in the first word of
# a reference. Beyond 2^28 processes the serial outgrows that, which nodes since OTP 24 take.
_ID_BITS: Final = 15
_WORD_BITS: Final = 18
_WORDS: Final = struct.Struct(">III")


class Identifiers:
    """The source of identifiers of one creation of a node.

    Args:
        name: of the node, with its host.
        creation: u32.
    """

    def __init__(self, name: str, creation: int) -> None:
        self._name = Atom(name)
        self._creation = creation
        self._pids = itertools.count(1)
        self._refs = itertools.count(1)
        # References of two nodes that were given the same creation still differ.
        self._salt = secrets.randbits(32)
        # A reference is encoded several times in a call: made with its external term, of which all
        # but the words is the same for all.
        self._ref_head = codec.encode(Ref(self._name, creation, (0, 0, 0)))[1 : -_WORDS.size]

    def pid(self) -> Pid:
        """A pid that was not given before."""
        number = next(self._pids)
        id_, serial = number & ((1 << _ID_BITS) - 1), number >> _ID_BITS
        pid = Pid(self._name, id_, serial, self._creation)
        return replace(pid, external=codec.encode(pid)[1:])

    def ref(self) -> Ref:
        """A reference that was not given before."""
        number = next(self._refs)
        low, high = number & ((1 << _WORD_BITS) - 1), number >> _WORD_BITS & 0xFFFFFFFF
        words = low, high, self._salt
        external = self._ref_head + _WORDS.pack(*words)
        return Ref(self._name, self._creation, words, external=external)
