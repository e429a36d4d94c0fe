# SPDX-License-Identifier: Apache-2.0
"""Responses as `http.response.start` and `http.response.body` messages."""

from __future__ import annotations

import pytest

from apps.asgi_cases import EVIL
from apps.gate import Gate
from live.raw import Raw, request
from live.serving import Served


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


def test_hello(asgi: Served) -> None:
    """A whole response is told its length, dated, and the connection is kept."""
    with Raw(asgi) as raw:
        for _ in range(3):
            reply = raw.ask("GET", "/hello/")
            assert (reply.status, reply.body) == (200, b"hello")
            assert reply.head.one("content-type") == "text/plain"
            assert reply.head.one("date")
            assert reply.head.one("server")


def test_fields(asgi: Served) -> None:
    """Two Set-Cookie stay two; others are repeated or joined in order; values are bytes."""
    with Raw(asgi) as raw:
        head = raw.ask("GET", "/fields/").head
    assert head.every("set-cookie") == ["one=1; Path=/", "two=2, with a comma"]
    assert ", ".join(head.every("x-several")) == "a, b, c"
    assert head.one("x-latin") == "caf\xe9"


def test_optional_keys_may_be_left_out(asgi: Served) -> None:
    """`headers`, `body` and `more_body` have their defaults."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/bare/").status == 204
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_any_iterable_of_pairs_is_headers(asgi: Served) -> None:
    """A generator of lists is as good as a list of tuples; unknown keys are ignored."""
    with Raw(asgi) as raw:
        reply = raw.ask("GET", "/odd/")
    assert (reply.status, reply.body) == (201, b"odd")
    assert (reply.head.one("x-one"), reply.head.one("x-two")) == ("1", "2")


def test_streaming_is_streaming(asgi: Served, gate: Gate) -> None:
    """The first chunk reaches the client before the second is produced."""
    with Raw(asgi) as raw:
        raw.send(request("GET", "/gated/", gate_field(gate)))
        assert raw.head().status == 200
        assert raw.chunk() == b"first"
        gate.expect("after the first")
        gate.open()
        assert raw.chunk() == b"second"
        assert raw.chunk() == b""


def test_head_of_a_stream_comes_at_once(asgi: Served, gate: Gate) -> None:
    """The head of server-sent events is not held back until there is one: an empty body message
    flushes it.
    """
    with Raw(asgi) as raw:
        raw.send(request("GET", "/head-first/", gate_field(gate)))
        assert raw.head().one("content-type") == "text/event-stream"
        gate.expect("after the head")
        gate.open()
        assert raw.chunk() == b"data: 1\n\n"


def test_response_ends_before_the_application(asgi: Served, gate: Gate) -> None:
    """A client does not wait for what the application does after its response."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/after/", gate_field(gate)).body == b"answered"
        gate.expect("after the response")
        assert raw.ask("GET", "/hello/").body == b"hello"
        gate.open()
        gate.expect("finished")


def test_work_after_the_response_outlives_the_client(asgi: Served, gate: Gate) -> None:
    """Background work goes on when the client, who has its answer, leaves."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/after/", gate_field(gate)).body == b"answered"
        gate.expect("after the response")
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/hello/").body == b"hello"
    gate.open()
    gate.expect("finished")


def test_many_chunks(asgi: Served) -> None:
    """Chunks arrive whole and in order."""
    with Raw(asgi) as raw:
        body = raw.ask("GET", "/pieces/2000/1000").body
    assert len(body) == 2_000_000
    assert [int(body[i : i + 8]) for i in range(0, len(body), 1000)] == list(range(2000))


def test_empty_chunks(asgi: Served) -> None:
    """Empty body messages do not end the response."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/sparse/").body == b"one two"


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("kind", ["whole", "pieces"])
@pytest.mark.parametrize("status", ["204", "304"])
def test_statuses_without_a_body(asgi: Served, kind: str, status: str) -> None:
    """204 and 304 carry no body: the next response follows at once."""
    with Raw(asgi) as raw:
        raw.send(request("GET", f"/bodiless/{kind}/{status}"))
        assert raw.reply().status == int(status)
        assert raw.ask("GET", "/hello/").body == b"hello"


@pytest.mark.parametrize("path", ["/bodiless/whole/200", "/bodiless/pieces/200", "/hello/"])
def test_head_carries_no_body(asgi: Served, path: str) -> None:
    """HEAD has no body, whatever the application sends."""
    with Raw(asgi) as raw:
        assert raw.ask("HEAD", path).status == 200
        assert raw.ask("GET", "/hello/").body == b"hello"


@pytest.mark.parametrize("case", ["longer", "longer-later", "shorter", "nothing"])
def test_content_length_that_is_wrong(asgi: Served, case: str) -> None:
    """No byte beyond the length is sent, and the connection is closed, or it is a 500."""
    with Raw(asgi) as raw:
        raw.send(request("GET", f"/mismatch/{case}") + request("GET", "/hello/"))
        answer = raw.rest()
    # Before its head is sent a response can still become a 500.
    assert answer.count(b"HTTP/1.1") == 1 or answer.startswith(b"HTTP/1.1 500")
    assert b"evil!" not in answer
    if asgi.announcement.startswith("Hornbeam"):
        assert "ength" in asgi.errors()  # the mismatch is logged


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("number", range(len(EVIL)))
def test_injected_header_is_refused(asgi: Served, number: int) -> None:
    """CR, LF or NUL in a header the app returns: 500, never sent."""
    with Raw(asgi) as raw:
        reply = raw.ask("GET", f"/injected/{number}")
        assert reply.status == 500
        assert not [name for name, _ in reply.head.fields if "evil" in name]
        assert not reply.head.every("set-cookie")
        assert b"evil" not in reply.body


def test_transfer_encoding_of_the_application_is_ignored(asgi: Served) -> None:
    """A Transfer-Encoding header is the server's: the body is framed once."""
    with Raw(asgi) as raw:
        reply = raw.ask("GET", "/framing/")
        assert reply.body == b"framed once"
        assert reply.head.every("transfer-encoding") == ["chunked"]
        assert raw.ask("GET", "/hello/").body == b"hello"


@pytest.mark.parametrize("path", ["/silent/", "/raising/first"])
def test_no_answer_is_500(asgi: Served, path: str) -> None:
    """An app that returns without answering gives 500, and so does one that raises."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", path).status == 500
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_exception_is_logged_and_not_shown(asgi: Served) -> None:
    """The traceback is in the log; the client does not see it."""
    with Raw(asgi) as raw:
        body = raw.ask("GET", "/raising/first").body
    assert b"lost on the way" not in body
    assert "LookupError: lost on the way: first" in asgi.errors()


@pytest.mark.parametrize("path", ["/half/", "/raising/body"])
def test_broken_response_does_not_end_cleanly(asgi: Served, path: str) -> None:
    """A response that breaks off is cut: the last chunk is never sent."""
    with Raw(asgi) as raw:
        raw.send(request("GET", path))
        answer = raw.rest()
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/head-only/", "/raising/start"])
def test_head_that_is_not_followed(asgi: Served, path: str) -> None:
    """A start without a body is no answer: 500, or a response that is cut."""
    with Raw(asgi) as raw:
        raw.send(request("GET", path, "Connection: close"))
        answer = raw.rest()
    assert answer.startswith(b"HTTP/1.1 500") or not answer.endswith(b"0\r\n\r\n")


def test_nothing_follows_the_end(asgi: Served) -> None:
    """What is sent after the end of a response never reaches the client."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/later/").body == b"whole"
        assert raw.ask("GET", "/hello/").body == b"hello"
