# SPDX-License-Identifier: Apache-2.0
"""The ways in which an application reads `wsgi.input` (PEP 3333, "Input and Error Streams").

Runs in: the worker, on `wsgi.input`, and in the tests, on a BytesIO that tells what is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any


def in_reads(stream: Any) -> list[bytes]:
    return [*iter(lambda: stream.read(1000), b""), stream.read(1)]


def in_lines(stream: Any) -> list[bytes]:
    return [*iter(stream.readline, b""), stream.readline()]


def in_short_lines(stream: Any) -> list[bytes]:
    return [*iter(lambda: stream.readline(7), b""), stream.readline(7)]


def in_hinted_lines(stream: Any) -> list[bytes]:
    """How many lines a hint gives is the stream's choice."""
    return [line for lines in iter(lambda: stream.readlines(50), []) for line in lines]


def mixed(stream: Any) -> list[bytes]:
    """One form after the other on the same stream."""
    pieces = [stream.read(3), stream.readline(), stream.read(0), stream.readline(5)]
    return [*pieces, next(iter(stream), b""), *stream.readlines(), stream.read(10)]


FORMS: dict[str, Callable[[Any], list[bytes]]] = {
    "read": lambda stream: [stream.read(), stream.read()],
    "read(-1)": lambda stream: [stream.read(-1), stream.read(-1)],
    "read(n)": in_reads,
    "read(too many)": lambda stream: [stream.read(10_000_000), stream.read(1)],
    "readline": in_lines,
    "readline(n)": in_short_lines,
    "readlines": lambda stream: [*stream.readlines(), b"|", *stream.readlines()],
    "readlines(hint)": in_hinted_lines,
    "iteration": list,
    "mixed": mixed,
}


def summary(pieces: list[bytes]) -> list[object]:
    """Number of pieces, number of bytes, and a hash that tells where each piece ends."""
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(b"%d:%b," % (len(piece), piece))
    return [len(pieces), sum(map(len, pieces)), sha.hexdigest()]
