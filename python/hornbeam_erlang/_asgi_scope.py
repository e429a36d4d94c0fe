# SPDX-License-Identifier: Apache-2.0
"""Makes the scope of an HTTP request or a WebSocket (ASGI 3.0, HTTP and WebSocket 2.5).

Runs in the loop's thread, for every request: what repeats is remembered in bounded dicts. What
applications do change (headers, state, extensions) is made anew for each scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from . import _asgi_shared, codec
from ._asgi_shared import decode_path
from ._wire import Message, ProtocolError
from .errors import TermError

Scope: TypeAlias = dict[str, Any]
Extensions: TypeAlias = dict[str, dict[str, Any]]
# What a connection gives to the scopes of its requests, and of a WebSocket.
Bases: TypeAlias = tuple[Scope, Scope]

SPEC_VERSION = "2.5"  # of the HTTP and WebSocket message format
MAX_CONNECTIONS = 4096

_ASGI = {"version": "3.0", "spec_version": SPEC_VERSION}
_VERSIONS = {b"1.0": "1.0", b"1.1": "1.1", b"2": "2"}
_SOCKET_SCHEMES = {"http": "ws", "https": "wss"}
_METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE")
}


class ScopeMaker:
    """Makes scopes for one application.

    Args:
        root_path: prefix the application is mounted under, empty or beginning with `/`.
        state: what the application kept at its startup; each scope gets a shallow copy.
        files: whether the node can send files of this machine.
    """

    def __init__(self, root_path: str, state: Mapping[str, Any], files: bool = True) -> None:
        self._root_path = root_path
        self._files = files
        self._state = dict(state)
        self._connections: dict[bytes, Bases] = {}

    def http(self, message: Message) -> Scope:
        """The scope for OPEN `message`."""
        _, _, _, method, path, query, version, headers, connection, _ = message
        base = self._connections.get(connection) or self._remember(connection)
        # Faster than a literal of all its entries.
        scope = base[0].copy()
        text = path.decode("latin-1")
        scope["http_version"] = _VERSIONS[version]
        scope["method"] = _METHODS.get(method) or method.decode("latin-1")
        scope["path"] = text if "%" not in text and text.isascii() else decode_path(path)
        scope["raw_path"] = path
        scope["query_string"] = query
        scope["headers"] = fields(version, headers)
        scope["state"] = self._state.copy()
        scope["extensions"] = http_extensions(version, headers, self._files)
        return scope

    def websocket(self, message: Message) -> Scope:
        """The scope for WEBSOCKET `message`."""
        _, _, _, path, query, version, headers, connection, subprotocols = message
        # Over HTTP/1.1 nothing else comes on its connection.
        base = self._connections.get(connection) or self._bases(connection)
        scope = base[1].copy()
        scope["http_version"] = _VERSIONS[version]
        scope["path"], scope["raw_path"], _ = _asgi_shared.path(path)
        scope["query_string"] = query
        scope["headers"] = list(map(_asgi_shared.field, fields(version, headers)))
        scope["subprotocols"] = [name.decode("latin-1") for name in subprotocols]
        scope["state"] = self._state.copy()
        scope["extensions"] = {"websocket.http.response": {}, "hornbeam.topics": {}}
        return scope

    def _remember(self, connection: bytes) -> Bases:
        if len(self._connections) >= MAX_CONNECTIONS:
            self._connections.clear()
        bases = self._connections[connection] = self._bases(connection)
        return bases

    def _bases(self, connection: bytes) -> Bases:
        entries = {**_connection_entries(connection), "root_path": self._root_path}
        http = {"type": "http", "asgi": _ASGI, **entries}
        socket = {**http, "type": "websocket", "scheme": _SOCKET_SCHEMES.get(http["scheme"], "ws")}
        return http, socket


def fields(version: bytes, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers as pairs; over HTTP/2 `host`, which is :authority, comes first (ASGI HTTP)."""
    pairs = list(headers.items())
    if version == b"2" and (host := headers.get(b"host")) is not None:
        pairs.remove((b"host", host))
        pairs.insert(0, (b"host", host))
    return pairs


def http_extensions(version: bytes, headers: Mapping[bytes, bytes], files: bool) -> Extensions:
    """What this request can be answered with beyond the standard; by HTTP version and client."""
    extensions: Extensions = {"http.response.pathsend": {}} if files else {}
    if version == b"1.0":
        return extensions
    extensions["http.response.early_hint"] = {}
    te = headers.get(b"te")
    if te is not None and b"trailers" in te.lower():
        extensions["http.response.trailers"] = {}
    if version == b"2":
        extensions["http.response.push"] = {}
    return extensions


def _connection_entries(connection: bytes) -> Scope:
    try:
        fields: Any = codec.decode_wire(connection)
        scheme, peer_host, peer_port, host, port = fields
        return {
            "scheme": scheme.decode("ascii"),
            # A Unix socket has neither.
            "client": _asgi_shared.client(peer_host, peer_port) if peer_host else None,
            "server": _asgi_shared.server(host, port) if host else None,
        }
    except (TermError, TypeError, ValueError, AttributeError) as exc:
        text = f"Connection of OPEN: expected {{Scheme, PeerHost, PeerPort, Host, Port}}: {exc}"
        raise ProtocolError("bad_message", text) from exc
