# SPDX-License-Identifier: Apache-2.0
"""Statuses and headers that applications answer with, good and bad, through a real worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unit.worker.harness import Answer, Node

# HEAD, 204, 304.


@pytest.mark.parametrize("name", ["whole", "generator", "writes", "endless", "many_large"])
def test_head_has_no_body(raw_node: Node, name: str) -> None:
    """HEAD is answered with status and headers alone, whatever the application returns."""
    answer = raw_node.request(f"/{name}", method="HEAD")
    assert (answer.kind, answer.body) == ("response", b"")
    assert answer.headers[b"content-type"] == b"text/plain"


def test_head_tells_the_length_of_get(raw_node: Node) -> None:
    """Content-Length of HEAD is that of GET where the body is known, else it is not given."""
    assert raw_node.request("/whole", method="HEAD").headers[b"content-length"] == b"5"
    assert (
        raw_node.request("/declared", method="HEAD", query="5,hello").headers[b"content-length"]
        == b"5"
    )
    assert b"content-length" not in raw_node.request("/generator", method="HEAD").headers


@pytest.mark.parametrize("line", ["204+No+Content", "304+Not+Modified"])
def test_statuses_without_body(raw_node: Node, line: str) -> None:
    """204 and 304 are sent without the body the application returned."""
    answer = raw_node.request("/status", query=line)
    assert (answer.kind, answer.status, answer.body) == ("response", int(line[:3]), b"")
    assert answer.headers == {}


# Headers.


def test_repeated_headers(node: Node) -> None:
    """Two Set-Cookie headers stay two; any other repeated header is joined in order (RFC 9110,
    5.3)."""
    headers = node.request("/cookies").headers
    assert headers[b"set-cookie"] == [b"a=1; Path=/", b"b=2"]
    assert headers[b"x-list"] == b"one, two, three"


def test_forms_of_headers(raw_node: Node) -> None:
    """Latin-1 values, pairs that are lists, and any iterable of pairs are taken as other servers
    take them."""
    headers = raw_node.request("/header_forms").headers
    assert headers == {b"x-latin": b"caf\xe9", b"x-pair": b"padded", b"x-tab": b"a\tb"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("close", {b"connection": b"close"}),
        ("foo,\tClose", {b"connection": b"close"}),
        ("keep-alive", {}),
        ("closed", {}),
    ],
)
def test_hop_by_hop_headers(raw_node: Node, value: str, expected: dict[bytes, bytes]) -> None:
    """What belongs to the connection is left out, as gunicorn does; only its end is passed on."""
    headers = [["Connection", value], ["Keep-Alive", "timeout=5"], ["Upgrade", "h2c"]]
    headers += [["Transfer-Encoding", "chunked"], ["TE", "trailers"], ["X-A", "1"]]
    for _ in range(2):  # the second time out of what is remembered
        answer = bad_answer(raw_node, headers=headers)
        assert (answer.kind, answer.status) == ("response", 200)
        answer.headers.pop(b"content-length", None)
        assert answer.headers == {b"x-a": b"1", **expected}


def bad_answer(
    node: Node,
    status: Any = "200 OK",
    headers: Any = (("Content-Type", "text/plain"),),
    body: Any = ("body",),
    encode: bool = True,
) -> Answer:
    answer = {"status": status, "headers": list(headers), "body": list(body), "encode": encode}
    return node.request("/bad_answer", query=json.dumps(answer).encode().hex())


BAD_HEADERS = {
    "CR": [["X-A", "a\rb"]],
    "LF": [["X-A", "a\nSet-Cookie: x=1"]],
    "CR LF": [["X-A", "a\r\n\r\nbody"]],
    "NUL": [["X-A", "a\0b"]],
    "DEL": [["X-A", "a\x7f"]],
    "LF in a name": [["X-A\n", "a"]],
    "colon in a name": [["X:A", "a"]],
    "space in a name": [["X A", "a"]],
    "empty name": [["", "a"]],
    "name beyond ASCII": [["X-\xe9", "a"]],
    "value beyond latin-1": [["X-A", "\u20ac"]],
    "a number": [["X-A", 1]],
    "a value of None": [["X-A", None]],
    "three parts": [["X-A", "1", "2"]],
    "a text": ["X-A: 1"],
    "a length that is no number": [["Content-Length", "many"]],
    "a negative length": [["Content-Length", "-4"]],
    "two lengths": [["Content-Length", "4"], ["Content-Length", "5"]],
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_bad_headers(raw_node: Node, name: str) -> None:
    """A header that must not be sent is a 500 whose log line names it; it never reaches the
    node."""
    answer = bad_answer(raw_node, headers=BAD_HEADERS[name])
    assert answer.kind == "abort"
    assert answer.abort is not None
    assert answer.abort[0] == b"bad_response"
    assert answer.headers == {}


BAD_STATUSES = [
    "",
    "OK",
    "200OK",
    "20 OK",
    "2000 OK",
    "199 Early",
    "100 Continue",
    "200 a\nb",
    None,
    200,
]


@pytest.mark.parametrize("status", BAD_STATUSES)
def test_bad_statuses(raw_node: Node, status: Any) -> None:
    """A status that is none is a 500 that quotes it."""
    answer = bad_answer(raw_node, status=status)
    assert answer.abort is not None
    assert answer.abort[0] == b"bad_response"
    assert repr(status).encode() in answer.abort[1]


@pytest.mark.parametrize("line", ["200 OK", "200", "999 Whatever", "200 Ça va", "404 "])
def test_good_statuses(raw_node: Node, line: str) -> None:
    """A code from 200 to 999, with any reason or none, is sent."""
    assert bad_answer(raw_node, status=line).status == int(line[:3])


@pytest.mark.parametrize("body", [["text"], ["a", "b"], [1], [None], [["a"]]])
def test_bad_chunks(raw_node: Node, body: list[Any]) -> None:
    """A chunk that is not bytes is a 500 that says what it is."""
    answer = bad_answer(raw_node, body=body, encode=False)
    assert answer.abort is not None
    assert answer.abort[0] == b"bad_response"
    assert f"the body holds a {type(body[0]).__name__}, expected bytes".encode() in answer.abort[1]
