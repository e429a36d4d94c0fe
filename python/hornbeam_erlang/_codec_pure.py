# SPDX-License-Identifier: Apache-2.0
"""The term codec in pure Python: the twin of `_codec_compiled`, with the same interface.

Runs in the thread that calls. It serves where the compiled one was not built, and the tests hold
the two against each other. `encode` and `decode` are the value layer (what applications pass to
calls), `encode_wire` and `decode_wire` the message layer (PROTOCOL.md, section 3).
"""

from __future__ import annotations

from typing import TypeVar

from ._codec_common import MAX_DEPTH, MAX_PACKET, MAX_SIZE, limits
from ._codec_pure_decode import VALUE_READERS, WIRE_READERS, read
from ._codec_pure_encode import VALUE_WRITERS, WIRE_WRITERS, write
from ._codec_pure_expand import expand as _expand
from ._fields import is_open
from .errors import TermError

__all__ = [
    "NAME",
    "decode",
    "decode_wire",
    "encode",
    "encode_wire",
    "encode_wire_packet",
    "encode_wire_parts",
    "expand",
    "is_open",
]

NAME = "pure"

Message = TypeVar("Message", bound=tuple[object, ...])


def encode(value: object, *, max_depth: int = MAX_DEPTH, max_size: int = MAX_SIZE) -> bytes:
    """The external term of an application's value.

    Args:
        value: None, bool, int, finite float, str, bytes-like, list, tuple, dict, NumPy array or
            scalar, or a class of `hornbeam_erlang.terms`, nested as needed.
        max_depth: how many containers a value may stand in, 0 to 1024.
        max_size: bytes of the result at most.

    Raises:
        TermError: some part has no term, with its path; or a limit is exceeded.
    """
    return write(value, VALUE_WRITERS, b"", max_depth, max_size)


def decode(data: object, *, max_depth: int = MAX_DEPTH, max_size: int = MAX_SIZE) -> object:
    """The value of an external term, compressed or not.

    Args:
        data: the bytes of one term, with nothing after it (bytes-like).
        max_depth: how many containers a value may stand in, 0 to 1024.
        max_size: bytes of the term at most, once inflated; the containers of the value may take
            16 times as much memory.

    Raises:
        TermError: the bytes are not such a term, or a limit is exceeded.
    """
    return read(data, VALUE_READERS, max_depth, max_size)


def encode_wire(term: object, *, max_depth: int = MAX_DEPTH, max_size: int = MAX_PACKET) -> bytes:
    """The external term of a message: None, bool, ints of 64 bits, bytes-like, list, tuple, dict.

    Raises:
        TermError: some part is anything else, with its path; or a limit is exceeded.
    """
    return write(term, WIRE_WRITERS, b"", max_depth, max_size)


def encode_wire_packet(messages: list[Message]) -> bytes:
    """A packet that holds these messages: its length as u32, big endian, then the list of them.

    Raises:
        TermError: as `encode_wire`; or there are no messages.
    """
    return write(messages, WIRE_WRITERS, b"\0\0\0\0", MAX_DEPTH, MAX_PACKET)


def encode_wire_parts(messages: list[Message]) -> list[bytes]:
    """The same packet in parts, for a write that joins them: the compiled twin does not copy
    large binaries (of 16 KiB or more) into it.

    Raises:
        TermError: as `encode_wire_packet`.
    """
    return [encode_wire_packet(messages)]


def decode_wire(data: object, *, max_depth: int = MAX_DEPTH, max_size: int = MAX_PACKET) -> object:
    """The term of a packet: as `encode_wire` takes them, every binary as bytes.

    Raises:
        TermError: the bytes are not such a term, or a limit is exceeded.
    """
    return read(data, WIRE_READERS, max_depth, max_size)


def expand(
    data: bytes, pos: int, atoms: list[bytes], *, max_size: int = MAX_PACKET
) -> tuple[bytes, int]:
    """The external term at `pos` of a distribution message, and the position after it.

    Args:
        data: the message, after its distribution header.
        pos: where a term starts, without a version byte.
        atoms: what ATOM_CACHE_REF numbers in it stand for: external terms without version byte.
        max_size: bytes of the result at most.

    Returns:
        The term with its version byte and its atoms written out; whether it is legal is not
        looked at beyond the sizes of its parts.

    Raises:
        TermError: no term starts there, it is not whole, or it is too large.
    """
    limits(MAX_DEPTH, max_size)
    if type(data) is not bytes or not 0 <= pos <= len(data):
        raise TermError("a message is bytes, and a term starts inside of it")
    return _expand(data, pos, atoms, max_size)
