# SPDX-License-Identifier: Apache-2.0
"""Capabilities that nodes tell each other in the handshake: names, bits, which are needed.

Pure. The bits are those of OTP's kernel application (dist.hrl, OTP 25); the protocol's description
is the chapter "Distribution Protocol" of the ERTS user's guide.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

__all__ = ["MANDATORY", "MANDATORY_25", "OFFERED", "Flag", "expanded", "missing"]


class Flag(IntFlag):
    """A capability of a node."""

    PUBLISHED = 1
    ATOM_CACHE = 1 << 1
    EXTENDED_REFERENCES = 1 << 2
    DIST_MONITOR = 1 << 3
    FUN_TAGS = 1 << 4
    DIST_MONITOR_NAME = 1 << 5
    HIDDEN_ATOM_CACHE = 1 << 6
    NEW_FUN_TAGS = 1 << 7
    EXTENDED_PIDS_PORTS = 1 << 8
    EXPORT_PTR_TAG = 1 << 9
    BIT_BINARIES = 1 << 10
    NEW_FLOATS = 1 << 11
    UNICODE_IO = 1 << 12
    DIST_HDR_ATOM_CACHE = 1 << 13
    SMALL_ATOM_TAGS = 1 << 14
    UTF8_ATOMS = 1 << 16
    MAP_TAG = 1 << 17
    BIG_CREATION = 1 << 18
    SEND_SENDER = 1 << 19
    BIG_SEQTRACE_LABELS = 1 << 20
    EXIT_PAYLOAD = 1 << 22
    FRAGMENTS = 1 << 23
    HANDSHAKE_23 = 1 << 24
    UNLINK_ID = 1 << 25
    MANDATORY_25_DIGEST = 1 << 26
    SPAWN = 1 << 32
    NAME_ME = 1 << 33
    V4_NC = 1 << 34
    ALIAS = 1 << 35


MANDATORY_25: Final = (
    Flag.EXTENDED_REFERENCES
    | Flag.FUN_TAGS
    | Flag.NEW_FUN_TAGS
    | Flag.EXTENDED_PIDS_PORTS
    | Flag.EXPORT_PTR_TAG
    | Flag.BIT_BINARIES
    | Flag.NEW_FLOATS
    | Flag.UTF8_ATOMS
    | Flag.MAP_TAG
    | Flag.BIG_CREATION
    | Flag.HANDSHAKE_23
)
"""What OTP 25 demands of every node, and what MANDATORY_25_DIGEST stands for."""

MANDATORY: Final = MANDATORY_25
"""What a node here demands of its peer."""

OFFERED: Final = (
    MANDATORY_25
    | Flag.DIST_MONITOR
    | Flag.DIST_MONITOR_NAME
    | Flag.UNICODE_IO
    | Flag.DIST_HDR_ATOM_CACHE
    | Flag.SMALL_ATOM_TAGS
    | Flag.SEND_SENDER
    | Flag.BIG_SEQTRACE_LABELS
    | Flag.EXIT_PAYLOAD
    | Flag.FRAGMENTS
    | Flag.UNLINK_ID
    | Flag.MANDATORY_25_DIGEST
    | Flag.SPAWN
    | Flag.V4_NC
    | Flag.ALIAS
)
"""What a node here can do. It is hidden: PUBLISHED is not among it. OTP 26 demands UNLINK_ID and
V4_NC besides MANDATORY_25, OTP 27 MANDATORY_25_DIGEST."""


def expanded(flags: int) -> Flag:
    """The capabilities that `flags` say, those included that MANDATORY_25_DIGEST stands for."""
    known = Flag(flags & _KNOWN)
    return known | MANDATORY_25 if Flag.MANDATORY_25_DIGEST in known else known


def missing(flags: Flag) -> list[str]:
    """Names of what a peer with these capabilities lacks."""
    return [flag.name or "" for flag in Flag if flag in MANDATORY and flag not in flags]


_KNOWN: Final = sum(flag.value for flag in Flag)
