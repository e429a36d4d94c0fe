# SPDX-License-Identifier: Apache-2.0
"""Sequences that RFC 9113 forbids: a stream or the connection ends with the error it names, the
application sees none of it, and the server serves on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from apps.gate import Gate
from live.http2 import Http2
from live.proc import resident
from live.raw import Raw
from live.samples import MIB
from live.serving import Served, wait_until

pytestmark = pytest.mark.usefixtures("ours")

Fields = list[tuple[str, str]]
USUAL = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/hello/")]


def header(length: int, kind: int, flags: int = 0, stream: int = 0) -> bytes:
    """The nine bytes before a frame's payload."""
    return length.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)


def headers(fields: Fields, stream: int, *flags: str) -> Callable[[Http2], bytes]:
    """A HEADERS frame, by default a whole request."""

    def made(connection: Http2) -> bytes:
        block = connection.connection.encoder.encode(fields)
        return frame(HeadersFrame(stream, block), *(flags or ("END_HEADERS", "END_STREAM")))

    return made


def frame(made: Frame, *flags: str) -> bytes:
    for flag in flags:
        made.flags.add(flag)
    return made.serialize()


def joined(*parts: Callable[[Http2], bytes] | bytes) -> Callable[[Http2], bytes]:
    def made(connection: Http2) -> bytes:
        return b"".join(part if isinstance(part, bytes) else part(connection) for part in parts)

    return made


def without(name: str) -> Fields:
    return [pair for pair in USUAL if pair[0] != name]


def with_method(method: str) -> Fields:
    return [(":method", method), *USUAL[1:]]


OPEN = headers(USUAL, 1, "END_HEADERS")
DEPENDS = HeadersFrame(1, b"", depends_on=1)

# Errors of the connection: GOAWAY, and the end.
CONNECTION: dict[str, Callable[[Http2], bytes]] = {
    "DATA on stream 0": joined(frame(DataFrame(1, b"x")).replace(b"\0\0\0\1", b"\0\0\0\0")),
    "DATA on an idle stream": joined(frame(DataFrame(1, b"x"))),
    "HEADERS on stream 0": joined(header(1, 1, 5, 0) + b"\x82"),
    "HEADERS on an even stream": headers(USUAL, 2),
    "a stream below an earlier one": joined(headers(USUAL, 5), headers(USUAL, 3)),
    "RST_STREAM on an idle stream": joined(frame(RstStreamFrame(7, 8))),
    "RST_STREAM of 3 bytes": joined(OPEN, header(3, 3, 0, 1) + b"\0\0\0"),
    "SETTINGS on a stream": joined(header(0, 4, 0, 1)),
    "SETTINGS of 5 bytes": joined(header(5, 4) + b"\0" * 5),
    "SETTINGS acknowledgement with data": joined(header(6, 4, 1) + b"\0" * 6),
    "ENABLE_PUSH of 2": joined(frame(SettingsFrame(settings={SettingCodes.ENABLE_PUSH: 2}))),
    "INITIAL_WINDOW_SIZE above 2^31-1": joined(
        frame(SettingsFrame(settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31}))
    ),
    "MAX_FRAME_SIZE below 2^14": joined(
        frame(SettingsFrame(settings={SettingCodes.MAX_FRAME_SIZE: 16383}))
    ),
    "PING on a stream": joined(header(8, 6, 0, 1) + b"\0" * 8),
    "PING of 7 bytes": joined(header(7, 6) + b"\0" * 7),
    "WINDOW_UPDATE of 0": joined(header(4, 8) + b"\0" * 4),
    "WINDOW_UPDATE of 3 bytes": joined(header(3, 8) + b"\0" * 3),
    "window above 2^31-1": joined(frame(WindowUpdateFrame(0, 2**31 - 1))),
    "WINDOW_UPDATE on an idle stream": joined(frame(WindowUpdateFrame(9, 1))),
    "PUSH_PROMISE of a client": joined(OPEN, header(5, 5, 4, 1) + b"\0\0\0\2\x82"),
    "GOAWAY on a stream": joined(header(8, 7, 0, 1) + b"\0" * 8),
    "CONTINUATION of nothing": joined(frame(ContinuationFrame(1, b"\x82"))),
    "another frame within a header block": joined(
        headers(USUAL, 1, "END_STREAM"), frame(PingFrame(opaque_data=b"12345678"))
    ),
    "a header block that is no HPACK": joined(header(4, 1, 5, 1) + b"\xff\xff\xff\xff"),
    "a frame above MAX_FRAME_SIZE": joined(OPEN, header(16385, 0, 0, 1) + b"x" * 16385),
    "padding longer than the frame": joined(OPEN, header(2, 0, 8, 1) + b"\x05x"),
}

# Errors of a stream: RST_STREAM, or 400; the connection may stand.
STREAM: dict[str, Callable[[Http2], bytes]] = {
    "no :method": headers(without(":method"), 1),
    "no :scheme": headers(without(":scheme"), 1),
    "no :path": headers(without(":path"), 1),
    "empty :path": headers([*without(":path"), (":path", "")], 1),
    ":path twice": headers([*USUAL, (":path", "/")], 1),
    "a pseudo-header nobody knows": headers([*USUAL, (":nonsense", "1")], 1),
    "a pseudo-header of responses": headers([*USUAL, (":status", "200")], 1),
    "a pseudo-header after a header": headers([*USUAL[:3], ("x-one", "1"), USUAL[3]], 1),
    "an upper-case name": headers([*USUAL, ("X-One", "1")], 1),
    "connection": headers([*USUAL, ("connection", "close")], 1),
    "transfer-encoding": headers([*USUAL, ("transfer-encoding", "chunked")], 1),
    "upgrade": headers([*USUAL, ("upgrade", "websocket")], 1),
    "te that is not trailers": headers([*USUAL, ("te", "gzip")], 1),
    "CR in a value": headers([*USUAL, ("x-one", "a\rb")], 1),
    "NUL in a value": headers([*USUAL, ("x-one", "a\0b")], 1),
    "a space in a name": headers([*USUAL, ("x one", "1")], 1),
    "a body longer than its content-length": joined(
        headers([*with_method("POST"), ("content-length", "3")], 1, "END_HEADERS"),
        frame(DataFrame(1, b"four"), "END_STREAM"),
    ),
    "a body shorter than its content-length": joined(
        headers([*with_method("POST"), ("content-length", "5")], 1, "END_HEADERS"),
        frame(DataFrame(1, b"four"), "END_STREAM"),
    ),
    "trailers with a pseudo-header": joined(
        headers(with_method("POST"), 1, "END_HEADERS"), headers([(":path", "/")], 1)
    ),
    "trailers that do not end the stream": joined(
        headers(with_method("POST"), 1, "END_HEADERS"), headers([("x-one", "1")], 1, "END_HEADERS")
    ),
    "WINDOW_UPDATE of 0 on a stream": joined(OPEN, header(4, 8, 0, 1) + b"\0" * 4),
    "a stream's window above 2^31-1": joined(OPEN, frame(WindowUpdateFrame(1, 2**31 - 1))),
    "a stream that depends on itself": joined(frame(PriorityFrame(1, depends_on=1)), OPEN),
    "CONNECT without a protocol": headers([(":method", "CONNECT"), (":authority", "x:1")], 1),
}


def serves(asgi: Served) -> None:
    """A connection of its own is served."""
    with Http2(asgi) as connection:
        assert connection.ask("/hello/").body == b"hello"


def ready(asgi: Served) -> Http2:
    """A connection whose handshake is over."""
    connection = Http2(asgi)
    connection.read_until(lambda: connection.settled)
    return connection


@pytest.mark.parametrize("name", CONNECTION)
def test_error_of_the_connection(asgi: Served, name: str) -> None:
    """GOAWAY with an error, and the connection ends."""
    with ready(asgi) as connection:
        connection.raw(CONNECTION[name](connection))
        connection.read_to_the_end()
        assert connection.goaway != ErrorCodes.NO_ERROR
    serves(asgi)


@pytest.mark.parametrize("name", STREAM)
def test_error_of_a_stream(asgi: Served, name: str) -> None:
    """The stream is reset, refused with a status of 4xx or 5xx, or the connection ends; no request
    that was malformed is answered with success.
    """
    with ready(asgi) as connection:
        raw = RawStream(connection)
        raw.send(STREAM[name](connection))
        outcome = raw.outcome()
        if name == "a stream that depends on itself":
            assert outcome != "hangs"  # RFC 9113 no longer has priorities: it may be ignored
        else:
            assert outcome in ("reset", "refused", "goaway"), outcome
    serves(asgi)


class RawStream:
    """Stream 1 of a connection whose client library must not know what it does."""

    def __init__(self, connection: Http2) -> None:
        self._connection = connection
        self._data = b""

    def send(self, data: bytes) -> None:
        self._connection.raw(data)

    def outcome(self) -> str:
        """`reset`, `refused`, `goaway` or `answered`; `hangs` when nothing comes."""
        while True:
            try:
                found = self._frame()
            except TimeoutError:
                return "hangs"
            except (ConnectionResetError, EOFError):
                return "goaway"
            kind, stream, payload = found
            if kind == 7:
                return "goaway"
            if (kind, stream) == (3, 1):
                return "reset"
            if (kind, stream) == (1, 1):
                fields = self._connection.connection.decoder.decode(payload)
                (status,) = (
                    int(value) for name, value in fields if name in (":status", b":status")
                )
                return "refused" if status >= 400 else "answered"

    def _frame(self) -> tuple[int, int, bytes]:
        head = self._exactly(9)
        payload = self._exactly(int.from_bytes(head[:3]))
        return head[3], int.from_bytes(head[5:]), payload

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            data = self._connection.socket.recv(65536)
            if not data:
                raise EOFError
            self._data += data
        found, self._data = self._data[:size], self._data[size:]
        return found


def test_resets_in_a_flood(asgi: Served) -> None:
    """Requests that are reset at once, thousands of them (CVE-2023-44487): the client is thrown
    out, and their tasks are gone.
    """
    with ready(asgi) as connection:
        try:
            for _ in range(5000):
                stream = connection.request("/sleeps/60000")
                connection.reset(stream)
            connection.read_to_the_end()
        except (BrokenPipeError, ConnectionResetError):
            pass
    serves(asgi)
    wait_until(lambda: tasks(asgi) < 20, "the tasks are gone")


def tasks(asgi: Served) -> int:
    with Raw(asgi) as raw:
        return int(raw.ask("GET", "/task-count/").body)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(frame(PingFrame(opaque_data=b"12345678")), id="PING"),
        pytest.param(frame(SettingsFrame()), id="SETTINGS"),
        pytest.param(frame(PriorityFrame(9, depends_on=0)), id="PRIORITY"),
    ],
)
def test_control_frames_in_a_flood(asgi: Served, made: bytes) -> None:
    """A flood of control frames by a client that does not read costs bounded memory."""
    before = resident(asgi.node_pid())
    with ready(asgi) as connection:
        connection.socket.settimeout(3)
        try:
            for batch in repeat(made * 1000, 300):
                connection.raw(batch)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        assert resident(asgi.node_pid()) - before < 32 * MIB
    serves(asgi)


def test_connection_that_ends_with_open_streams(asgi: Served, gate: Gate) -> None:
    """The end of the connection is the end of all its streams."""
    with ready(asgi) as connection:
        for _ in range(50):
            connection.request("/sleeps/60000")
        connection.request("/ignores/", ("x-gate", gate.headers["X-Gate"]))
        gate.expect("sleeps")
    gate.expect("cancelled")
    wait_until(lambda: tasks(asgi) < 20, "the tasks are gone")
