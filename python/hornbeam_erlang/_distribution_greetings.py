# SPDX-License-Identifier: Apache-2.0
"""Messages of the distribution handshake, version 6: to bytes, and from bytes.

Pure. A message here is without its length of two bytes (`_distribution_framing`). Source: ERTS
user's guide, "Distribution Handshake".
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple

from ._distribution_errors import DistributionError
from ._distribution_flags import Flag, expanded

__all__ = [
    "ANSWERS",
    "Challenge",
    "Identity",
    "Named",
    "Reply",
    "ack",
    "challenge",
    "challenge_reply",
    "digest",
    "named",
    "parse_ack",
    "parse_challenge",
    "parse_name",
    "parse_reply",
    "parse_status",
    "send_name",
    "status",
]

MAX_GREETING: Final = 4096
"""Bytes of a message of the handshake at most; it holds a node name and a few numbers."""
MAX_NAME_BYTES: Final = 1020
MAX_NAME_CHARACTERS: Final = 255
ANSWERS: Final = ("ok", "ok_simultaneous", "nok", "not_allowed", "alive")
"""What the side that accepts may answer to a name."""
_STATUSES: Final = frozenset((*ANSWERS, "true", "false"))


class Identity(NamedTuple):
    """Who a node says it is."""

    name: str  # with its host: `name@host`
    creation: int  # u32: which incarnation of the name
    flags: Flag


class Challenge(NamedTuple):
    """What the side that accepts says of itself, and the number to answer."""

    peer: Identity
    challenge: int


class Named(NamedTuple):
    """Status `named:`: the name given to a node that asked for one."""

    name: str
    creation: int


class Reply(NamedTuple):
    """challenge_reply: the answer to the other side's number, and a number for it."""

    challenge: int
    digest: bytes


def digest(cookie: str, challenge: int) -> bytes:
    """The proof of knowing the cookie: MD5 of it and of the decimal digits of the number.

    Raises ValueError when the cookie has characters beyond latin-1, which no node can use either.
    """
    text = cookie.encode("latin-1") + str(challenge).encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


def send_name(node: Identity) -> bytes:
    """What the side that connects says first."""
    name = node.name.encode()
    return struct.pack(">cQIH", b"N", node.flags, node.creation, len(name)) + name


def status(text: str) -> bytes:
    """The answer to a name (`ANSWERS`), or to `alive`: `true`, `false`."""
    return b"s" + text.encode()


def named(name: str, creation: int) -> bytes:
    """The answer to a node that asked for a name."""
    raw = name.encode()
    return b"snamed:" + struct.pack(">H", len(raw)) + raw + struct.pack(">I", creation)


def challenge(node: Identity, number: int) -> bytes:
    """What the side that accepts says of itself."""
    name = node.name.encode()
    head = struct.pack(">cQIIH", b"N", node.flags, number, node.creation, len(name))
    return head + name


def challenge_reply(number: int, proof: bytes) -> bytes:
    """The answer to a challenge, with a challenge of one's own."""
    return struct.pack(">cI", b"r", number) + proof


def ack(proof: bytes) -> bytes:
    """The answer to the challenge in challenge_reply."""
    return b"a" + proof


def parse_name(data: bytes) -> Identity:
    """send_name. Raises DistributionError."""
    frame = "send_name"
    if data[:1] == b"n":
        reason = "version 5 of the handshake, which needs a node before OTP 23 or without EPMD"
        raise DistributionError(frame, "Version", f"{reason}; only version 6 is spoken here")
    _starts(frame, data, b"N", 15)
    flags, creation, size = struct.unpack_from(">QIH", data, 1)
    node = Identity(_name(frame, data, 15, size), creation, expanded(flags))
    asks = Flag.NAME_ME in node.flags
    if not asks and not _is_full(node.name):
        raise DistributionError(frame, "Name", f"{node.name!r} is not of the form name@host")
    return node


def parse_status(data: bytes) -> str | Named:
    """The answer to a name, or to `alive`. Raises DistributionError."""
    frame = "status"
    _starts(frame, data, b"s", 1)
    if data.startswith(b"snamed:"):
        _starts(frame, data, b"s", 9)
        size = int.from_bytes(data[7:9], "big")
        name = _name(frame, data, 9, size)
        if len(data) < 13 + size or not _is_full(name):
            raise DistributionError(frame, "named", "no name@host and creation follow")
        return Named(name, int.from_bytes(data[9 + size : 13 + size], "big"))
    text = data[1:].decode("latin-1")
    if text not in _STATUSES:
        raise DistributionError(frame, "Status", f"{text[:40]!r} is not known")
    return text


def parse_challenge(data: bytes) -> Challenge:
    """The challenge of the side that accepts. Raises DistributionError."""
    frame = "challenge"
    if data[:1] == b"n":
        raise DistributionError(frame, "Version", "version 5 of the handshake is not spoken here")
    _starts(frame, data, b"N", 19)
    flags, number, creation, size = struct.unpack_from(">QIIH", data, 1)
    name = _name(frame, data, 19, size)
    if not _is_full(name):
        raise DistributionError(frame, "Name", f"{name!r} is not of the form name@host")
    return Challenge(Identity(name, creation, expanded(flags)), number)


def parse_reply(data: bytes) -> Reply:
    """challenge_reply. Raises DistributionError."""
    _exactly("challenge_reply", data, b"r", 21)
    return Reply(int.from_bytes(data[1:5], "big"), data[5:])


def parse_ack(data: bytes) -> bytes:
    """The digest of challenge_ack. Raises DistributionError."""
    _exactly("challenge_ack", data, b"a", 17)
    return data[1:]


def _starts(frame: str, data: bytes, tag: bytes, size: int) -> None:
    if data[:1] != tag:
        raise DistributionError(frame, "tag", f"{data[:1]!r} instead of {tag!r}")
    if len(data) < size:
        raise DistributionError(frame, "", f"ends after {len(data)} bytes")


def _exactly(frame: str, data: bytes, tag: bytes, size: int) -> None:
    _starts(frame, data, tag, size)
    if len(data) != size:
        raise DistributionError(frame, "", f"has {len(data)} bytes instead of {size}")


def _name(frame: str, data: bytes, start: int, size: int) -> str:
    if size > MAX_NAME_BYTES:
        raise DistributionError(frame, "Nlen", f"a name of {size} bytes is too long")
    if len(data) < start + size:
        raise DistributionError(frame, "Name", f"ends after {len(data) - start} of {size} bytes")
    try:
        name = data[start : start + size].decode()
    except UnicodeDecodeError:
        raise DistributionError(frame, "Name", "not UTF-8") from None
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise DistributionError(frame, "Name", f"has {len(name)} characters")
    return name


def _is_full(name: str) -> bool:
    local, at, host = name.partition("@")
    return bool(local and at and host) and "@" not in host
