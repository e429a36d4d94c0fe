# SPDX-License-Identifier: Apache-2.0
"""Bytes of a distribution connection to whole messages, and back.

Pure. Packets carry their length: in two bytes during the handshake, in four afterwards, where an
empty one is a tick. A message begins with a distribution header, whose atoms may be references to
a cache, and comes whole or in fragments; between nodes without such headers with byte 112.
Source: ERTS user's guide, "Distribution Header" of the external term format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ._distribution_errors import DistributionError
from .terms import MAX_ATOM_CHARACTERS

__all__ = ["CACHE_SIZE", "FRAGMENT", "AtomCache", "Fragments", "Limits", "Packets", "fragments"]

CACHE_SIZE: Final = 2048
"""Atoms that a peer may have cached."""
FRAGMENT: Final = 65536
"""Bytes of a message that are sent in one packet at most; OTP uses the same."""
HEADER_ROOM: Final = 512 * 1024
"""Bytes that a packet may have beyond a message: a distribution header of 255 long atoms."""
NORMAL: Final = 68
FIRST: Final = 69
NEXT: Final = 70
_IDS: Final = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may make this side keep.

    Attributes:
        message: bytes of one message, control message included.
        unfinished: messages of which fragments are missing.
        unfinished_bytes: bytes of them all.
    """

    message: int = 64 * 1024 * 1024
    unfinished: int = 4096
    unfinished_bytes: int = 256 * 1024 * 1024


class Packets:
    """Cuts a stream of bytes into packets.

    `width` is the bytes of their length, and may change between two packets.
    """

    __slots__ = ("_buffer", "_start", "maximum", "width")

    def __init__(self, width: int, maximum: int) -> None:
        self.width = width
        self.maximum = maximum
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> bytes | None:
        """The next packet without its length; None: it is not whole yet.

        Raises:
            DistributionError: it is longer than `maximum`.
        """
        body = self._start + self.width
        if len(self._buffer) < body:
            return None
        size = int.from_bytes(self._buffer[self._start : body], "big")
        if size > self.maximum:
            reason = f"{size} bytes are more than the {self.maximum} allowed here"
            raise DistributionError("packet", "Length", reason)
        if len(self._buffer) - body < size:
            return None
        self._start = body + size
        return bytes(memoryview(self._buffer)[body : self._start])

    def waiting(self) -> int:
        """Bytes that make no whole packet yet."""
        return len(self._buffer) - self._start


class AtomCache:
    """The atoms that a peer has sent, by their place in its cache: their external terms."""

    __slots__ = ("_atoms",)

    def __init__(self) -> None:
        self._atoms: dict[int, bytes] = {}

    def read(self, data: bytes, pos: int) -> tuple[list[bytes], int]:
        """The atoms that a header at `pos` names, and the position after it.

        Raises:
            DistributionError: the header is not whole, or names an atom that is not there.
        """
        try:
            count = data[pos]
            pos += 1
            return self._refs(data, pos, count) if count else ([], pos)
        except IndexError:
            reason = f"the message ends inside it, after {len(data)} bytes"
            raise DistributionError("distribution header", "AtomCacheRefs", reason) from None

    def _refs(self, data: bytes, start: int, count: int) -> tuple[list[bytes], int]:
        pos = start + count // 2 + 1
        # Four bits for each atom, the lower half of a byte first; one more says how long lengths
        # of texts are.
        width = 2 if data[start + count // 2] >> (count & 1) * 4 & 1 else 1
        atoms = []
        for number in range(count):
            bits = data[start + number // 2] >> (number & 1) * 4
            place = (bits & 7) << 8 | data[pos]
            pos += 1
            if bits & 8:
                pos = self._learn(data, pos, place, width)
            atom = self._atoms.get(place)
            if atom is None:
                reason = f"atom {place} of the cache was never sent"
                raise DistributionError("distribution header", "AtomCacheReferenceIndex", reason)
            atoms.append(atom)
        return atoms, pos

    def _learn(self, data: bytes, pos: int, place: int, width: int) -> int:
        size = data[pos] if width == 1 else data[pos] << 8 | data[pos + 1]
        pos += width
        raw = data[pos : pos + size]
        if len(raw) < size:
            raise IndexError
        try:
            characters = len(raw.decode())
        except UnicodeDecodeError:
            raise DistributionError("distribution header", "AtomText", "not UTF-8") from None
        if characters > MAX_ATOM_CHARACTERS:
            reason = f"{characters} characters are more than {MAX_ATOM_CHARACTERS}"
            raise DistributionError("distribution header", "AtomText", reason)
        head = bytes((119, size)) if size < 256 else b"v" + size.to_bytes(2, "big")
        self._atoms[place] = head + raw
        return pos + size


class Whole(NamedTuple):
    """A message that is complete: bytes, where its first term starts, atoms that it refers to."""

    data: bytes
    pos: int
    atoms: list[bytes]


@dataclass(slots=True)
class _Unfinished:
    atoms: list[bytes]
    due: int  # number of the next fragment; the last one is 1
    body: bytearray = field(default_factory=bytearray)


class Fragments:
    """Puts messages together that come in fragments, those of several messages in turns."""

    __slots__ = ("_bytes", "_limits", "_unfinished")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._unfinished: dict[int, _Unfinished] = {}
        self._bytes = 0

    def first(self, data: bytes, cache: AtomCache) -> Whole | None:
        """The message that `data` begins; None while more of it is to come.

        Raises:
            DistributionError: it is no legal fragment, or a limit is exceeded.
        """
        sequence, number = _numbers("fragment header", data)
        if sequence in self._unfinished:
            reason = f"message {sequence} has begun already"
            raise DistributionError("fragment header", "SequenceId", reason)
        atoms, pos = cache.read(data, 18)
        if number == 1:
            return Whole(data, pos, atoms)
        if len(self._unfinished) >= self._limits.unfinished:
            reason = f"more than {self._limits.unfinished} messages have fragments missing"
            raise DistributionError("fragment header", "SequenceId", reason)
        message = self._unfinished[sequence] = _Unfinished(atoms, number - 1)
        self._add(message, data, pos)
        return None

    def next(self, data: bytes) -> Whole | None:
        """The message that `data` completes; None while more of it is to come.

        Raises:
            DistributionError: as `first`.
        """
        sequence, number = _numbers("fragment", data)
        message = self._unfinished.get(sequence)
        if message is None:
            reason = f"message {sequence} has not begun"
            raise DistributionError("fragment", "SequenceId", reason)
        if number != message.due:
            reason = f"{number} instead of {message.due}"
            raise DistributionError("fragment", "FragmentId", reason)
        self._add(message, data, 18)
        message.due -= 1
        if message.due:
            return None
        del self._unfinished[sequence]
        self._bytes -= len(message.body)
        return Whole(bytes(message.body), 0, message.atoms)

    def _add(self, message: _Unfinished, data: bytes, pos: int) -> None:
        size = len(data) - pos
        self._bytes += size
        if len(message.body) + size > self._limits.message:
            reason = f"the message is larger than {self._limits.message} bytes"
            raise DistributionError("fragment", "", reason)
        if self._bytes > self._limits.unfinished_bytes:
            reason = f"unfinished messages have more than {self._limits.unfinished_bytes} bytes"
            raise DistributionError("fragment", "", reason)
        message.body += memoryview(data)[pos:]


def _numbers(frame: str, data: bytes) -> tuple[int, int]:
    if len(data) < 18:
        raise DistributionError(frame, "", f"ends after {len(data)} bytes")
    sequence, number = _IDS.unpack_from(data, 2)
    if not number:
        raise DistributionError(frame, "FragmentId", "0; the last fragment is 1")
    return sequence, number


def fragments(sequence: int, body: bytes, size: int = FRAGMENT) -> list[bytes]:
    """A message without cached atoms as packets of at most `size` bytes of it, lengths included.

    Args:
        sequence: u64 that no other message has which is under way on this connection.
        body: control message and payload, without version bytes.
        size: the control message has to fit in this.
    """
    count = -(-len(body) // size)
    view = memoryview(body)
    packets = []
    for index in range(count):
        piece = view[index * size : (index + 1) * size]
        kind = b"\x83E" if index == 0 else b"\x83F"
        head = kind + _IDS.pack(sequence, count - index) + (b"\0" if index == 0 else b"")
        packets.append(b"".join(((len(head) + len(piece)).to_bytes(4, "big"), head, piece)))
    return packets
