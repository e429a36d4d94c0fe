# SPDX-License-Identifier: Apache-2.0
"""The load generator against servers that answer as they should, and against those that do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve

import sockets
from load import HOST, BadReport, Http, Load
from sockets import Sockets
from unit.benchmarks.peers import (
    TEXT,
    Handler,
    Reader,
    Writer,
    accept,
    answering,
    frame,
    head,
    raw_server,
    receive,
    served,
)


def load_of(
    handler: Handler, scenario: str, connections: int = 2, seconds: float = 0.5, size: int = 128
) -> Load:
    """What the generator finds at a server with this handler."""
    with served(lambda: raw_server(handler)) as port:
        generator = Sockets(scenario, "/path", size)
        with generator.prepared(port, connections, seconds) as run:
            return run()


# --- WebSocket ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 125, 126, 4096])
@pytest.mark.parametrize(("scenario", "least"), [("echo", 8), ("idle", 8)])
def test_an_echo_server_that_nobody_here_wrote(scenario: str, least: int, size: int) -> None:
    """Both forms of length are exchanged with `websockets`; idle asks each socket once."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    with served(lambda: serve(echo, HOST, 0, ping_interval=0.05)) as port:
        with Sockets(scenario, "/", size).prepared(port, 8, 0.5) as run:
            found = run()
    assert found.valid, found.errors
    assert found.operations >= least
    assert scenario == "echo" or found.operations == 8
    assert 0 < found.latency_p50 <= found.latency_p99
    assert found.rate > 0
    assert found.generator > 0


def test_every_frame_has_a_masking_key_of_its_own() -> None:
    """Frames are final texts, masked, the keys differ, and the messages are counted."""
    keys, messages = [], []

    async def handler(reader: Reader, writer: Writer) -> None:
        request = await accept(reader, writer)
        assert request.startswith(b"GET /path HTTP/1.1\r\n")
        while True:
            first, key, message = await receive(reader)
            assert first == TEXT
            keys.append(key)
            messages.append(message)
            writer.write(frame(message))

    found = load_of(handler, "echo", connections=1)
    assert found.valid, found.errors
    assert len(set(keys)) > len(keys) * 0.99 > 5
    assert len(set(messages)) == len(messages) == found.operations


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda m: frame(m[:9], 0x01) + frame(m[9:], 0x80), id="two fragments"),
        pytest.param(
            lambda m: frame(m[:9], 0x01) + frame(b"", 0) + frame(b"?", 0x89) + frame(m[9:], 0x80),
            id="fragments with a ping between",
        ),
        pytest.param(lambda m: frame(b"", 0x8A) + frame(m), id="a pong before"),
    ],
)
def test_what_a_server_may_do(answer: Callable[[bytes], bytes]) -> None:
    """Fragments are put together and control frames do not disturb."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer)
        while True:
            first, _, message = await receive(reader)
            if first == TEXT:
                writer.write(answer(message))
            else:
                assert (first, message) == (0x8A, b"?")

    found = load_of(handler, "echo")
    assert found.valid, found.errors
    assert found.operations > 5


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        pytest.param("mismatch", lambda m: frame(m[:-1] + b"y"), id="another last byte"),
        pytest.param("mismatch", lambda m: frame(m[:-1]), id="a byte less"),
        pytest.param("mismatch", lambda m: frame(m) * 2, id="twice"),
        pytest.param("mismatch", lambda m: frame(b"0000000007" + m[10:]), id="of another socket"),
        pytest.param("protocol", lambda m: frame(m, 0x82), id="binary"),
        pytest.param("protocol", lambda m: frame(m, 0xC1), id="a reserved bit"),
        pytest.param("protocol", lambda m: frame(m, 0x83), id="an unknown opcode"),
        pytest.param("protocol", lambda m: frame(m, 0x80), id="no beginning"),
        pytest.param("protocol", lambda m: frame(m, 0x01) + frame(m), id="no end"),
        pytest.param("protocol", lambda m: b"\x81\x84maskmask", id="masked"),
        pytest.param("protocol", lambda m: b"\x81\x7f" + bytes(8), id="length of 64 bits"),
        pytest.param("closed", lambda m: frame(b"\x03\xe8", 0x88), id="close"),
    ],
)
def test_wrong_answers_are_counted_by_kind(kind: str, answer: Callable[[bytes], bytes]) -> None:
    """Each of two sockets has one trouble, of this kind and no other."""
    found = load_of(answering(answer), "echo")
    assert {name: count for name, count in found.errors.items() if count} == {kind: 2}
    assert not found.valid


@pytest.mark.parametrize(
    "lines",
    [
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: no\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"",
    ],
)
def test_refused_handshakes(lines: bytes) -> None:
    """Another status, another or no accept value, or the end of the connection."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(lines)

    assert load_of(handler, "echo").errors["handshake"] == 2


def test_an_extension_that_nobody_offered() -> None:
    """The generator offers no compression, so a server that takes it up is wrong."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await accept(reader, writer, b"sec-websocket-extensions: permessage-deflate")
        await reader.read()

    assert load_of(handler, "echo").errors["handshake"] == 2


def test_nobody_listens() -> None:
    """Refused connections are counted, and the generator still reports."""
    with served(lambda: raw_server(answering(frame))) as port:
        pass
    with Sockets("echo", "/", 64).prepared(port, 3, 0.1) as run:
        assert run().errors["connect"] == 3


# --- fan-out -----------------------------------------------------------------------------------


def fan_out(alter: Callable[[int, bytes], bytes]) -> Load:
    """A server that gives the subscriber of number n `alter(n, message)`; there are three."""
    subscribers: list[Writer] = []

    async def handler(reader: Reader, writer: Writer) -> None:
        request = await accept(reader, writer)
        if request.startswith(b"GET /path "):
            subscribers.append(writer)
            writer.write(frame(b"subscribed"))
            await reader.read()
        while request.startswith(b"GET /publish "):
            message = (await receive(reader))[2]
            for number, subscriber in enumerate(subscribers):
                subscriber.write(alter(number, message))

    return load_of(handler, "fanout", connections=3)


def test_fan_out_counts_deliveries() -> None:
    """Each message that is published is counted once for each subscriber."""
    published = set()

    def alter(number: int, message: bytes) -> bytes:
        published.add(message)
        return frame(message)

    found = fan_out(alter)
    assert found.valid, found.errors
    assert found.operations == 3 * len(published) > 6


def test_a_subscriber_that_gets_something_else_or_twice() -> None:
    """Only that one is counted as in trouble; the others go on."""
    found = fan_out(lambda number, message: frame(message) * (2 if number == 1 else 1))
    assert found.errors["mismatch"] == 1
    assert found.operations > 6


def test_a_subscriber_that_gets_nothing() -> None:
    """One of three deliveries is missing when the patience is over; nothing more is published."""
    found = fan_out(lambda number, message: b"" if number == 1 else frame(message))
    assert (found.errors["missing"], found.operations) == (1, 2)


# --- server-sent events ------------------------------------------------------------------------


def event(number: int) -> bytes:
    start = f"id: {number:010d}\ndata: {time.monotonic_ns():020d} ".encode()
    return start + b"x" * (128 - len(start) - 2) + b"\n\n"


def chunk(text: bytes) -> bytes:
    return b"%X;name=value\r\n%b\r\n" % (len(text), text)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"


def streaming(start: bytes, make: Callable[[int], bytes], *, bytewise: bool = False) -> Handler:
    """A server that sends a head and `make(0)`, `make(1)` and so on, in pieces or whole."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await head(reader)
        writer.write(start)
        number = 0
        while True:
            text = make(number)
            for at in range(0, len(text), 1 if bytewise else len(text) or 1):
                writer.write(text[at : at + 1] if bytewise else text)
                await writer.drain()
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            number += 1

    return handler


@pytest.mark.parametrize(
    ("start", "make", "bytewise"),
    [
        pytest.param(CHUNKED, lambda n: chunk(event(n)), False, id="a chunk each"),
        pytest.param(CHUNKED, lambda n: chunk(event(n)), True, id="byte by byte"),
        pytest.param(
            CHUNKED, lambda n: chunk(event(2 * n) + event(2 * n + 1)), False, id="two in a chunk"
        ),
        pytest.param(STREAM + b"\r\n", event, False, id="not chunked"),
    ],
)
def test_events_are_counted(start: bytes, make: Callable[[int], bytes], bytewise: bool) -> None:
    """However the stream is cut, every event is found, and its age is the latency."""
    found = load_of(streaming(start, make, bytewise=bytewise), "events")
    assert found.valid, found.errors
    assert found.operations > 5
    assert 0 < found.latency_p50 < 10_000


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        pytest.param("mismatch", lambda n: chunk(event(n + n // 3)), id="one left out"),
        pytest.param("mismatch", lambda n: chunk(event(n).replace(b"xx\n", b"xy\n")), id="a byte"),
        pytest.param("mismatch", lambda n: chunk(event(n)[:6] + event(n)[8:]), id="too short"),
        pytest.param("mismatch", lambda n: chunk(b"x" * 128), id="not an event"),
        pytest.param("protocol", lambda n: b"0\r\n\r\n", id="the end of a stream without end"),
        pytest.param("protocol", lambda n: b"xyz\r\n", id="not a chunk"),
    ],
)
def test_wrong_streams_are_counted_by_kind(kind: str, make: Callable[[int], bytes]) -> None:
    """Each of two streams has one trouble, of this kind and no other."""
    found = load_of(streaming(CHUNKED, make), "events")
    assert {name: count for name, count in found.errors.items() if count} == {kind: 2}


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    ],
)
def test_what_is_no_stream_of_events(start: bytes) -> None:
    """Another status or another content type."""
    assert load_of(streaming(start, event), "events").errors["handshake"] == 2


# --- the program -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generator", "connections", "word"),
    [
        (Sockets("sing", "/", 64), 1, "status 2"),
        (Sockets("echo", "/", 63), 1, "status 2"),
        (Sockets("echo", "/", 4097), 1, "status 2"),
        (Sockets("echo", "/", 64), 0, "status 2"),
    ],
)
def test_arguments_out_of_range_are_refused(
    generator: Sockets, connections: int, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The generator names the argument and ends at once."""
    with pytest.raises(BadReport, match=word), generator.prepared(1, connections, 1):
        pass
    assert capfd.readouterr().err.startswith("generator: ")


@pytest.mark.parametrize("text", [b"", b"ready\n", b"{}\n", b'{"operations": 1, "seconds": 0}'])
def test_what_is_no_report_is_refused(text: bytes) -> None:
    """Nothing but a whole report becomes a result."""
    with pytest.raises(BadReport, match="not a report"):
        sockets.read(text)


# --- what wrk does not look at -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "right"),
    [(b"200 OK", b"yes", True), (b"200 OK", b"no", False), (b"404 Not Found", b"yes", False)],
)
def test_answers_are_compared_before_wrk_begins(status: bytes, body: bytes, right: bool) -> None:
    """Another status or another body is no answer, and no load is run."""

    async def handler(reader: Reader, writer: Writer) -> None:
        await head(reader)
        length = str(len(body)).encode()
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: %b\r\n\r\n%b" % (status, length, body))
        await writer.drain()

    with served(lambda: raw_server(handler)) as port:
        if right:
            Http("/", b"yes").check(port)
            return
        with pytest.raises(BadReport, match="is not the answer"):
            Http("/", b"yes").check(port)
