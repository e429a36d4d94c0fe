# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 as bytes on a socket, for what HTTP libraries do not let a client do or see.

Runs in: the tests. Every wait is bounded by the socket's timeout.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from live.serving import Served

SECONDS = 30.0

# Without the validator (`apps.wsgi_cases`).
PLAIN = "X-Plain: 1"


@dataclass(frozen=True, slots=True)
class Head:
    """A response's head: the fields as they came, names in lower case."""

    version: str
    status: int
    fields: list[tuple[str, str]]

    def every(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    def one(self, name: str) -> str | None:
        """The value of a field that comes at most once."""
        values = self.every(name)
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, *fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """The bytes of a request; Content-Length is added for a body, if no field tells its length."""
    framed = any(
        name in field.lower() for name in ("content-length:", "chunked") for field in fields
    )
    lines = [f"{method} {path} HTTP/{version}", "Host: site.example", *fields]
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """`pieces` as a body in chunks, with the last chunk."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Raw:
    """A connection to a server.

    Args: receive_buffer: bytes, of the socket; None leaves it to the kernel.
    """

    def __init__(self, served: Served, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect((served.host, served.port))
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, path: str, *fields: str, **arguments: Any) -> Reply:
        """One request and its answer; the arguments are those of `request`."""
        self.send(request(method, path, *fields, **arguments))
        return self.reply(method)

    def head(self) -> Head:
        """The next response head."""
        line = self.file.readline().decode("latin-1").rstrip()
        assert line, "the connection ended instead of a response"
        version, status, *_ = line.split(" ", 2)
        return Head(version, int(status), self.fields())

    def fields(self) -> list[tuple[str, str]]:
        """Header fields, or trailers, up to the empty line; names in lower case."""
        found = []
        while line := self.file.readline().rstrip(b"\r\n").decode("latin-1"):
            name, _, value = line.partition(":")
            found.append((name.lower(), value.strip()))
        return found

    def reply(self, method: str = "GET") -> Reply:
        """The next response, its body framed as RFC 9112, 6.3 says."""
        head = self.head()
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return Reply(head, b"")
        if head.one("transfer-encoding") == "chunked":
            return Reply(head, b"".join(iter(self.chunk, b"")))
        length = head.one("content-length")
        return Reply(head, self.file.read(-1 if length is None else int(length)))

    def chunk(self) -> bytes:
        """The data of the next chunk; empty for the last one. Fails when the connection ends."""
        size = self.file.readline()
        assert size, "the connection ended within a body in chunks"
        data = self.file.read(int(size, 16))
        assert self.file.read(2) == b"\r\n"
        return data

    def chunk_data(self) -> bytes:
        """As `chunk`, but after the last one the trailers are left to be read."""
        size = self.file.readline()
        assert size, "the connection ended within a body in chunks"
        data = self.file.read(int(size, 16))
        assert not data or self.file.read(2) == b"\r\n"
        return data

    def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        return self.file.read()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
