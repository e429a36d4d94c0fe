# SPDX-License-Identifier: Apache-2.0
"""`wsgi.input`: every way to read it, of bodies that came whole and of bodies that stream, by a
real worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hornbeam_erlang._wire import BODY_CREDIT, DATA, HEAD, RESPONSE
from unit.worker.harness import WINDOW, Node

BODY = b"first line\nsecond\r\n\nlast \xff\x00 without end"
LINES = BODY.decode("latin-1").split("\n")
LINES = [line + "\n" for line in LINES[:-1]] + LINES[-1:]
TEXT = BODY.decode("latin-1")

READS: dict[str, list[Any]] = {
    "rest": [TEXT],
    "read(5);read(0);read(6);rest;rest": [TEXT[:5], "", TEXT[5:11], TEXT[11:], ""],
    "read(1000000);read(1)": [TEXT, ""],
    "read(-1)": [TEXT],
    "readline();readline();rest": [*LINES[:2], "".join(LINES[2:])],
    "readline(3);readline(100)": [TEXT[:3], LINES[0][3:]],
    "readlines()": [LINES],
    "readlines(1);rest": [LINES[:1], "".join(LINES[1:])],
    "iterate": [LINES],
    "read(4);iterate;rest": [TEXT[:4], [LINES[0][4:], *LINES[1:]], ""],
}


def portions(style: str) -> tuple[Any, list[bytes]]:
    """The body field of OPEN, and the BODY messages that follow."""
    match style:
        case "whole":
            return BODY, []
        case "first bytes":
            return (BODY[:10], len(BODY)), [BODY[10:]]
        case "unknown length":
            return (b"", None), [BODY[:3], BODY[3:20], b"", BODY[20:]]
        case "bytewise":
            return (b"", len(BODY)), [bytes([byte]) for byte in BODY]
    raise ValueError(style)


@pytest.mark.parametrize("style", ["whole", "first bytes", "unknown length", "bytewise"])
@pytest.mark.parametrize("calls", READS)
def test_reading(raw_node: Node, calls: str, style: str) -> None:
    """Every method of `wsgi.input` gives the body and never more, however it arrives."""
    body, rest = portions(style)
    ident = raw_node.open("/read", method="POST", query=calls, body=body)
    if rest:
        raw_node.upload(ident, rest)
    answer = raw_node.answer(ident)
    assert answer.status == 200, answer
    assert json.loads(answer.body) == READS[calls]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "PATCH"])
def test_body_with_any_method(node: Node, method: str) -> None:
    """A body is there with every method, GET and DELETE included; the validator is silent about
    reading it."""
    answer = node.request("/read", method=method, query="read(5);read(100)", body=b"some body")
    assert json.loads(answer.body) == ["some ", "body"]


def test_no_body(node: Node) -> None:
    """Without a body `wsgi.input` is at its end."""
    assert json.loads(node.request("/read", query="read(10)").body) == [""]


def test_validated_stream(node: Node) -> None:
    """The streamed `wsgi.input` passes the validator."""
    ident = node.open("/body_size", method="POST", body=(bytes(5), None))
    node.upload(ident, [bytes(10)])
    assert json.loads(node.answer(ident).body) == [15, True]


def test_large_upload_under_credit(raw_node: Node) -> None:
    """An upload of many windows arrives complete; the worker never has more than its window on the
    way."""
    ident = raw_node.open("/body_size", method="PUT", body=(b"", 40 * WINDOW))
    raw_node.upload(ident, (bytes(WINDOW // 4) for _ in range(160)))
    assert json.loads(raw_node.answer(ident).body) == [40 * WINDOW, True]


def test_credit_comes_with_the_first_read(two_threads: Node) -> None:
    """Nothing of a body is granted to the node before the application reads."""
    node = two_threads
    ident = node.open("/gated", method="POST", body=(b"", None))
    node.expect(HEAD)
    node.expect(DATA)
    assert node.is_silent(0.05)
    node.request("/open_gate")
    assert node.answer(ident).chunks == [b"second"]


def test_no_credit_without_reading(raw_node: Node) -> None:
    """What the application has not read is not granted again: the node's sender waits."""
    ident = raw_node.open("/read_some", method="POST", body=(b"", None), query="1000")
    assert raw_node.expect(BODY_CREDIT)[2] == WINDOW
    raw_node.body(ident, bytes(WINDOW))
    assert raw_node.expect(HEAD)[1] == ident
    assert raw_node.answer(ident).kind == "stream"


def test_first_bytes_cost_no_credit(raw_node: Node) -> None:
    """The bytes that came with OPEN are not granted again."""
    ident = raw_node.open("/body_size", method="PUT", body=(bytes(3 * WINDOW), None))
    raw_node.body(ident, b"", fin=True)
    granted, message = 0, raw_node.receive()
    while message[0] == BODY_CREDIT:
        granted += message[2]
        message = raw_node.receive()
    assert granted <= WINDOW
    assert message[0] == RESPONSE
    assert json.loads(message[4]) == [3 * WINDOW, True]


def test_echo_while_the_body_arrives(node: Node) -> None:
    """The response may begin, and go on, before the body has ended."""
    ident = node.open("/echo", method="POST", body=(b"hello", None))
    assert node.expect(BODY_CREDIT)[2] == WINDOW
    node.expect(HEAD)
    assert node.expect(DATA)[2] == b"hello"
    node.body(ident, b"world")
    assert node.expect(DATA)[2] == b"world"
    assert node.expect(BODY_CREDIT)[2] == 5
    node.body(ident, b"!", fin=True)
    assert node.answer(ident).chunks == [b"!"]


@pytest.mark.parametrize("reason", [b"client_gone", b"timeout"])
def test_broken_body_is_an_error(raw_node: Node, reason: bytes) -> None:
    """A body that breaks off raises an OSError with the reason; it never looks like the end of the
    body."""
    ident = raw_node.open("/broken_body", method="POST", body=(b"some", 1000))
    raw_node.expect(BODY_CREDIT)
    raw_node.body(ident, b"more")
    raw_node.cancel(ident, reason)
    answer = raw_node.answer(ident)
    assert answer.abort is not None
    assert answer.abort[0] == b"cancelled"


def test_waiting_reader_is_told(raw_node: Node) -> None:
    """An application that waits for the body learns at once that it broke off, and its error is
    not logged."""
    before = raw_node.stderr()
    ident = raw_node.open("/broken_body", method="POST", body=(b"some", 100000))
    raw_node.expect(BODY_CREDIT)
    raw_node.body(ident, bytes(WINDOW))
    raw_node.expect(BODY_CREDIT)
    raw_node.cancel(ident, b"client_gone")
    answer = raw_node.answer(ident)
    assert answer.abort is not None
    assert answer.abort[0] == b"cancelled"
    log = raw_node.stderr()[len(before) :]
    assert "caught ConnectionAbortedError: the request body broke off: client_gone" in log
    assert "Traceback" not in log


def test_unread_body(node: Node) -> None:
    """An application may answer without reading; BODY that crosses the answer is dropped."""
    ident = node.open("/whole", method="POST", body=(b"unread", None))
    assert node.answer(ident).body == b"whole"
    node.body(ident, b"", fin=True)
    assert node.request("/whole").body == b"whole"
