# SPDX-License-Identifier: Apache-2.0
"""A WebSocket on a stream of HTTP/2 (RFC 8441), frame by frame. Runs in: the tests."""

from __future__ import annotations

from live.http2 import Http2, Stream
from live.websocket import Frame

VERSION = ("sec-websocket-version", "13")


class Socket:
    """A WebSocket on a stream."""

    def __init__(self, connection: Http2, path: str, *fields: tuple[str, str]) -> None:
        self.connection = connection
        self.number = connection.request(
            path, VERSION, *fields, method="CONNECT", end=False, protocol="websocket"
        )
        self.stream: Stream = connection.streams[self.number]
        self._used = 0

    def accept(self) -> Socket:
        self.connection.read_until(lambda: bool(self.stream.head) or self.stream.done)
        assert self.stream.status == 200
        return self

    def send(self, data: bytes) -> None:
        self.connection.data(self.number, data)

    def frame(self) -> Frame:
        """The next frame of the server."""
        first, size = self._exactly(2)
        if size == 126:
            size = int.from_bytes(self._exactly(2))
        elif size == 127:
            size = int.from_bytes(self._exactly(8))
        return Frame(first & 0x0F, self._exactly(size), first & 0xF0)

    def _exactly(self, size: int) -> bytes:
        end = self._used + size
        self.connection.read_until(lambda: len(self.stream.body) >= end or self.stream.done)
        found = self.stream.body[self._used : end]
        assert len(found) == size, "the stream ended within a frame"
        self._used = end
        return found
