# SPDX-License-Identifier: Apache-2.0
"""What the modules of test applications share: the table of applications and a few helpers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIApplication

TEXT = [("Content-Type", "text/plain")]
APPLICATIONS: dict[str, WSGIApplication] = {}
closed: list[str] = []
gate = threading.Event()


def application(function: WSGIApplication) -> WSGIApplication:
    name = getattr(function, "__name__", "")
    APPLICATIONS[name.rstrip("_")] = function
    return function


class Closing:
    """An iterable with `close()`, which leaves its name in `closed`."""

    def __init__(self, name: str, chunks: Iterable[bytes]) -> None:
        self.name = name
        self.chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        closed.append(self.name)


def as_json(start_response: StartResponse, value: object) -> list[bytes]:
    body = json.dumps(value, default=repr).encode()
    length = str(len(body))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", length)])
    return [body]
