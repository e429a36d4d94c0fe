# SPDX-License-Identifier: Apache-2.0
"""The scope of HTTP requests (ASGI HTTP 2.4, "HTTP Connection Scope"): every key, its type and
what it holds.
"""

from __future__ import annotations

import ast
from typing import Any

import pytest

from live.raw import Raw
from live.serving import Served

TYPES = {
    "type": "str",
    "http_version": "str",
    "method": "str",
    "scheme": "str",
    "path": "str",
    "raw_path": "bytes",
    "query_string": "bytes",
    "root_path": "str",
    "headers": "list",
    "asgi": "dict",
}


def scope(asgi: Served, path: str = "/scope/", *fields: str, **arguments: Any) -> dict[str, Any]:
    """What the application sees of a request."""
    with Raw(asgi) as raw:
        return literal(raw.ask(arguments.pop("method", "GET"), path, *fields, **arguments).json)


def literal(shown: dict[str, list[str]]) -> dict[str, Any]:
    plain = {key: value for key, (_, value) in shown.items() if key not in ("state", "extensions")}
    return {key: ast.literal_eval(value) for key, value in plain.items()}


def joined(seen: dict[str, Any], name: bytes) -> bytes:
    """Every value of a field, joined as RFC 9110, 5.3 allows."""
    return b", ".join(value for field, value in seen["headers"] if field == name)


def test_types(asgi: Served) -> None:
    """`headers`, `query_string`, `raw_path` are bytes; `path` and the others are text."""
    with Raw(asgi) as raw:
        shown = raw.ask("GET", "/scope/?a=1").json
    assert {key: shown[key][0] for key in TYPES} == TYPES
    seen = literal(shown)
    assert all(type(part) is bytes for pair in seen["headers"] for part in pair)


def test_versions(asgi: Served) -> None:
    """ASGI 3.0, HTTP 2.3 or later; ours is 2.4 or later, for send() raises OSError."""
    seen = scope(asgi)
    assert seen["type"] == "http"
    assert seen["asgi"]["version"] == "3.0"
    assert tuple(map(int, seen["asgi"]["spec_version"].split("."))) >= (2, 3)


@pytest.mark.usefixtures("ours")
def test_version_with_oserror(asgi: Served) -> None:
    """HTTP 2.4 or later."""
    version = scope(asgi)["asgi"]["spec_version"]
    assert tuple(map(int, version.split("."))) >= (2, 4)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/scope/", "/scope/", b""),
        ("/scope/?", "/scope/", b""),
        ("/scope/a%20b%2Fc?q=%C3%A9&r=a+b", "/scope/a b/c", b"q=%C3%A9&r=a+b"),
        ("/scope/Zo%C3%AB/%E6%9D%B1", "/scope/Zoë/東", b""),
        ("/scope/%25", "/scope/%", b""),
        ("/scope/a+b;c=d?x?y", "/scope/a+b;c=d", b"x?y"),
        ("/scope//double//", "/scope//double//", b""),
        ("/scope/../x/.", "/scope/../x/.", b""),
    ],
)
def test_target(asgi: Served, target: str, path: str, query: bytes) -> None:
    """`path` is decoded text, `raw_path` and `query_string` are the bytes that were received."""
    seen = scope(asgi, target)
    assert seen["path"] == path
    assert seen["raw_path"] == target.partition("?")[0].encode()
    assert seen["query_string"] == query
    assert seen["root_path"] == ""


def test_path_that_is_not_utf8(asgi: Served) -> None:
    """Bytes that are no UTF-8 neither break the request nor get lost: `raw_path` has them."""
    seen = scope(asgi, "/scope/%FF%00")
    assert seen["raw_path"] == b"/scope/%FF%00"
    assert seen["path"].startswith("/scope/")
    assert seen["path"] == "/scope/\ufffd\0"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_request_line(asgi: Served, version: str) -> None:
    """`method`, `http_version`, `scheme`."""
    seen = scope(asgi, method="PATCH", version=version)
    assert (seen["method"], seen["http_version"], seen["scheme"]) == ("PATCH", version, "http")


def test_addresses(asgi: Served) -> None:
    """`client` and `server` are the two ends of the connection."""
    with Raw(asgi) as raw:
        seen = literal(raw.ask("GET", "/scope/").json)
        assert tuple(seen["client"]) == raw.socket.getsockname()
    assert tuple(seen["server"]) == (asgi.host, asgi.port)


def test_header_names_are_lower_case(asgi: Served) -> None:
    """Names in lower case, values as they came."""
    seen = scope(asgi, "/scope/", "X-MiXeD: VaLuE", "X-Empty:", "X-Latin: caf\xe9")
    assert joined(seen, b"x-mixed") == b"VaLuE"
    assert joined(seen, b"x-empty") == b""
    assert joined(seen, b"x-latin") == b"caf\xe9"
    assert all(name == name.lower() for name, _ in seen["headers"])


def test_repeated_headers(asgi: Served) -> None:
    """Repeated request headers arrive whole and in order, joined or not."""
    seen = scope(asgi, "/scope/", "X-Several: a", "X-Other: 1", "X-Several: b, c", "X-Several: d")
    assert joined(seen, b"x-several") == b"a, b, c, d"


def test_repeated_cookies(asgi: Served) -> None:
    """Cookies are joined with `; `, or stay several."""
    seen = scope(asgi, "/scope/", "Cookie: a=1; b=2", "Cookie: c=3")
    cookies = b"; ".join(value for name, value in seen["headers"] if name == b"cookie")
    assert cookies == b"a=1; b=2; c=3"


def test_scopes_are_not_shared(asgi: Served) -> None:
    """Two requests of one connection have scopes of their own."""
    with Raw(asgi) as raw:
        first = literal(raw.ask("GET", "/scope/", "X-One: 1").json)
        second = literal(raw.ask("GET", "/scope/", "X-Two: 2").json)
    assert (joined(first, b"x-one"), joined(first, b"x-two")) == (b"1", b"")
    assert (joined(second, b"x-one"), joined(second, b"x-two")) == (b"", b"2")
