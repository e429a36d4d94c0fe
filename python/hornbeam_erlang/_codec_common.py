# SPDX-License-Identifier: Apache-2.0
"""What both twins of the term codec share: limits, and the rare values that need no speed.

Runs in the thread that encodes or decodes. Pure, but for a look at whether NumPy was imported.
"""

from __future__ import annotations

import math
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .errors import TermError
from .terms import BitString, Fun, ImproperList, Pid, Port, Ref

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH: Final = 256
"""Containers a value may stand in, one inside the other."""
DEPTH_CEILING: Final = 1024
"""What `max_depth` may be raised to: the codec recurses on the C stack."""
MAX_SIZE: Final = 32 * 1024 * 1024
"""Bytes of an encoded value (PROTOCOL.md, section 9)."""
MAX_PACKET: Final = 64 * 1024 * 1024
"""Bytes of an encoded packet (PROTOCOL.md, section 9)."""
MEMORY_FACTOR: Final = 16
"""Times `max_size`: what the containers of a decoded value may take, as estimated below."""
MAX_KEY_DEPTH: Final = 8
"""Maps inside keys of maps. Tuples do not remember their hash, so deeper ones cost the square."""
MAX_COLLISIONS: Final = 32
"""Keys of one map with the same hash. Whoever sends more does so to make the dict slow."""

# Estimated bytes of Python memory, headers for the garbage collector included.
COST_LIST: Final = 72
COST_TUPLE: Final = 56
COST_SLOT: Final = 8
COST_DICT: Final = 240
COST_ENTRY: Final = 64


class Unencodable(Exception):
    """Some value inside has no term; `explain` then finds which, at leisure."""


@dataclass(slots=True)
class ArrayParts:
    """A NumPy array taken apart: the fields of `{ndarray, Dtype, Shape, Binary}`."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


class Raw(bytes):
    """External bytes of one term, to be written as they are."""

    __slots__ = ()


def limits(max_depth: int, max_size: int) -> None:
    """Checks the limits a caller gave. Raises ValueError."""
    if not 0 <= max_depth <= DEPTH_CEILING:
        raise ValueError(f"max_depth is 0 to {DEPTH_CEILING}, got {max_depth}")
    if max_size < 1:
        raise ValueError(f"max_size is 1 or more, got {max_size}")


# -- encoding ------------------------------------------------------------------------------------


def adapt(value: object) -> Raw | ArrayParts | bytes | int | float:
    """What to write for a value of no built-in type. Raises Unencodable."""
    writer = EXTERNAL.get(type(value))
    if writer is not None:
        return Raw(writer(value))
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise Unencodable
    if isinstance(value, numpy.ndarray):
        return array_parts(value, numpy)
    if isinstance(value, numpy.bool_ | numpy.integer | numpy.floating):
        native = value.item()
        if isinstance(native, bool | int | float):
            return native
        return float(value)
    raise Unencodable


def array_parts(array: Any, numpy: Any) -> ArrayParts:
    """Takes an array apart, without a copy where it is C-contiguous. Raises Unencodable."""
    dtype = array.dtype
    if dtype.hasobject or numpy.dtype(dtype.str) != dtype:
        raise Unencodable
    flat = numpy.ascontiguousarray(array).reshape(-1)
    data = flat.view(numpy.uint8).data if flat.nbytes else b""
    return ArrayParts(dtype.str, tuple(array.shape), data)


def contiguous(value: bytearray | memoryview) -> bytes | bytearray | memoryview:
    """A bytes-like value whose memory is one piece; copied only when it is not."""
    if isinstance(value, memoryview) and not value.c_contiguous:
        return value.tobytes()
    return value


def _external_atom(name: str) -> bytes:
    raw = str.encode(name)
    if len(raw) < 256:
        return bytes((119, len(raw))) + raw
    return struct.pack(">BH", 118, len(raw)) + raw


def _external_pid(pid: Pid) -> bytes:
    numbers = struct.pack(">III", pid.id, pid.serial, pid.creation)
    return pid.external or b"X" + _external_atom(pid.node) + numbers


def _external_port(port: Port) -> bytes:
    if port.external:
        return port.external
    if port.id < 1 << 28:
        return b"Y" + _external_atom(port.node) + struct.pack(">II", port.id, port.creation)
    return b"x" + _external_atom(port.node) + struct.pack(">QI", port.id, port.creation)


def _external_ref(ref: Ref) -> bytes:
    if ref.external:
        return ref.external
    count = len(ref.words)
    numbers = struct.pack(f">I{count}I", ref.creation, *ref.words)
    return struct.pack(">BH", 90, count) + _external_atom(ref.node) + numbers


def _external_fun(fun: Fun) -> bytes:
    return fun.external


def _external_bits(string: BitString) -> bytes:
    return struct.pack(">BIB", 77, len(string.data), string.bits) + string.data


EXTERNAL: Final[dict[type, Callable[[Any], bytes]]] = {
    Pid: _external_pid,
    Port: _external_port,
    Ref: _external_ref,
    Fun: _external_fun,
    BitString: _external_bits,
}
OPAQUE_TAGS: Final = frozenset(b"gXfYxer" + b"Zuqp" + b"M")
"""First bytes an external term of these types may have."""


# -- decoding ------------------------------------------------------------------------------------


def freeze(key: object) -> object:
    """A hashable stand-in for a key that is not: tuples for lists, maps and arrays.

    A map becomes a tuple of pairs, ordered by their keys' text so that equal maps stay equal.
    """
    if isinstance(key, list | tuple):
        return tuple([freeze(item) for item in key])
    if isinstance(key, dict):
        return tuple(sorted([(k, freeze(v)) for k, v in key.items()], key=lambda kv: repr(kv[0])))
    if isinstance(key, ImproperList):
        return ImproperList(tuple([freeze(item) for item in key.elements]), freeze(key.tail))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(key, numpy.ndarray):
        return ("ndarray", key.dtype.str, key.shape, key.tobytes())
    return key


def note_hash(seen: dict[int, int], key: object) -> None:
    """Counts the keys of a map that hash alike. Raises TermError beyond MAX_COLLISIONS."""
    code = hash(key)
    count = seen.get(code, 0) + 1
    if count > MAX_COLLISIONS:
        raise TermError(f"more than {MAX_COLLISIONS} keys of a map have the same hash")
    seen[code] = count


def make_array(dtype: bytes, shape: tuple[object, ...], data: bytes | memoryview) -> Any:
    """The array of `{ndarray, Dtype, Shape, Binary}`; None when NumPy was not imported.

    Raises TermError when the three fields do not fit each other.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    try:
        kind = numpy.dtype(dtype.decode("ascii"))
        if kind.hasobject or kind.str.encode() != dtype:
            raise TermError(f"{dtype!r} is no plain NumPy dtype")
        return _filled(numpy, kind, shape, data)
    except (TypeError, ValueError, SyntaxError) as exc:
        raise TermError(f"not a NumPy array: {exc}") from exc


def _filled(numpy: Any, kind: Any, shape: tuple[Any, ...], data: bytes | memoryview) -> Any:
    if math.prod(shape) * kind.itemsize != len(data):
        raise TermError(f"an array of {kind.str} and shape {shape} does not have {len(data)} bytes")
    if not data:
        return numpy.empty(shape, kind)
    return numpy.frombuffer(data, kind).reshape(shape).copy()


_FLOAT_TEXT: Final = re.compile(rb"[ ]*[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?\0*")


def old_float(raw: bytes) -> float:
    """The value of FLOAT_EXT: 31 bytes of text, filled up with zeros. Raises TermError."""
    if not _FLOAT_TEXT.fullmatch(raw):
        raise TermError(f"FLOAT_EXT does not hold a float but {raw!r}")
    value = float(raw.rstrip(b"\0"))
    if not math.isfinite(value):
        raise TermError(f"FLOAT_EXT is out of range: {raw!r}")
    return value


def inflate(data: bytes | memoryview, max_size: int) -> bytes:
    """The term inside a compressed one: `data` is what follows `131, 80`. Raises TermError."""
    if len(data) < 4:
        raise TermError("the bytes end inside the head of a compressed term")
    size = int.from_bytes(data[:4], "big")
    if size > max_size:
        raise TermError(f"a compressed term of {size} bytes is larger than {max_size}")
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(data[4:], size + 1)
    except zlib.error as exc:
        raise TermError(f"a compressed term cannot be inflated: {exc}") from exc
    if len(plain) != size or not machine.eof:
        raise TermError(f"a compressed term does not have the {size} bytes it announces")
    if machine.unused_data:
        raise TermError(f"{len(machine.unused_data)} bytes follow the compressed term")
    return plain
