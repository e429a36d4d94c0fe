# SPDX-License-Identifier: Apache-2.0
"""Test applications: failures, request bodies and files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from unit.wsgi.registry import TEXT, Closing, application, as_json, closed

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
    return as_json(start_response, got)


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
    return as_json(start_response, [size, ok])


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
    return as_json(start_response, "no error")


# Files. Not inside the validator: it hides the file wrapper.


def _wrap(environ: WSGIEnvironment, file: Any) -> Iterable[bytes]:
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 4)
    return wrapped


@application
def file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serves the file of the query; further arguments: offset, Content-Length."""
    path, offset, length = environ["QUERY_STRING"].split(",")
    source = Path(path).open("rb")
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
    source = tempfile.NamedTemporaryFile()
    source.write(b"temporary")
    source.seek(0)
    start_response("200 OK", TEXT)
    return _wrap(environ, source)


@application
def deleted_file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    descriptor, path = tempfile.mkstemp()
    os.write(descriptor, b"deleted")
    os.close(descriptor)
    source = Path(path).open("rb")
    Path(path).unlink()
    start_response("200 OK", TEXT)
    return _wrap(environ, source)
