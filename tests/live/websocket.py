# SPDX-License-Identifier: Apache-2.0
"""WebSocket (RFC 6455) as frames on a socket, for what libraries do not let a client do or see.

Runs in: the tests. Every wait is bounded by the socket's timeout.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from dataclasses import dataclass

from live.raw import Head, Raw, request
from live.serving import Served

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}")
VERSION = "Sec-WebSocket-Version: 13"


def frame(
    opcode: int, data: bytes = b"", flags: int = FIN, mask: bool = True, length: bytes = b""
) -> bytes:
    """A frame as a client sends it.

    Args: flags: FIN and the reserved bits. mask: whether it is masked. length: the bytes that tell
        the length, where they are not to be the shortest ones.
    """
    size = len(data)
    bit = 0x80 * mask
    if length:
        told = bytes([length[0] | bit]) + length[1:]
    elif size < 126:
        told = bytes([size | bit])
    elif size < 65536:
        told = struct.pack("!BH", 126 | bit, size)
    else:
        told = struct.pack("!BQ", 127 | bit, size)
    key = os.urandom(4) if mask else b""
    return bytes([flags | opcode]) + told + key + (masked(data, key) if mask else data)


def masked(data: bytes, key: bytes) -> bytes:
    repeated = key * (len(data) // 4 + 1)
    whole = int.from_bytes(data) ^ int.from_bytes(repeated[: len(data)])
    return whole.to_bytes(len(data))


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the server."""

    opcode: int
    data: bytes
    flags: int = FIN

    @property
    def code(self) -> int | None:
        """Of a close frame; None when it has none."""
        return struct.unpack("!H", self.data[:2])[0] if self.data else None

    @property
    def reason(self) -> str:
        return self.data[2:].decode()


class Socket(Raw):
    """A connection that asks for a WebSocket; `accept` ends the handshake."""

    def ask_for(self, path: str, *fields: str) -> None:
        self.send(request("GET", path, *FIELDS, VERSION, *fields))

    def accept(self) -> Head:
        """Reads the 101 and checks it (RFC 6455, 4.1)."""
        head = self.head()
        assert head.status == 101, head
        assert (head.one("upgrade") or "").lower() == "websocket"
        assert (head.one("connection") or "").lower() == "upgrade"
        digest = hashlib.sha1(KEY.encode() + GUID).digest()
        assert head.one("sec-websocket-accept") == base64.b64encode(digest).decode()
        return head

    def frame(self) -> Frame:
        """The next frame; what a server sends is not masked."""
        first, second = self.exactly(2)
        assert second < 0x80, "the server masks"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self.exactly(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self.exactly(8))
        return Frame(first & 0x0F, self.exactly(size), first & 0xF0)

    def exactly(self, size: int) -> bytes:
        data = self.file.read(size)
        assert len(data) == size, "the connection ended within a frame"
        return data

    def text(self) -> str:
        """The next frame, which is a text."""
        found = self.frame()
        assert found.opcode == TEXT, found
        return found.data.decode()

    def closed(self) -> Frame:
        """The close frame that comes next; it is answered, and the connection ends."""
        found = self.frame()
        assert found.opcode == CLOSE, found
        try:
            self.send(frame(CLOSE, found.data))
            assert self.rest() == b""
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has not waited for the answer
        return found


def opened(served: Served, path: str, *fields: str, receive_buffer: int | None = None) -> Socket:
    """An accepted WebSocket."""
    found = Socket(served, receive_buffer)
    found.ask_for(path, *fields)
    found.accept()
    return found
