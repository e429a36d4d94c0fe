# SPDX-License-Identifier: Apache-2.0
"""WSGI applications, each of which does one thing that PEP 3333 speaks of; `/name/argument`
chooses.

Runs in: the worker. All are wrapped in `wsgiref.validate`, except in requests with the header
X-Plain: for what the validator forbids, and for what it hides from the server, whose iterables it
wraps: that a body is a list, or a file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from wsgiref.validate import validator

from apps.gate import Side
from apps.input_forms import FORMS, summary

Environ: TypeAlias = dict[str, Any]
App: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]

TEXT = ("Content-Type", "text/plain")


def argument(environ: Environ) -> str:
    path: str = environ["PATH_INFO"]
    return path.split("/", 2)[2]


def hello(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return [b"hello"]


def lazy(_environ: Environ, start_response: Any) -> Iterator[bytes]:
    """Nothing of it runs before the first next()."""
    start_response("201 Created", [TEXT, ("X-Made-In", "generator")])
    yield b"made"


def replaced(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("X-First", "1")])
    try:
        raise LookupError("before the head was sent")
    except LookupError:
        start_response("503 Service Unavailable", [TEXT, ("X-Second", "1")], sys.exc_info())
    return [b"sorry"]


def late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """start_response with exc_info after the head was sent raises the exception in it."""
    side = Side(environ)
    start_response("200 OK", [TEXT])
    yield b"part"
    try:
        raise LookupError("after the head was sent")
    except LookupError as lost:
        try:
            start_response("500 Internal Server Error", [TEXT], sys.exc_info())
        except LookupError as raised:
            side.tell("raised it" if raised is lost else "raised another")
            raise
    side.tell("did not raise")


def twice(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    start_response("200 OK", [TEXT])
    return [b"not reached"]


def written(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """write() sends before it returns; what is returned comes after it."""
    write = start_response("200 OK", [TEXT])
    write(b"written ")
    side = Side(environ)
    side.wait("written")
    write(b"again ")
    return [b"returned"]


class Closable:
    """An iterable that says when it is closed, and counts how often."""

    def __init__(self, environ: Environ, chunks: Iterator[bytes]) -> None:
        self._side = Side(environ)
        self._chunks = chunks
        self._closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._closed += 1
        self._side.tell(f"closed {self._closed}")


def chunks_that(end: str) -> Iterator[bytes]:
    if end == "raise-first":
        raise LookupError("before the first chunk")
    yield from {"empty": [], "full": [b"a", b"b"], "raise-later": [b"a"]}.get(end, [])
    if end == "raise-later":
        raise LookupError("after the first chunk")
    while end == "endless":
        yield b"x" * 65536


def closing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Closable(environ, chunks_that(argument(environ)))


EMPTIES: dict[str, Callable[[], Iterable[bytes]]] = {
    "list": list,
    "tuple": tuple,
    "iterator": lambda: iter(()),
    "generator": lambda: (chunk for chunk in [b""][:0]),
    "one-empty": lambda: [b""],
    "many-empty": lambda: iter([b""] * 100),
}


def empty(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("X-Head", "here")])
    return EMPTIES[argument(environ)]()


def sparse(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Empty chunks before, between and after the others."""
    start_response("200 OK", [TEXT])
    return iter([b"", b"", b"one ", b"", b"two", b""])


def gated(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """The second chunk is not produced before the test has passed the gate."""
    length = argument(environ)
    start_response("200 OK", [TEXT, *([("Content-Length", length)] if length else [])])
    yield b"first"
    Side(environ).wait("after the first")
    yield b"second"


def waiting(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answers when the test lets it."""
    Side(environ).wait("waiting")
    start_response("200 OK", [TEXT])
    return [b"waited"]


def fields(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    repeated = [("X-Several", "a"), ("x-several", "b"), ("X-SEVERAL", "c")]
    cookies = [("Set-Cookie", "one=1; Path=/"), ("set-cookie", "two=2, with a comma")]
    start_response("200 OK", [TEXT, *repeated, *cookies, ("X-Latin", "caf\xe9")])
    return [b""]


def environment(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    shown = {name: value for name, value in environ.items() if isinstance(value, str | bool)}
    return [json.dumps(shown).encode()]


def read_input(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Reads wsgi.input in one of the ways files are read."""
    pieces = FORMS[argument(environ)](environ["wsgi.input"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([environ["REQUEST_METHOD"], *summary(pieces)]).encode()]


def unread(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answers without a look at the body."""
    start_response("200 OK", [TEXT])
    return [b"unread"]


def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A file through wsgi.file_wrapper; the argument is name/offset/length, length may be empty."""
    name, offset, length = argument(environ).split("/")
    opened = (Path(os.environ["SITE_FOLDER"]) / name).open("rb")
    opened.seek(int(offset))
    start_response("200 OK", [TEXT, *([("Content-Length", length)] if length else [])])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened)
    return wrapped


SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!"
BODIES: dict[str, tuple[int, list[bytes]]] = {
    "longer": (5, [b"hello" + SMUGGLED]),
    "longer-later": (5, [b"hello", SMUGGLED]),
    "shorter": (10, [b"hel", b"lo"]),
}


def mismatch(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A body that is not as long as Content-Length says, as a list or from a generator."""
    kind, name = argument(environ).split("/")
    length, chunks = BODIES[name]
    start_response("200 OK", [TEXT, ("Content-Length", str(length))])
    return chunks if kind == "list" else iter(chunks)


def bodiless(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A body where none may be: 204, 304, or HEAD to 200; as a list or from a generator."""
    kind, status = argument(environ).split("/")
    start_response(f"{status} Some", [TEXT] if status == "200" else [("X-Kind", kind)])
    chunks = [b"never", b"sent"]
    return chunks if kind == "list" else iter(chunks)


EVIL: list[tuple[str, tuple[str, str]]] = [
    ("200 OK", ("X-Value", "a\r\nSet-Cookie: evil=1")),
    ("200 OK", ("X-Value", "a\nevil: 1")),
    ("200 OK", ("X-Value", "a\revil: 1")),
    ("200 OK", ("X-Value", "a\0evil")),
    ("200 OK", ("X-Value\r\nevil", "a")),
    ("200 OK", ("evil name", "a")),
    ("200 OK", ("", "evil")),
    ("200 OK\r\nevil: 1", ("X-Value", "a")),
    ("200 OK", ("X-Value", "evil \u20ac")),
]


def injected(environ: Environ, start_response: Any) -> Iterable[bytes]:
    status, field = EVIL[int(argument(environ))]
    start_response(status, [TEXT, field])
    return [b"evil body"]


def endless(_environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    while True:
        yield b"x" * 65536


APPS: dict[str, App] = {
    "hello": hello,
    "lazy": lazy,
    "replaced": replaced,
    "late": late,
    "twice": twice,
    "written": written,
    "closing": closing,
    "empty": empty,
    "sparse": sparse,
    "gated": gated,
    "waiting": waiting,
    "fields": fields,
    "environ": environment,
    "input": read_input,
    "unread": unread,
    "file": file,
    "bodiless": bodiless,
    "mismatch": mismatch,
    "injected": injected,
    "endless": endless,
}
CHECKED = {name: validator(app) for name, app in APPS.items()}


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    apps = APPS if "HTTP_X_PLAIN" in environ else CHECKED
    return apps[environ["PATH_INFO"].split("/", 2)[1]](environ, start_response)
