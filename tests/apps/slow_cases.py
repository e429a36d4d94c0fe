# SPDX-License-Identifier: Apache-2.0
"""A WSGI application for peers that differ in speed: it streams as fast as it may, and reads as
slowly as it is told.

Runs in: the worker.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from apps.wsgi_cases import TEXT, Environ, argument, hello

MIB = 1024 * 1024
CHUNK = bytes(range(256)) * 256  # 64 KiB

produced = 0  # chunks yielded by `stream` since the worker began


def progress(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return [b"%d" % produced]


def stream(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """As many MiB as the argument says."""
    global produced
    start_response("200 OK", [TEXT])
    for _ in range(int(argument(environ)) * MIB // len(CHUNK)):
        produced += 1
        yield CHUNK


def upload(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Reads the body, at most as many bytes a second as the argument says; 0 is no limit."""
    rate = int(argument(environ))
    begin, size, check = time.monotonic(), 0, 0
    while piece := environ["wsgi.input"].read(65536):
        size += len(piece)
        check = zlib.crc32(piece, check)
        if rate:
            time.sleep(max(0.0, begin + size / rate - time.monotonic()))
    start_response("200 OK", [TEXT])
    return [b"%d %d" % (size, check)]


APPS: dict[str, Callable[..., Iterable[bytes]]] = {
    "hello": validator(hello),
    "progress": validator(progress),
    "stream": validator(stream),
    "upload": validator(upload),
}


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return APPS[environ["PATH_INFO"].split("/", 2)[1]](environ, start_response)
