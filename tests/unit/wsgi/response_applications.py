# SPDX-License-Identifier: Apache-2.0
"""Test applications: the forms a response can take."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from unit.wsgi.registry import TEXT, Closing, application, as_json, closed, gate


@application
def environ(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return as_json(start_response, {k: v for k, v in environ.items() if k != "wsgi.input"})


@application
def closings(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return as_json(start_response, closed)


@application
def open_gate(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    gate.set()
    return as_json(start_response, True)


# Forms of a response.


@application
def whole(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"whole"]


@application
def pieces(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return (b"a", b"", b"b", b"c")


@application
def empty(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return []


@application
def generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("201 Created", TEXT)
    yield b""
    yield b""
    yield b"one"
    yield b""
    yield b"two"


@application
def empty_generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b""


@application
def late_status(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Changes its mind about the status after an empty chunk."""
    start_response("200 OK", TEXT)
    yield b""
    try:
        raise ValueError("changed my mind")
    except ValueError:
        start_response("418 Teapot", [*TEXT, ("X-Mind", "changed")], sys.exc_info())
    yield b"teapot"


@application
def replaced_head(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise ValueError
    except ValueError:
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"oops"]


@application
def reraised(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"sent"
    try:
        raise KeyError("after the head")
    except KeyError:
        start_response("500 Oops", TEXT, sys.exc_info())
    yield b"never"


@application
def started_twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"never"]


@application
def never_started(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return [b"never"]


@application
def none(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return None  # type: ignore[return-value]


@application
def writes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"written ")
    write(b"twice ")
    return [b"and returned"]


@application
def only_writes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"written")
    return []


@application
def long_iterable(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return (b"x" * 10 for _ in range(1000))


@application
def large(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [bytes(int(environ["QUERY_STRING"]))]


@application
def many_large(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"x" * 50000, b"y" * 50000]


@application
def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)

    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    return Closing("endless", chunks())


@application
def gated(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The second chunk is not made before another request opens the gate."""
    gate.clear()
    start_response("200 OK", TEXT)
    yield b"first"
    gate.wait(30)
    yield b"second"


@application
def declared(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A generator with Content-Length; the query gives it and the chunks: `5,he,llo`."""
    length, *chunks = environ["QUERY_STRING"].split(",")
    start_response("200 OK", [*TEXT, ("Content-Length", length)])
    return Closing("declared", (chunk.encode() for chunk in chunks))


@application
def declared_list(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    length, *chunks = environ["QUERY_STRING"].split(",")
    start_response("200 OK", [*TEXT, ("Content-Length", length)])
    return [chunk.encode() for chunk in chunks]


@application
def declared_then_slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Has said all that Content-Length allows, and goes on working."""
    gate.clear()
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    yield b"done"
    gate.wait(30)


@application
def declared_then_raises(
    environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    yield b"done"
    raise OSError("too late")


@application
def status(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The status of the query; without Content-Type where the validator wants none."""
    line = environ["QUERY_STRING"].replace("+", " ")
    bare = line[:3] in ("204", "304")
    start_response(line, [] if bare else TEXT)
    return Closing("status", [b"body"])


@application
def bad_answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers what the JSON of the query says: status, headers, body (texts as latin-1)."""
    answer: Any = json.loads(bytes.fromhex(environ["QUERY_STRING"]))
    headers = [tuple(pair) if isinstance(pair, list) else pair for pair in answer["headers"]]
    start_response(answer["status"], headers)
    chunks: Any = answer["body"]
    return [c.encode("latin-1") if answer.get("encode", True) else c for c in chunks]


@application
def stubborn(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Recovers from a header that was refused."""
    try:
        start_response("200 OK", [("X-Bad", "a\nb")])
    except ValueError:
        start_response("200 OK", TEXT)
    return [b"recovered"]


@application
def cookies(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    headers = [
        ("Set-Cookie", "a=1; Path=/"),
        ("X-List", "one"),
        ("set-cookie", "b=2"),
        ("x-list", "two"),
        ("X-LIST", "three"),
        *TEXT,
    ]
    start_response("200 OK", headers)
    return [b""]


@application
def header_forms(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    headers: Any = iter([("X-Latin", "caf\xe9"), ["X-Pair", " padded "], ("X-Tab", "a\tb")])
    start_response("200 OK", headers)
    return [b"ok"]
