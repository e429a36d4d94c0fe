# SPDX-License-Identifier: Apache-2.0
"""PEP 3333 as an application sees it: the environ and `wsgi.input`, over real connections."""

from __future__ import annotations

import io
from typing import Any

import pytest

from apps.input_forms import FORMS, summary
from live.raw import PLAIN, Raw, chunked, request
from live.samples import pieces
from live.serving import Served

SMALL = b"first line\nsecond\n\nlast, without its end"
LARGE = b"".join(b"line %d %s\n" % (n, b"=" * (n % 200)) for n in range(4000))  # over body_buffer


def environ(cases: Served, path: str, *fields: str, version: str = "1.1") -> dict[str, Any]:
    with Raw(cases) as raw:
        seen: dict[str, Any] = raw.ask("GET", path, *fields, version=version).json
        seen["client"] = raw.socket.getsockname()
        return seen


def test_path_is_decoded_to_latin_1(cases: Served) -> None:
    """PATH_INFO: percent-decoded bytes as latin-1 characters; SCRIPT_NAME is empty."""
    seen = environ(cases, "/environ/caf%C3%A9%2F%25/%E6")
    assert seen["PATH_INFO"] == "/environ/caf\xc3\xa9/%/\xe6"
    assert seen["SCRIPT_NAME"] == ""


def test_query_is_left_as_it_is(cases: Served) -> None:
    """QUERY_STRING is what follows the first question mark, undecoded; empty without one."""
    assert environ(cases, "/environ/?a=%C3%A9+b&c=?")["QUERY_STRING"] == "a=%C3%A9+b&c=?"
    assert environ(cases, "/environ/")["QUERY_STRING"] == ""


def test_field_values_are_latin_1(cases: Served) -> None:
    """UTF-8 in a field arrives as its bytes, each one character; outer spaces are gone."""
    seen = environ(cases, "/environ/", "X-Sample:  caf\xc3\xa9 \t", "X-Empty:")
    assert (seen["HTTP_X_SAMPLE"], seen["HTTP_X_EMPTY"]) == ("caf\xc3\xa9", "")


def test_repeated_fields_are_joined(cases: Served) -> None:
    """Repeated request fields in order with a comma, cookies with a semicolon."""
    seen = environ(cases, "/environ/", "X-A: 1", "Cookie: a=1", "x-a: 2", "Cookie: b=2")
    assert (seen["HTTP_X_A"], seen["HTTP_COOKIE"]) == ("1, 2", "a=1; b=2")


def test_addresses_and_scheme_are_true(cases: Served) -> None:
    """REMOTE_ADDR and REMOTE_PORT are the client's, SERVER_PORT ours."""
    seen = environ(cases, "/environ/")
    assert [seen["REMOTE_ADDR"], int(seen["REMOTE_PORT"])] == list(seen["client"])
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("127.0.0.1", str(cases.port))
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("http", "site.example")
    assert (seen["wsgi.multithread"], seen["wsgi.multiprocess"]) == (True, False)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_server_protocol(cases: Served, version: str) -> None:
    """SERVER_PROTOCOL is the version the client spoke."""
    assert environ(cases, "/environ/", version=version)["SERVER_PROTOCOL"] == f"HTTP/{version}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_input_reads_like_a_file(cases: Served, form: str, body: bytes, framing: str) -> None:
    """wsgi.input gives what a file with the same bytes gives, and then nothing more."""
    path = f"/input/{form}".replace(" ", "%20")
    fields = [PLAIN] if form == "read" else []  # the validator wants a size
    if framing == "length":
        data, fields = body, [*fields, f"Content-Length: {len(body)}"]
    else:
        data, fields = chunked(*pieces(body, 999)), [*fields, "Transfer-Encoding: chunked"]
    with Raw(cases) as raw:
        reply = raw.ask("POST", path, *fields, body=data)
    assert reply.json == ["POST", *summary(FORMS[form](io.BytesIO(body)))]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "REPORT"])
def test_body_on_any_method(cases: Served, method: str) -> None:
    """A body arrives whatever the method."""
    with Raw(cases) as raw:
        reply = raw.ask(method, "/input/read", PLAIN, body=SMALL)
    assert reply.json == [method, *summary([SMALL, b""])]


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_reading_too_much_leaves_the_next_request_alone(cases: Served, body: bytes) -> None:
    """An app that asks for more than the body gets the body; what is pipelined stays a request."""
    with Raw(cases) as raw:
        first = request("POST", "/input/read(too%20many)", body=body)
        raw.send(first + request("GET", "/hello/"))
        assert raw.reply().json == ["POST", *summary([body, b""])]
        assert raw.reply().body == b"hello"


def test_small_body_that_is_not_read(cases: Served) -> None:
    """What the app leaves of a body is not taken for the next request."""
    with Raw(cases) as raw:
        disguised = request("GET", "/fields/")
        raw.send(request("POST", "/unread/", body=disguised) + request("GET", "/hello/"))
        assert raw.reply().body == b"unread"
        assert raw.reply().body == b"hello"


def test_large_body_that_is_not_read(cases: Served) -> None:
    """Answered before its body has come: the connection is closed, nothing of it is a request."""
    with Raw(cases) as raw:
        raw.send(request("POST", "/unread/", "Content-Length: 1000000", body=b"GET / HTTP/1.1\r\n"))
        reply = raw.reply()
        assert (reply.body, reply.head.one("connection")) == (b"unread", "close")
        assert raw.rest() == b""
