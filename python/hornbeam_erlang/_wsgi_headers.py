# SPDX-License-Identifier: Apache-2.0
"""Checks and encodes the status and the headers a WSGI application gives to `start_response` (PEP
3333, RFC 9110).

Runs in the thread that serves the request. Pairs that were seen are remembered in a bounded dict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

Headers: TypeAlias = dict[bytes, Any]  # name -> bytes; set-cookie -> list of bytes

MAX_REMEMBERED = 1024
MAX_REMEMBERED_LENGTH = 256

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f]")  # every control character but the tab
_STATUS = re.compile(r"([2-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
# How a message is framed and what becomes of the connection is the server's business; PEP 3333 lets
# no application say anything about it. Many do nevertheless, and gunicorn drops it, so we do, too:
# but for the wish that the connection ends, which can be met.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)


class BadResponse(ValueError):
    """What the application answered cannot be sent; the text says why. Raised into the
    application."""


_statuses: dict[str, int] = {}
_pairs: dict[tuple[str, str], tuple[bytes, bytes]] = {}


def status_code(status: str) -> int:
    """The code of a status line such as `200 OK`; the reason is checked and dropped.

    Raises: BadResponse.
    """
    try:
        return _statuses[status]
    except (KeyError, TypeError):
        match = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if match is None:
        raise BadResponse(f"status {status!r}: expected a str such as '200 OK', code 200..999")
    if len(_statuses) >= MAX_REMEMBERED:
        _statuses.clear()
    code = _statuses[status] = int(match[1])
    return code


def encode_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The wire's map for the list of pairs an application gave.

    A name that comes again is joined with `, ` (RFC 9110, 5.3); set-cookie stays apart. What is
    hop-by-hop is left out, but for `connection: close`.

    Raises: BadResponse: a name or value that is no legal str, content-length twice.
    """
    encoded: Headers = {}
    for pair in headers:
        try:
            name, value = _pairs[pair]
        except (KeyError, TypeError):
            _add(encoded, *_encode_pair(pair))
            continue
        if name in encoded:
            _add(encoded, name, value)
        else:
            encoded[name] = value
    return encoded


def _add(encoded: Headers, name: bytes, value: bytes) -> None:
    if name == b"set-cookie":  # never among the remembered pairs
        encoded.setdefault(name, []).append(value)
    elif name in _HOP_BY_HOP:  # nor these
        if is_close(name, value):
            encoded[b"connection"] = b"close"
    elif name not in encoded:
        encoded[name] = value
    elif name != b"content-length":
        encoded[name] += b", " + value
    elif encoded[name] != value:
        raise BadResponse(f"Content-Length is both {encoded[name]!r} and {value!r}")


def is_close(name: bytes, value: bytes) -> bool:
    """Whether this header, its name in lower case, asks for the end of the connection."""
    return name == b"connection" and b"close" in re.split(rb"[, \t]+", value.lower())


def _encode_pair(pair: tuple[str, str]) -> tuple[bytes, bytes]:
    try:
        name, value = pair
    except (TypeError, ValueError):
        raise BadResponse(f"header {pair!r}: expected a tuple (name, value)") from None
    if not isinstance(name, str) or not isinstance(value, str):
        raise BadResponse(f"header ({name!r}, {value!r}): name and value must be str")
    encoded = _encode_name(name), _encode_value(name, value)
    if type(pair) is tuple and _is_plain(encoded[0]) and len(value) < MAX_REMEMBERED_LENGTH:
        if len(_pairs) >= MAX_REMEMBERED:
            _pairs.clear()
        _pairs[pair] = encoded
    return encoded


def _is_plain(name: bytes) -> bool:
    return name != b"set-cookie" and name not in _HOP_BY_HOP


def _encode_name(name: str) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise BadResponse(f"header name {name!r} is no token (RFC 9110, 5.1)")
    return name.lower().encode("ascii")


def _encode_value(name: str, value: str) -> bytes:
    if _FORBIDDEN.search(value) is not None:
        raise BadResponse(f"the value of header {name!r} has a control character: {value!r}")
    try:
        encoded = value.encode("latin-1").strip(b" \t")
    except UnicodeEncodeError as exc:
        text = f"the value of header {name!r} has {value[exc.start]!r}, which is not latin-1"
        raise BadResponse(f"{text}; encode it (RFC 8187)") from None
    if name.lower() == "content-length" and not encoded.isdigit():
        raise BadResponse(f"Content-Length {value!r} is no number")
    return encoded
