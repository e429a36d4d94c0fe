# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 connections: reuse, pipelining, idle time, HTTP/1.0, Expect."""

from __future__ import annotations

import time

import pytest

from apps.gate import Gate
from live.raw import PLAIN, Raw, request
from live.serving import Served

KEEPALIVE = 2.0  # seconds, the default
CLOSE = "Connection: close"
KEEP = "Connection: keep-alive"
EXPECT = "Expect: 100-continue"


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


def test_hundred_requests_on_one_connection(cases: Served) -> None:
    """Keep-alive: the connection is used again, for GETs and for bodies."""
    with Raw(cases) as raw:
        port = str(raw.socket.getsockname()[1])
        for _ in range(50):
            assert raw.ask("GET", "/environ/").json["REMOTE_PORT"] == port
            assert raw.ask("POST", "/input/read(n)", body=b"12345").json[:3] == ["POST", 2, 5]


def test_pipelined_requests_are_answered_in_order(cases: Served) -> None:
    """Twenty requests in one write: twenty answers in the same order."""
    with Raw(cases) as raw:
        raw.send(b"".join(request("GET", f"/environ/?{number}") for number in range(20)))
        queries = [raw.reply().json["QUERY_STRING"] for _ in range(20)]
    assert queries == [str(number) for number in range(20)]


def test_pipelined_request_waits_for_the_one_before(cases: Served, gate: Gate) -> None:
    """A quick request behind a slow one is answered after it."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/waiting/", gate_field(gate)) + request("GET", "/hello/"))
        gate.expect("waiting")
        gate.open()
        assert [raw.reply().body, raw.reply().body] == [b"waited", b"hello"]


def test_idle_connection_is_closed(cases: Served) -> None:
    """After `keepalive` seconds without a request the connection ends, not before."""
    with Raw(cases) as raw:
        begin = time.monotonic()
        assert raw.ask("GET", "/hello/").body == b"hello"
        assert raw.rest() == b""
        idle = time.monotonic() - begin
    assert KEEPALIVE - 0.01 < idle < KEEPALIVE + 30


def test_response_may_take_longer_than_keepalive(cases: Served, gate: Gate) -> None:
    """`keepalive` is the time between requests: a response that takes longer is not cut."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/gated/", gate_field(gate)))
        raw.head()
        assert raw.chunk() == b"first"
        gate.expect("after the first")
        raw.socket.settimeout(KEEPALIVE + 1)
        with pytest.raises(TimeoutError):
            raw.socket.recv(1)  # nothing comes, and the connection does not end
        gate.open()
        raw.socket.settimeout(10)
        # The file over the socket refuses to go on after a timeout.
        assert raw.socket.recv(100).startswith(b"6\r\nsecond\r\n")


def test_close_is_honoured(cases: Served) -> None:
    """Connection: close from the client: answered with close, and closed."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", "/hello/", CLOSE)
        assert (reply.body, reply.head.one("connection")) == (b"hello", "close")
        assert raw.rest() == b""


def test_http_1_0_closes(cases: Served) -> None:
    """HTTP/1.0 without keep-alive: one response, then the connection ends."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", "/hello/", version="1.0")
        assert (reply.head.version, reply.body) == ("HTTP/1.1", b"hello")
        assert raw.rest() == b""


def test_http_1_0_with_keep_alive(cases: Served) -> None:
    """HTTP/1.0 with Connection: keep-alive: told so, and the connection is used again."""
    with Raw(cases) as raw:
        for _ in range(3):
            reply = raw.ask("GET", "/hello/", KEEP, PLAIN, version="1.0")
            assert (reply.body, reply.head.one("connection")) == (b"hello", "keep-alive")


def test_http_1_0_stream_ends_with_the_connection(cases: Served) -> None:
    """Keep-alive cannot frame a body of unknown length in HTTP/1.0: it closes."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", "/sparse/", KEEP, version="1.0")
        assert reply.head.every("transfer-encoding") == []
        assert reply.head.one("connection") != "keep-alive"
        assert (reply.body, raw.rest()) == (b"one two", b"")


@pytest.mark.parametrize("size", [5, 200_000])
def test_continue_before_the_body(cases: Served, size: int) -> None:
    """Expect: 100-continue: 100 comes before any byte of the body, then the answer."""
    with Raw(cases) as raw:
        raw.send(request("POST", "/input/read(n)", EXPECT, f"Content-Length: {size}"))
        interim = raw.reply()
        assert (interim.status, interim.head.fields) == (100, [])
        raw.send(b"x" * size)
        assert raw.reply().json[2] == size


def test_too_large_body_is_refused_without_continue(cases: Served) -> None:
    """413 at once, no 100: the client need not send the body."""
    with Raw(cases) as raw:
        size = (1 << 30) + 1  # max_body is 1 GiB
        reply = raw.ask("POST", "/input/read(n)", EXPECT, f"Content-Length: {size}")
        assert (reply.status, reply.head.one("connection")) == (413, "close")
        assert raw.rest() == b""


def test_other_expectations_are_refused(cases: Served) -> None:
    """An expectation that is not 100-continue: 417."""
    with Raw(cases) as raw:
        assert raw.ask("POST", "/input/read(n)", "Expect: magic", body=b"x").status == 417


def test_http_1_0_never_hears_of_continue(cases: Served) -> None:
    """A client of HTTP/1.0 does not know 100: its Expect is ignored (RFC 9110, 10.1.1)."""
    with Raw(cases) as raw:
        reply = raw.ask("POST", "/input/read(n)", EXPECT, body=b"12345", version="1.0")
        assert (reply.status, reply.json[2]) == (200, 5)
