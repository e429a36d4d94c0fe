# SPDX-License-Identifier: Apache-2.0
"""Readers of the pure codec for identifiers and funs: what Python keeps but does not look into.

Runs in the thread that calls.
"""

from __future__ import annotations

from typing import Final

from ._codec_pure_reader import ATOM_TAGS, Reader, atom_text
from ._codec_scan import scan
from .errors import TermError
from .terms import MAX_REF_WORDS, Atom, Fun, Pid, Port, Ref

_NEW_FUN: Final = 112


def _node(reader: Reader) -> Atom:
    tag = reader.number(1)
    if tag not in ATOM_TAGS:
        reader.fail(f"a node name is an atom, not tag {tag}")
    return Atom(atom_text(reader, tag))


def read_pid(reader: Reader, _depth: int) -> Pid:
    start = reader.pos - 1
    width = 4 if reader.data[start] == 88 else 1
    node = _node(reader)
    numbers = reader.number(4), reader.number(4), reader.number(width)
    return Pid(node, *numbers, external=reader.data[start : reader.pos])


def read_port(reader: Reader, _depth: int) -> Port:
    start = reader.pos - 1
    tag = reader.data[start]
    node = _node(reader)
    numbers = reader.number(8 if tag == 120 else 4), reader.number(1 if tag == 102 else 4)
    return Port(node, *numbers, external=reader.data[start : reader.pos])


def read_old_reference(reader: Reader, _depth: int) -> Ref:
    start = reader.pos - 1
    node = _node(reader)
    word, creation = reader.number(4), reader.number(1)
    return Ref(node, creation, (word,), external=reader.data[start : reader.pos])


def read_reference(reader: Reader, _depth: int) -> Ref:
    start = reader.pos - 1
    count = reader.number(2)
    if not 1 <= count <= MAX_REF_WORDS:
        reader.fail(f"a reference has 1 to {MAX_REF_WORDS} words, not {count}")
    node = _node(reader)
    creation = reader.number(4 if reader.data[start] == 90 else 1)
    words = tuple([reader.number(4) for _ in range(count)])
    return Ref(node, creation, words, external=reader.data[start : reader.pos])


def read_fun(reader: Reader, _depth: int) -> Fun:
    start = reader.pos - 1
    data = reader.data
    try:
        stop = scan(data, start)
    except TermError:
        reader.fail("a fun is malformed, or the bytes end inside it")
    if data[start] == _NEW_FUN and int.from_bytes(data[start + 1 : start + 5]) + 1 != stop - start:
        reader.fail("a fun does not have the size it announces")
    reader.pos = stop
    return Fun(data[start:stop])
