# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/2 that sees every event and may break every rule, in one thread.

Runs in: the tests. Every wait is bounded by the socket's timeout.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from live.raw import SECONDS
from live.serving import Served

Field: TypeAlias = tuple[str, str]
Fields: TypeAlias = list[Field]


@dataclass
class Stream:
    """What has come on one stream."""

    informational: list[Fields] = field(default_factory=list)
    head: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.one(":status"))

    @property
    def done(self) -> bool:
        return self.ended or self.reset is not None

    def one(self, name: str) -> str:
        (value,) = (value for key, value in self.head if key == name)
        return value


class Http2:
    """A connection.

    Args: window: what each stream may send us before we grant more. settings: further ones.
        grants: whether what comes is granted anew at once. check: whether h2 checks what is sent.
        tls: wraps the socket.
    """

    def __init__(
        self,
        served: Served,
        window: int = 65535,
        settings: Mapping[int, int] | None = None,
        grants: bool = True,
        check: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.create_connection((served.host, served.port), SECONDS)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        config = h2.config.H2Configuration(
            header_encoding="utf-8",
            validate_outbound_headers=check,
            normalize_outbound_headers=check,
        )
        self.connection = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        given = {codes.INITIAL_WINDOW_SIZE: window, codes.ENABLE_PUSH: 0, **(settings or {})}
        self.connection.local_settings = h2.settings.Settings(
            client=True, initial_values={codes(code): value for code, value in given.items()}
        )
        self.connection.initiate_connection()
        self.authority = f"{served.host}:{served.port}"
        self.grants = grants
        self.streams: dict[int, Stream] = {}
        self.pushed: dict[int, Fields] = {}
        self.goaway: int | None = None
        self.closed = False
        self.settled = False
        self.flush()

    # --- Requests

    def request(
        self, path: str, *fields: Field, method: str = "GET", end: bool = True, **more: str
    ) -> int:
        """Sends a head. Args: more: pseudo-headers beside the usual ones. Returns: the stream."""
        stream = self.connection.get_next_available_stream_id()
        usual = {"method": method, "scheme": "http", "authority": self.authority, "path": path}
        pseudo = [(f":{name}", value) for name, value in {**usual, **more}.items()]
        self.connection.send_headers(stream, [*pseudo, *fields], end_stream=end)
        self.streams[stream] = Stream()
        self.flush()
        return stream

    def ask(self, path: str, *fields: Field, **more: str) -> Stream:
        """A request without a body, and its whole answer."""
        stream = self.request(path, *fields, **more)  # type: ignore[arg-type]
        return self.whole(stream)

    def data(self, stream: int, data: bytes, end: bool = False) -> None:
        """Sends a body, as far as it goes by the windows, and waits for them to open."""
        while len(data) > (room := self.room(stream)):
            if room:
                self.connection.send_data(stream, data[:room])
                data = data[room:]
            self.flush()
            self.read_until(lambda: self.room(stream) > 0)
        self.connection.send_data(stream, data, end_stream=end)
        self.flush()

    def room(self, stream: int) -> int:
        window = self.connection.local_flow_control_window(stream)
        return min(window, self.connection.max_outbound_frame_size)

    def trailers(self, stream: int, *fields: Field) -> None:
        self.connection.send_headers(stream, list(fields), end_stream=True)
        self.flush()

    def reset(self, stream: int, code: int = h2.errors.ErrorCodes.CANCEL) -> None:
        self.connection.reset_stream(stream, code)
        self.flush()

    def grant(self, amount: int, stream: int | None = None) -> None:
        """Opens the window of a stream, or of the connection."""
        self.connection.increment_flow_control_window(amount, stream)
        self.flush()

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    # --- Answers

    def whole(self, stream: int) -> Stream:
        """Waits until a stream has ended, or was reset."""
        self.read_until(lambda: self.streams[stream].done)
        return self.streams[stream]

    def read_until(self, condition: Callable[[], bool]) -> None:
        """Reads until `condition` holds; fails when the connection ends before."""
        while not condition():
            assert not self.closed, f"the connection ended; GOAWAY {self.goaway}"
            self.read()

    def read_to_the_end(self) -> None:
        """Reads until the server closes the connection, or says GOAWAY."""
        self.read_until(lambda: self.closed or self.goaway is not None)

    def read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.connection.receive_data(data):
            self._see(event)
        if not self.connection_over():
            self.flush()

    def connection_over(self) -> bool:
        return self.goaway is not None

    def flush(self) -> None:
        if data := self.connection.data_to_send():
            self.socket.sendall(data)

    def _see(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self.settled = True
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code or 0)
            case h2.events.PushedStreamReceived(pushed_stream_id=int(stream)):
                self.streams[stream] = Stream()
                self.pushed[stream] = as_text(event.headers)
            case h2.events.StreamReset() if event.stream_id in self.streams:
                self.streams[event.stream_id].reset = int(event.error_code or 0)
            case h2.events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case h2.events.DataReceived():
                self.streams[event.stream_id].body += event.data
                if self.grants:
                    size = event.flow_controlled_length
                    self.connection.acknowledge_received_data(size, event.stream_id)
            case _:
                self._see_fields(event)

    def _see_fields(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                self.streams[event.stream_id].informational.append(as_text(event.headers))
            case h2.events.ResponseReceived():
                self.streams[event.stream_id].head = as_text(event.headers)
            case h2.events.TrailersReceived():
                self.streams[event.stream_id].trailers = as_text(event.headers)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def as_text(headers: object) -> Fields:
    assert isinstance(headers, list)
    return [(str(name), str(value)) for name, value in headers]
