# SPDX-License-Identifier: Apache-2.0
"""WSGI applications for the tests; runs in a real worker.

`router` serves the application that the first segment of the path names, inside
`wsgiref.validate.validator`, which raises on whatever PEP 3333 forbids either side. `raw` serves
the same without it, for what the validator itself would hide from the server or stop.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

TEXT = [("Content-Type", "text/plain")]
APPLICATIONS: dict[str, WSGIApplication] = {}
closed: list[str] = []
gate = threading.Event()


def application(function: WSGIApplication) -> WSGIApplication:
    name = getattr(function, "__name__", "")
    APPLICATIONS[name.rstrip("_")] = function
    return function


def _find(environ: WSGIEnvironment) -> WSGIApplication:
    return APPLICATIONS[environ["PATH_INFO"].split("/")[1] or "environ"]


def router(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return validator(_find(environ))(environ, start_response)


def raw(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _find(environ)(environ, start_response)


class Closing:
    """An iterable with `close()`, which leaves its name in `closed`."""

    def __init__(self, name: str, chunks: Iterable[bytes]) -> None:
        self.name = name
        self.chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        closed.append(self.name)


def _json(start_response: StartResponse, value: object) -> list[bytes]:
    body = json.dumps(value, default=repr).encode()
    length = str(len(body))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", length)])
    return [body]


@application
def environ(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _json(start_response, {k: v for k, v in environ.items() if k != "wsgi.input"})


@application
def closings(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _json(start_response, closed)


@application
def open_gate(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    gate.set()
    return _json(start_response, True)


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
    gate.wait(10)
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
    gate.wait(10)


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


# Failures.


@application
def raises(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise ZeroDivisionError("before start_response")


@application
def raises_started(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    raise ZeroDivisionError("after start_response")


@application
def raises_streaming(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)

    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise ZeroDivisionError("after the first chunk")

    return Closing("raises_streaming", chunks())


@application
def exits(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["QUERY_STRING"] == "interrupt":
        raise KeyboardInterrupt
    sys.exit(3)


@application
def close_raises(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    class Raising(Closing):
        def close(self) -> None:
            raise RuntimeError("in close()")

    start_response("200 OK", TEXT)
    return Raising("", [b"fine"])


@application
def closes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return Closing("closes", [b"a", b"b"])


# Request bodies.


@application
def read(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Reads the body as the query says: calls such as `read(3);readline();rest`."""
    source: Any = environ["wsgi.input"]
    got: list[Any] = []
    for call in environ["QUERY_STRING"].split(";"):
        name, _, argument = call.rstrip(")").partition("(")
        if name == "iterate":
            got.append([line.decode("latin-1") for line in source])
            continue
        method: Callable[..., Any] = getattr(source, "read" if name == "rest" else name)
        value = method(int(argument)) if argument else method()
        got.append(
            [v.decode("latin-1") for v in value] if name == "readlines" else value.decode("latin-1")
        )
    return _json(start_response, got)


@application
def read_some(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Reads as much as the query says, then answers without reading on."""
    environ["wsgi.input"].read(int(environ["QUERY_STRING"]))
    start_response("200 OK", TEXT)
    yield b"read"


@application
def body_size(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Reads in blocks and tells how much there was, and whether it was all zeros."""
    size, ok = 0, True
    while block := environ["wsgi.input"].read(10000):
        size += len(block)
        ok = ok and not any(block)
    return _json(start_response, [size, ok])


@application
def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Sends back what it reads while it reads it."""
    start_response("200 OK", TEXT)
    source = environ["wsgi.input"]
    return iter(lambda: source.read(5), b"")


@application
def broken_body(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    try:
        environ["wsgi.input"].read(1000000)
    except OSError as exc:
        print(f"caught {type(exc).__name__}: {exc}", file=environ["wsgi.errors"])
        raise
    return _json(start_response, "no error")


# Files. Not inside the validator: it hides the file wrapper.


def _wrap(environ: WSGIEnvironment, file: Any) -> Iterable[bytes]:
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 4)
    return wrapped


@application
def file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serves the file of the query; further arguments: offset, Content-Length."""
    path, offset, length = environ["QUERY_STRING"].split(",")
    source = Path(path).open("rb")  # noqa: SIM115
    source.seek(int(offset))
    headers = [*TEXT, ("Content-Length", length)] if length else TEXT
    start_response("200 OK", headers)
    return _wrap(environ, source)


@application
def file_like(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    class Source:
        def __init__(self) -> None:
            self.rest = b"not a real file"

        def read(self, size: int) -> bytes:
            block, self.rest = self.rest[:size], self.rest[size:]
            return block

        def close(self) -> None:
            closed.append("file_like")

    start_response("200 OK", TEXT)
    return _wrap(environ, Source())


@application
def temporary_file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A file that is gone when it is closed: the node could come too late."""
    source = tempfile.NamedTemporaryFile()  # noqa: SIM115
    source.write(b"temporary")
    source.seek(0)
    start_response("200 OK", TEXT)
    return _wrap(environ, source)


@application
def deleted_file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    descriptor, path = tempfile.mkstemp()
    os.write(descriptor, b"deleted")
    os.close(descriptor)
    source = Path(path).open("rb")  # noqa: SIM115
    Path(path).unlink()
    start_response("200 OK", TEXT)
    return _wrap(environ, source)
