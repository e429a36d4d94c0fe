# SPDX-License-Identifier: Apache-2.0
"""The encoding half of the pure codec: one writer per Python type, in a table per layer.

Runs in the thread that calls. A writer appends to `Writer.out`; what has no writer raises
Unencodable, of which `_codec_explain` makes the error people read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Final

from ._codec_common import ArrayParts, Raw, Unencodable, adapt, contiguous, limits
from ._codec_explain import explain
from ._codec_scan import is_opaque
from .errors import TermError
from .terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

_TAG_INT32: Final = struct.Struct(">Bi").pack
_TAG_U32: Final = struct.Struct(">BI").pack
_TAG_DOUBLE: Final = struct.Struct(">Bd").pack
_TAG_U16: Final = struct.Struct(">BH").pack

_NONE: Final = b"w\x09undefined"
_TRUE: Final = b"w\x04true"
_FALSE: Final = b"w\x05false"
_BYTES_PAIR: Final = b"h\x02w\x05bytes"
_NDARRAY: Final = b"h\x04w\x07ndarray"


class Writer:
    """One encoding under way: its output, its limits and the writers of its layer."""

    __slots__ = ("max_depth", "max_size", "out", "writers")

    def __init__(self, writers: Writers, prefix: bytes, max_depth: int, max_size: int) -> None:
        self.out = bytearray(prefix + b"\x83")
        self.writers = writers
        self.max_depth = max_depth
        self.max_size = max_size + len(prefix)

    def room(self, size: int) -> None:
        """Refuses `size` further bytes where they exceed the limit, before they are copied."""
        if len(self.out) + size > self.max_size:
            raise Unencodable


Write = Callable[[Writer, Any, int], None]
Writers = dict[type, Write]


def write(value: object, writers: Writers, prefix: bytes, max_depth: int, max_size: int) -> bytes:
    """Encodes a value after `prefix`, which is empty or four bytes for the length."""
    limits(max_depth, max_size)
    if prefix and (not isinstance(value, list) or not value):
        raise TermError("a packet is a list of at least one message")
    writer = Writer(writers, prefix, max_depth, max_size)
    try:
        _writer_of(writers, type(value))(writer, value, 0)
        writer.room(0)
    except RecursionError:
        raise TermError("nests deeper than Python's recursion limit leaves room for") from None
    except (Unencodable, UnicodeEncodeError):
        wire = writers is WIRE_WRITERS
        raise explain(value, wire=wire, max_depth=max_depth, max_size=max_size) from None
    if prefix:
        writer.out[:4] = (len(writer.out) - 4).to_bytes(4, "big")
    return bytes(writer.out)


def _writer_of(writers: Writers, kind: type) -> Write:
    """The writer of a type, or of the first of its bases that has one."""
    for base in kind.__mro__:
        writer = writers.get(base)
        if writer is not None:
            return writer
    return writers[object]


def _none(writer: Writer, _value: None, _depth: int) -> None:
    writer.out += _NONE


def _bool(writer: Writer, value: bool, _depth: int) -> None:
    writer.out += _TRUE if value else _FALSE


def _int(writer: Writer, value: int, _depth: int) -> None:
    if 0 <= value < 256:
        writer.out += bytes((97, value))
    elif -0x80000000 <= value <= 0x7FFFFFFF:
        writer.out += _TAG_INT32(98, value)
    else:
        _big(writer, value)


def _big(writer: Writer, value: int) -> None:
    magnitude = abs(value)
    size = (magnitude.bit_length() + 7) // 8
    writer.room(size)
    writer.out += bytes((110, size)) if size < 256 else _TAG_U32(111, size)
    writer.out.append(value < 0)
    writer.out += magnitude.to_bytes(size, "little")


def _wire_int(writer: Writer, value: int, depth: int) -> None:
    if not -(1 << 63) <= value < 1 << 64:
        raise Unencodable
    _int(writer, value, depth)


def _float(writer: Writer, value: float, _depth: int) -> None:
    if not math.isfinite(value):
        raise Unencodable
    writer.out += _TAG_DOUBLE(70, value)


def _binary(writer: Writer, value: bytes | bytearray | memoryview, _depth: int) -> None:
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    writer.room(size)
    writer.out += _TAG_U32(109, size)
    writer.out += value


def _wire_buffer(writer: Writer, value: bytearray | memoryview, depth: int) -> None:
    try:
        _binary(writer, contiguous(value), depth)
    except ValueError:  # a released memoryview
        raise Unencodable from None


def _bytes(writer: Writer, value: bytes, depth: int) -> None:
    writer.out += _BYTES_PAIR
    _binary(writer, value, depth)


def _buffer(writer: Writer, value: bytearray | memoryview, depth: int) -> None:
    writer.out += _BYTES_PAIR
    _wire_buffer(writer, value, depth)


def _str(writer: Writer, value: str, depth: int) -> None:
    _binary(writer, str.encode(value), depth)


def _atom(writer: Writer, value: Atom, _depth: int) -> None:
    raw = str.encode(value)
    writer.out += bytes((119, len(raw))) if len(raw) < 256 else _TAG_U16(118, len(raw))
    writer.out += raw


# A level of nesting is one Python frame, hence the same loop in each container. What may change
# while code of an element runs is copied first: its size has been written by then.


def _enter(writer: Writer, depth: int) -> int:
    """The depth of the elements of a container that itself stands in `depth` others."""
    if depth >= writer.max_depth:
        raise Unencodable
    writer.room(0)
    return depth + 1


def _list(writer: Writer, value: list[object], depth: int) -> None:
    if value:
        writer.out += _TAG_U32(108, len(value))
        below = _enter(writer, depth)
        writers = writer.writers
        for item in value[:]:
            kind = type(item)
            (writers.get(kind) or _writer_of(writers, kind))(writer, item, below)
    writer.out.append(106)


def _tuple(writer: Writer, value: tuple[object, ...], depth: int) -> None:
    size = len(value)
    writer.out += bytes((104, size)) if size < 256 else _TAG_U32(105, size)
    if not size:
        return
    below = _enter(writer, depth)
    writers = writer.writers
    for item in value:
        kind = type(item)
        (writers.get(kind) or _writer_of(writers, kind))(writer, item, below)


def _dict(writer: Writer, value: dict[object, object], depth: int) -> None:
    writer.out += _TAG_U32(116, len(value))
    if not value:
        return
    below = _enter(writer, depth)
    writers = writer.writers
    for pair in list(value.items()):
        for part in pair:
            kind = type(part)
            (writers.get(kind) or _writer_of(writers, kind))(writer, part, below)


def _improper(writer: Writer, value: ImproperList, depth: int) -> None:
    writer.out += _TAG_U32(108, len(value.elements))
    below = _enter(writer, depth)
    for item in (*value.elements, value.tail):
        _writer_of(writer.writers, type(item))(writer, item, below)


def _adapted(writer: Writer, value: object, depth: int) -> None:
    native = adapt(value)
    if isinstance(native, ArrayParts):
        _array(writer, native, depth)
    elif isinstance(native, Raw):
        if not is_opaque(native):
            raise Unencodable
        writer.room(len(native))
        writer.out += native
    else:
        VALUE_WRITERS[type(native)](writer, native, depth)


def _array(writer: Writer, parts: ArrayParts, depth: int) -> None:
    writer.out += _NDARRAY
    _str(writer, parts.dtype, depth)
    _tuple(writer, parts.shape, 0)
    _binary(writer, parts.data, depth)


def _refused(_writer: Writer, _value: object, _depth: int) -> None:
    raise Unencodable


WIRE_WRITERS: Final[Writers] = {
    type(None): _none,
    bool: _bool,
    int: _wire_int,
    bytes: _binary,
    bytearray: _wire_buffer,
    memoryview: _wire_buffer,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    object: _refused,
}
VALUE_WRITERS: Final[Writers] = {
    **WIRE_WRITERS,
    int: _int,
    float: _float,
    str: _str,
    Atom: _atom,
    bytes: _bytes,
    bytearray: _buffer,
    memoryview: _buffer,
    ImproperList: _improper,
    **dict.fromkeys((Pid, Port, Ref, Fun, BitString), _adapted),
    object: _adapted,
}
