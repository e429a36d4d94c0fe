# SPDX-License-Identifier: Apache-2.0
"""Events of ASGI's extensions as messages: trailers, path send, early hints, server push. Pure but
for the size of a file.

Source: the ASGI specification, "Extensions".
"""

from __future__ import annotations

import os
import stat
from typing import Any
from urllib.parse import quote

from ._asgi_headers import encode_headers
from ._wire import FILE, INFORM, PUSH, Message
from ._wsgi_headers import BadResponse

Event = dict[str, Any]

# What a request target may hold unescaped (RFC 3986, 3.3 and 3.4), and the escapes themselves.
_TARGET = "/%:@!$&'()*+,;=?-._~"


def early_hints(ident: int, event: Event) -> Message:
    """INFORM for `http.response.early_hint` (RFC 8297).

    Raises: BadResponse: no links, or one that is no legal bytes.
    """
    links = list(event.get("links") or ())
    if not links:
        raise BadResponse("http.response.early_hint: expected links, an iterable of bytes")
    return (INFORM, ident, 103, encode_headers((b"link", link) for link in links))


def push_message(ident: int, event: Event) -> Message:
    """PUSH for `http.response.push`.

    Raises: BadResponse: a path that is no str beginning with `/`, or illegal headers.
    """
    path = event.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadResponse(f"http.response.push: path {path!r}: expected a str beginning with '/'")
    headers = _flat(encode_headers(event.get("headers") or ()))
    return (PUSH, ident, quote(path, safe=_TARGET).encode("ascii"), headers)


def trailers(event: Event) -> dict[bytes, bytes]:
    """The fields of `http.response.trailers`. Raises: BadResponse."""
    return _flat(encode_headers(event.get("headers") or ()))


def file_message(ident: int, event: Event, length: int | None) -> Message | None:
    """FILE for `http.response.pathsend`, at most `length` bytes; None for an empty file.

    Raises: BadResponse: a path that is not absolute, or names no regular file. OSError.
    """
    path = event.get("path")
    if not isinstance(path, str) or not os.path.isabs(path):
        raise BadResponse(f"http.response.pathsend: path {path!r}: expected an absolute str")
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise BadResponse(f"http.response.pathsend: {path!r} is no regular file")
    count = status.st_size if length is None else min(status.st_size, length)
    return (FILE, ident, os.fsencode(path), 0, count) if count else None


def _flat(headers: dict[bytes, Any]) -> dict[bytes, bytes]:
    if b"set-cookie" in headers:
        raise BadResponse("set-cookie: expected in 'http.response.start' only")
    headers.pop(b"connection", None)
    return headers
