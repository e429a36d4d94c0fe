# SPDX-License-Identifier: Apache-2.0
"""PEP 3333 as a client sees it: heads, bodies, streaming, and what ends a response."""

from __future__ import annotations

import pytest

from apps.gate import Gate
from apps.wsgi_cases import BODIES, EMPTIES, EVIL
from live.raw import PLAIN, Raw, request
from live.serving import Served, wait_until


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


def test_generator_starts_its_response_when_it_is_first_asked(cases: Served) -> None:
    """An app written as a generator: status and headers come from the first next()."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", "/lazy/")
    assert (reply.status, reply.head.one("x-made-in"), reply.body) == (201, "generator", b"made")


def test_exc_info_before_the_head_replaces_it(cases: Served) -> None:
    """Nothing of the first start_response is sent."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", "/replaced/")
    assert (reply.status, reply.body) == (503, b"sorry")
    assert reply.head.every("x-first") == []
    assert reply.head.one("x-second") == "1"


def test_exc_info_after_the_head_raises_it(cases: Served, gate: Gate) -> None:
    """start_response raises the very exception; the response is broken off, not ended."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/late/", gate_field(gate)))
        assert raw.head().status == 200
        assert raw.chunk() == b"part"
        gate.expect("raised it")
        assert raw.rest() == b""  # no last chunk


def test_start_response_twice_is_an_error(cases: Served) -> None:
    """A second start_response without exc_info: 500."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/twice/").status == 500


def test_write_sends_before_it_returns(cases: Served, gate: Gate) -> None:
    """What was written reaches the client while the app goes on; what is returned comes last."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/written/", gate_field(gate)))
        assert raw.head().status == 200
        assert raw.chunk() == b"written "
        gate.expect("written")
        gate.open()
        assert b"".join(iter(raw.chunk, b"")) == b"again returned"


@pytest.mark.parametrize(
    ("method", "end", "status"),
    [
        ("GET", "full", 200),
        ("GET", "empty", 200),
        ("GET", "raise-first", 500),
        ("HEAD", "full", 200),
        ("HEAD", "endless", 200),
        ("HEAD", "raise-first", 500),
    ],
)
def test_close_is_called_once(
    cases: Served, gate: Gate, method: str, end: str, status: int
) -> None:
    """close() of the iterable: after a whole body, an empty one, an exception, and for HEAD."""
    with Raw(cases) as raw:
        assert raw.ask(method, f"/closing/{end}", gate_field(gate)).status == status
        gate.expect("closed 1")


def test_close_is_called_after_an_exception_within_the_body(cases: Served, gate: Gate) -> None:
    """An exception after the first chunk: broken off without a last chunk, and closed."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/closing/raise-later", gate_field(gate)))
        assert raw.head().status == 200
        assert raw.chunk() == b"a"
        gate.expect("closed 1")
        assert raw.rest() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_close_is_called_when_the_client_leaves(cases: Served, gate: Gate, version: str) -> None:
    """An endless generator stops and is closed when its client leaves."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/closing/endless", gate_field(gate), version=version))
        assert raw.head().status == 200
        assert len(raw.file.read(1_000_000)) == 1_000_000
    gate.expect("closed 1")


@pytest.mark.parametrize("fields", [[], [PLAIN]], ids=["checked", "plain"])
@pytest.mark.parametrize("kind", EMPTIES)
def test_iterables_without_a_byte(cases: Served, kind: str, fields: list[str]) -> None:
    """Empty lists, iterators and chunks: the head is sent, the body is empty."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", f"/empty/{kind}", *fields)
        assert (reply.status, reply.head.one("x-head"), reply.body) == (200, "here", b"")
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_empty_chunks_are_skipped(cases: Served) -> None:
    """b'' before, between and after the others ends nothing."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/sparse/").body == b"one two"


@pytest.mark.parametrize("length", ["", "11"])
def test_first_chunk_comes_before_the_second_is_produced(
    cases: Served, gate: Gate, length: str
) -> None:
    """Streaming is streaming, in chunks and with a Content-Length."""
    with Raw(cases) as raw:
        raw.send(request("GET", f"/gated/{length}", gate_field(gate)))
        head = raw.head()
        assert head.one("content-length") == (length or None)
        assert (raw.file.read(5) if length else raw.chunk()) == b"first"
        gate.expect("after the first")
        gate.open()
        assert (raw.file.read(6) if length else raw.chunk()) == b"second"
        assert length or raw.chunk() == b""


def test_first_chunk_comes_first_in_http_1_0(cases: Served, gate: Gate) -> None:
    """HTTP/1.0 streams as well: no chunks, the end of the connection is the end of the body."""
    with Raw(cases) as raw:
        raw.send(request("GET", "/gated/", gate_field(gate), version="1.0"))
        assert raw.head().every("transfer-encoding") == []
        assert raw.file.read(5) == b"first"
        gate.expect("after the first")
        gate.open()
        assert raw.rest() == b"second"


def test_two_set_cookie_stay_two(cases: Served) -> None:
    """Each Set-Cookie is a field line of its own, in order, commas and all."""
    with Raw(cases) as raw:
        head = raw.ask("GET", "/fields/").head
    assert head.every("set-cookie") == ["one=1; Path=/", "two=2, with a comma"]


def test_repeated_fields_keep_their_order(cases: Served) -> None:
    """A field that the app repeats is joined or repeated, in order, never lost (RFC 9110, 5.3)."""
    with Raw(cases) as raw:
        head = raw.ask("GET", "/fields/").head
    assert ", ".join(head.every("x-several")) == "a, b, c"
    assert head.one("x-latin") == "caf\xe9"


@pytest.mark.parametrize(("kind", "name"), [("list", "longer"), ("iterator", "longer-later")])
def test_body_longer_than_its_length(cases: Served, kind: str, name: str) -> None:
    """Exactly Content-Length bytes, then the connection ends: nothing is smuggled; it is logged."""
    before = cases.errors().count("Content-Length is 5")
    with Raw(cases) as raw:
        raw.send(request("GET", f"/mismatch/{kind}/{name}", PLAIN) + request("GET", "/hello/"))
        reply = raw.reply()
        assert (reply.status, reply.body) == (200, b"hello")
        assert raw.rest() == b""
    wait_until(lambda: cases.errors().count("Content-Length is 5") > before, "it is logged")
    assert BODIES[name][0] == 5


def test_body_shorter_than_its_length(cases: Served) -> None:
    """A stream that ends early: the connection ends, so that the client sees it; it is logged."""
    before = cases.errors().count("Content-Length is 10")
    with Raw(cases) as raw:
        raw.send(request("GET", "/mismatch/iterator/shorter", PLAIN) + request("GET", "/hello/"))
        assert raw.head().one("content-length") == "10"
        assert raw.rest() == b"hello"
    wait_until(lambda: cases.errors().count("Content-Length is 10") > before, "it is logged")


def test_whole_body_shorter_than_its_length(cases: Served) -> None:
    """A list is known to be too short before the head is sent: 500."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/mismatch/list/shorter", PLAIN).status == 500


@pytest.mark.parametrize("kind", ["list", "iterator"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(cases: Served, method: str, status: int, kind: str) -> None:
    """HEAD, 204 and 304 carry no byte of a body: the next response on the connection is whole."""
    with Raw(cases) as raw:
        raw.send(request(method, f"/bodiless/{kind}/{status}", PLAIN) + request("GET", "/hello/"))
        reply = raw.reply(method)
        assert reply.status == status
        assert status != 204 or reply.head.every("content-length") == []
        assert raw.reply().body == b"hello"


@pytest.mark.parametrize("number", range(len(EVIL)))
def test_field_that_must_not_be_sent(cases: Served, number: int) -> None:
    """CR, LF, NUL, or a name that is no token, from the app: 500, nothing of it is sent."""
    with Raw(cases) as raw:
        raw.send(request("GET", f"/injected/{number}", PLAIN, "Connection: close"))
        answer = raw.rest()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in answer
