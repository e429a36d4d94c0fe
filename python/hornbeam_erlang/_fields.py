# SPDX-License-Identifier: Apache-2.0
"""Tests of single fields of messages: what is expected, for people, and whether a value is it.
Pure; `_wire` puts them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Test: TypeAlias = tuple[str, Callable[[Any], bool]]


def integer(low: int, high: int | None = None) -> Test:
    """An integer from `low` on, up to `high`."""
    if high is None:
        return f"an integer >= {low}", lambda v: type(v) is int and v >= low
    return f"an integer {low}..{high}", lambda v: type(v) is int and low <= v <= high


def binary(limit: int) -> Test:
    """A binary of at most `limit` bytes."""
    return f"a binary of at most {limit} bytes", lambda v: type(v) is bytes and len(v) <= limit


def text(limit: int) -> Test:
    """The same, which is UTF-8."""
    return (
        f"UTF-8 of at most {limit} bytes",
        lambda v: type(v) is bytes and len(v) <= limit and is_utf8(v),
    )


def is_utf8(value: bytes) -> bool:
    """Whether `value` is UTF-8 throughout."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_header_value(name: bytes, value: object) -> bool:
    if name != b"set-cookie":
        return type(value) is bytes
    return type(value) is list and bool(value) and all(type(item) is bytes for item in value)


def _is_answer_headers(value: object) -> bool:
    return type(value) is dict and all(
        type(name) is bytes and _is_header_value(name, item) for name, item in value.items()
    )


def _is_accept_headers(value: dict[bytes, object]) -> bool:
    return _is_answer_headers(value) and not any(
        name.startswith(b"sec-websocket-") for name in value
    )


def _is_flat(value: object) -> bool:
    return type(value) is dict and all(
        type(name) is bytes and type(item) is bytes for name, item in value.items()
    )


def is_body(value: object) -> bool:
    """A whole body, or its first bytes and its length."""
    if type(value) is bytes:
        return True
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not bytes:
        return False
    return value[1] is None or (type(value[1]) is int and value[1] >= 0)


def _is_ids(value: object) -> bool:
    return type(value) is list and bool(value) and all(type(i) is int and i >= 1 for i in value)


def _is_binaries(value: object) -> bool:
    return type(value) is list and all(type(item) is bytes for item in value)


HTTP_VERSIONS = (b"1.0", b"1.1", b"2")

ID = integer(1)
INTEGER: Test = ("an integer", lambda v: type(v) is int)
BYTES: Test = ("a binary", lambda v: type(v) is bytes)
DATA_BYTES: Test = ("a non-empty binary", lambda v: type(v) is bytes and v != b"")
MAP: Test = ("a map", lambda v: type(v) is dict)
FLAG: Test = ("true or false", lambda v: type(v) is bool)
GRANT = integer(1, 2147483648)
STATUS = integer(200, 999)
INFORMATION: Test = (
    "an integer 100..199, not 101",
    lambda v: type(v) is int and 100 <= v <= 199 and v != 101,
)
ANSWER_HEADERS: Test = ("a map of binaries, set-cookie a list of them", _is_answer_headers)
ACCEPT_HEADERS: Test = (
    "a map of binaries, set-cookie a list of them, without sec-websocket-*",
    _is_accept_headers,
)
FLAT_MAP: Test = ("a map of binaries", _is_flat)
VERSION: Test = ("1.0, 1.1 or 2", lambda v: type(v) is bytes and v in HTTP_VERSIONS)
REQUEST_BODY: Test = ("a binary or {First, Length}", is_body)
IDS: Test = ("a non-empty list of ids", _is_ids)
BINARIES: Test = ("a list of binaries", _is_binaries)
SUBPROTOCOL: Test = ("a binary or undefined", lambda v: v is None or type(v) is bytes)


def is_open(message: tuple[Any, ...]) -> bool:
    """Whether `message` has the fields of OPEN, of which every request has one: the same that
    `_wire.FIELDS` says of them, all at once. The compiled codec has its own."""
    try:
        _, ident, timeout, method, path, query, version, headers, connection, body = message
        return (
            type(ident) is int
            and ident > 0
            and type(timeout) is int
            and timeout >= 0
            and type(headers) is dict
            # A join costs a fraction of a loop and refuses what is not bytes.
            and b"".join((method, path, query, connection)) is not None
            and b"".join(headers) is not None
            and b"".join(headers.values()) is not None
            and version in HTTP_VERSIONS
            and (type(body) is bytes or is_body(body))
        )
    except (ValueError, TypeError):
        return False
