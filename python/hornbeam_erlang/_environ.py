# SPDX-License-Identifier: Apache-2.0
"""Makes the WSGI environ of a request (PEP 3333, "environ Variables") from the fields of OPEN.

Runs in the thread that serves the request, for every request: what repeats (connections, header
names, methods) is remembered in bounded dicts. Their entries are made whole before they are
stored, so threads may share them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from . import codec
from ._wire import Message, ProtocolError
from .errors import TermError

Environ: TypeAlias = dict[str, Any]

MAX_NAMES = 1024
MAX_CONNECTIONS = 4096
MAX_REMEMBERED = 128  # bytes of a name worth remembering


class _Names(dict[bytes, str]):
    """Wire name to environ key; bounded, since names come from clients."""

    def __missing__(self, name: bytes) -> str:
        key = self.make(name)
        if len(name) <= MAX_REMEMBERED:
            if len(self) >= MAX_NAMES:
                self.clear()
            self[name] = key
        return key

    def make(self, name: bytes) -> str:
        return name.decode("latin-1")


class _HeaderKeys(_Names):
    def make(self, name: bytes) -> str:
        if name in (b"content-type", b"content-length"):
            return name.decode().upper().replace("-", "_")
        return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


_KEYS = _HeaderKeys()
_METHODS = _Names()
_PROTOCOLS = {b"1.0": "HTTP/1.0", b"1.1": "HTTP/1.1", b"2": "HTTP/2"}
# Entries that every environ gets: a copy that has them already need not grow.
_BLANK: Environ = dict.fromkeys(
    ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "SERVER_PROTOCOL"), ""
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class EnvironMaker:
    """Makes environs for one application.

    Args:
        template: entries that are the same for every request.
        script_name: prefix the application is mounted under, empty or beginning with `/`.
    """

    def __init__(self, template: Mapping[str, Any], script_name: str) -> None:
        # As PATH_INFO: the bytes of the URL, each as one latin-1 character.
        self._prefix = script_name.encode().decode("latin-1")
        self._template = {**template, "SCRIPT_NAME": self._prefix}
        self._connections: dict[bytes, Environ] = {}

    def make(self, message: Message) -> Environ:
        """The environ for OPEN `message`, without `wsgi.input` when its body streams."""
        _, _, _, method, path, query, version, headers, connection, body = message
        base = self._connections.get(connection)
        environ = (base or self._remember(connection)).copy()
        environ["REQUEST_METHOD"] = _METHODS[method]
        target = path.decode("latin-1")
        info = unquote_to_bytes(path).decode("latin-1") if "%" in target else target
        if self._prefix or target == "*":
            info = self._strip(info)
        environ["PATH_INFO"] = info
        if query:
            environ["QUERY_STRING"] = text = query.decode("latin-1")
            target = f"{target}?{text}"
        environ["REQUEST_URI"] = target
        environ["SERVER_PROTOCOL"] = _PROTOCOLS[version]
        for name, value in headers.items():
            environ[_KEYS[name]] = value.decode("latin-1")
        if type(body) is bytes:
            environ["wsgi.input"] = io.BytesIO(body)
        return environ

    def _strip(self, info: str) -> str:
        if info == "*":
            return ""  # a server-wide OPTIONS has no path; REQUEST_URI tells
        return info.removeprefix(self._prefix)

    def _remember(self, connection: bytes) -> Environ:
        base = {**_BLANK, **self._template, **_connection_entries(connection)}
        if len(self._connections) >= MAX_CONNECTIONS:
            self._connections.clear()
        self._connections[connection] = base
        return base


def _connection_entries(connection: bytes) -> Environ:
    try:
        fields: Any = codec.decode_wire(connection)
        scheme, peer_host, peer_port, host, port = fields
        url_scheme = scheme.decode("ascii")
        entries = {
            "wsgi.url_scheme": url_scheme,
            "REMOTE_ADDR": peer_host.decode("latin-1"),
            # A Unix socket has neither, and PEP 3333 wants both to be there.
            "SERVER_NAME": host.decode("latin-1") or "localhost",
            "SERVER_PORT": str(port) if port else _DEFAULT_PORTS.get(url_scheme, "80"),
        }
        if peer_port:
            entries["REMOTE_PORT"] = str(peer_port)
        return entries
    except (TermError, TypeError, ValueError, AttributeError) as exc:
        text = f"Connection of OPEN: expected {{Scheme, PeerHost, PeerPort, Host, Port}}: {exc}"
        raise ProtocolError("bad_message", text) from exc
