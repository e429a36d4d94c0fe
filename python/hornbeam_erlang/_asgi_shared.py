# SPDX-License-Identifier: Apache-2.0
"""What many WebSockets have in common, once for all of them: an idle one keeps its scope for as
long as the application has it.

Runs in the loop's thread. Bounded. Of header fields only those are remembered that many clients
send alike and that are no secret.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

MAX_REMEMBERED = 1024  # of each kind; more, and all are forgotten
MAX_BYTES = 256  # of what is remembered

_COMMON = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"host",
        b"origin",
        b"pragma",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
        b"user-agent",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
    )
)
# Names alone, of fields whose values differ.
_NAMES = {
    name: name
    for name in (
        b"authorization",
        b"cookie",
        b"sec-websocket-key",
        b"x-forwarded-for",
        b"x-real-ip",
    )
}

Field: TypeAlias = tuple[bytes, bytes]
Endpoint: TypeAlias = tuple[str, int]

K = TypeVar("K")
V = TypeVar("V")


class Path(NamedTuple):
    """A path as a scope has it, and as the log names it with what it is of."""

    text: str
    raw: bytes
    target: tuple[bytes, bytes]


class Remembered(dict[K, V]):
    """What was seen, until it is too much."""

    def keep(self, key: K, value: V) -> V:
        """Remembers `value`, and returns it."""
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[key] = value
        return value


_fields: Remembered[Field, Field] = Remembered()
_paths: Remembered[bytes, Path] = Remembered()
_hosts: Remembered[bytes, str] = Remembered()
_servers: Remembered[Endpoint, Endpoint] = Remembered()


def field(pair: Field) -> Field:
    """That header field, or the one that equals it."""
    known = _fields.get(pair)
    if known is not None:
        return known
    name, value = pair
    if name in _COMMON and len(value) <= MAX_BYTES:
        return _fields.keep(pair, pair)
    same = _NAMES.get(name)
    return pair if same is None else (same, value)


def path(raw: bytes) -> Path:
    """The path `raw` of a WebSocket."""
    known = _paths.get(raw)
    if known is not None:
        return known
    new = Path(decode_path(raw), raw, (b"WebSocket", raw))
    return _paths.keep(raw, new) if len(raw) <= MAX_BYTES else new


def client(host: bytes, port: int) -> Endpoint:
    """The other end of a connection; behind a proxy many have its host."""
    return _hosts.get(host) or _hosts.keep(host, host.decode("latin-1")), port


def server(host: bytes, port: int) -> Endpoint:
    """The end of a connection at which the node listens."""
    pair = client(host, port)
    return _servers.get(pair) or _servers.keep(pair, pair)


def decode_path(path: bytes) -> str:
    """A path of the wire as text: escapes decoded, then UTF-8, with U+FFFD for what is none."""
    return unquote_to_bytes(path).decode("utf-8", "replace")
