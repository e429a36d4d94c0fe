# SPDX-License-Identifier: Apache-2.0
"""Messages to and from EPMD, the Erlang port mapper, which knows the ports of a host's nodes.

Pure: bytes in, answers out. A node that is to be registered sends `alive` and keeps the connection
for as long as it lives; one that looks for another sends `port_please` and reads to the end.
Source: ERTS user's guide, "Distribution Protocol", EPMD protocol.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ._distribution_errors import DistributionError

__all__ = [
    "EPMD_PORT",
    "VERSION",
    "AliveReply",
    "Registration",
    "alive",
    "names",
    "parse_alive",
    "parse_names",
    "parse_port",
    "port_please",
]

EPMD_PORT: Final = 4369
"""Where EPMD listens unless ERL_EPMD_PORT says otherwise."""
VERSION: Final = 6
"""The version of the distribution protocol that is spoken here, the only one."""
MAX_NAME: Final = 255
MAX_REPLY: Final = 2048
"""Bytes of an answer about one node at most."""
MAX_NAMES: Final = 1 << 20
"""Bytes of an answer that lists nodes at most."""
_HIDDEN: Final = 72
_NORMAL: Final = 77
_ALIVE2_REQ: Final = 120
_PORT_PLEASE2_REQ: Final = 122
_NAMES_REQ: Final = 110
_ALIVE2_RESP: Final = 121
_ALIVE2_X_RESP: Final = 118
_PORT2_RESP: Final = 119


class AliveReply(NamedTuple):
    """EPMD has registered a node."""

    creation: int  # u32: tells this incarnation of the node from earlier ones


class Registration(NamedTuple):
    """What EPMD knows of a node."""

    name: str  # without the host
    port: int
    hidden: bool
    highest: int  # versions of the distribution protocol that it speaks
    lowest: int


def _request(body: bytes) -> bytes:
    return struct.pack(">H", len(body)) + body


def _short_name(name: str) -> bytes:
    raw = name.encode()
    if not 0 < len(raw) <= MAX_NAME or "@" in name:
        raise ValueError(f"a node is registered by 1 to {MAX_NAME} bytes without '@', not {name!r}")
    return raw


def alive(name: str, port: int, *, hidden: bool = True) -> bytes:
    """ALIVE2_REQ: registers the node `name` (without host), which listens on `port`."""
    raw = _short_name(name)
    kind = _HIDDEN if hidden else _NORMAL
    head = struct.pack(">BHBBHHH", _ALIVE2_REQ, port, kind, 0, VERSION, VERSION, len(raw))
    return _request(head + raw + b"\0\0")


def port_please(name: str) -> bytes:
    """PORT_PLEASE2_REQ: where the node `name` (without host) listens."""
    return _request(bytes((_PORT_PLEASE2_REQ,)) + _short_name(name))


def names() -> bytes:
    """NAMES_REQ: which nodes are registered."""
    return _request(bytes((_NAMES_REQ,)))


def parse_alive(data: bytes) -> AliveReply | None:
    """The answer to `alive`; None: there are bytes to come.

    Raises:
        DistributionError: EPMD refuses the name, or answers something else.
    """
    if not data:
        return None
    if data[0] not in (_ALIVE2_RESP, _ALIVE2_X_RESP):
        raise DistributionError("ALIVE2_RESP", "", f"byte {data[0]} starts no such answer")
    width = 4 if data[0] == _ALIVE2_X_RESP else 2
    if len(data) < 2 + width:
        return None
    if len(data) > 2 + width:
        raise DistributionError("ALIVE2_RESP", "", f"{len(data) - 2 - width} bytes follow it")
    if data[1]:
        reason = "EPMD refuses the name: a node of this name is registered on this host already"
        raise DistributionError("ALIVE2_RESP", "Result", reason)
    return AliveReply(int.from_bytes(data[2:], "big"))


def parse_port(data: bytes, *, ended: bool = False) -> Registration | None:
    """The answer to `port_please`; None: there are bytes to come.

    Args:
        data: what came so far, from its beginning.
        ended: whether EPMD closed the connection after it.

    Raises:
        DistributionError: there is no such node (field `Result`), or this is no such answer.
    """
    if data and data[0] != _PORT2_RESP:
        raise DistributionError("PORT2_RESP", "", f"byte {data[0]} starts no such answer")
    if len(data) > MAX_REPLY:
        raise DistributionError("PORT2_RESP", "", f"more than {MAX_REPLY} bytes")
    if len(data) >= 2 and data[1]:
        raise DistributionError("PORT2_RESP", "Result", "EPMD does not know a node of this name")
    if len(data) >= 12:
        end = 12 + int.from_bytes(data[10:12], "big")
        if len(data) >= end + 2:
            return _registration(data, end)
    if ended:
        raise DistributionError("PORT2_RESP", "", f"EPMD closed after {len(data)} bytes of it")
    return None


def _registration(data: bytes, end: int) -> Registration:
    port, kind, _protocol, highest, lowest = struct.unpack_from(">HBBHH", data, 2)
    try:
        name = data[12:end].decode()
    except UnicodeDecodeError:
        raise DistributionError("PORT2_RESP", "NodeName", "not UTF-8") from None
    if lowest > VERSION or highest < VERSION:
        reason = f"the node speaks versions {lowest} to {highest}, not {VERSION}; OTP 23 is needed"
        raise DistributionError("PORT2_RESP", "HighestVersion", reason)
    return Registration(name, port, kind == _HIDDEN, highest, lowest)


def parse_names(data: bytes) -> dict[str, int]:
    """Names (without host) and ports of the registered nodes, of the whole answer to `names`.

    Raises:
        DistributionError: this is no such answer.
    """
    if len(data) < 4 or len(data) > MAX_NAMES:
        raise DistributionError("NAMES_RESP", "", f"{len(data)} bytes are no such answer")
    found = {}
    for line in data[4:].decode("utf-8", "replace").splitlines():
        words = line.split(" ")
        if len(words) != 5 or words[0] != "name" or not words[4].isdecimal():
            raise DistributionError("NAMES_RESP", "NodeInfo", f"{line!r} names no node and port")
        found[words[1]] = int(words[4])
    return found
