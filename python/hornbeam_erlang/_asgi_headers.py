# SPDX-License-Identifier: Apache-2.0
"""Checks and encodes the headers that an ASGI application sends (ASGI HTTP 2.5, RFC 9110).

Runs in the loop's thread. Pairs that were seen are remembered in a bounded dict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ._wsgi_headers import BadResponse, Headers, is_close

MAX_REMEMBERED = 1024
MAX_REMEMBERED_LENGTH = 256

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # every control character but the tab

# How a message is framed is the server's business. ASGI has servers ignore what applications say
# about it, since the same application may be asked over HTTP/1.1 and HTTP/2. That the connection
# should end is a wish that can be met.
_IGNORED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)

_pairs: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}


def encode_headers(headers: Iterable[Iterable[bytes]]) -> Headers:
    """The wire's map for the pairs an application sent.

    A name that comes again is joined with `, ` (RFC 9110, 5.3); set-cookie stays apart. What is
    hop-by-hop is left out, but for `connection: close`.

    Raises: BadResponse: a name or value that is no legal bytes, or content-length twice.
    """
    encoded: Headers = {}
    for pair in headers:
        try:
            name, value = _pairs[pair]  # type: ignore[index]
        except (KeyError, TypeError):
            _add(encoded, *_encode_pair(pair))
            continue
        if name in encoded:
            _add(encoded, name, value)
        else:
            encoded[name] = value
    return encoded


def is_token(value: object) -> bool:
    """Whether `value` is a str that is a token (RFC 9110, 5.6.2)."""
    return isinstance(value, str) and value.isascii() and bool(_TOKEN.fullmatch(value.encode()))


def _add(encoded: Headers, name: bytes, value: bytes) -> None:
    if name == b"set-cookie":  # never among the remembered pairs
        encoded.setdefault(name, []).append(value)
    elif name in _IGNORED:
        if is_close(name, value):
            encoded[b"connection"] = b"close"
    elif name not in encoded:
        encoded[name] = value
    elif name != b"content-length":
        encoded[name] += b", " + value
    elif encoded[name] != value:
        raise BadResponse(f"Content-Length is both {encoded[name]!r} and {value!r}")


def _encode_pair(pair: Any) -> tuple[bytes, bytes]:
    try:
        name, value = key = tuple(pair)
    except (TypeError, ValueError):
        raise BadResponse(f"header {pair!r}: expected a pair of name and value") from None
    known = _pairs.get(key) if type(name) is bytes and type(value) is bytes else None
    if known is not None:
        return known
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise BadResponse(f"header ({name!r}, {value!r}): name and value must be bytes")
    encoded = _encode_name(name), _encode_value(name, value)
    _remember((name, value), encoded)
    return encoded


def _remember(pair: tuple[bytes, bytes], encoded: tuple[bytes, bytes]) -> None:
    name, value = encoded
    if name == b"set-cookie" or name in _IGNORED or len(value) >= MAX_REMEMBERED_LENGTH:
        return
    if len(_pairs) >= MAX_REMEMBERED:
        _pairs.clear()
    _pairs[pair] = encoded


def _encode_name(name: bytes) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise BadResponse(f"header name {name!r} is no token (RFC 9110, 5.1)")
    return name.lower()


def _encode_value(name: bytes, value: bytes) -> bytes:
    if _FORBIDDEN.search(value) is not None:
        raise BadResponse(f"the value of header {name!r} has a control character: {value!r}")
    stripped = value.strip(b" \t")
    if name.lower() == b"content-length" and not stripped.isdigit():
        raise BadResponse(f"Content-Length {value!r} is no number")
    return stripped
