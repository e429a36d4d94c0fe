# SPDX-License-Identifier: Apache-2.0
"""The environ of PEP 3333, made from OPEN: pure tables, and once through a real worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._environ import _KEYS, MAX_CONNECTIONS, MAX_NAMES, EnvironMaker
from hornbeam_erlang._wire import OPEN, ProtocolError
from unit.worker.harness import CONNECTION, Node

UNIX = codec.encode_wire((b"http", b"", 0, b"", 0))
TLS_6 = codec.encode_wire((b"https", b"2001:db8::1", 40000, b"::1", 8443))


def make(
    script_name: str = "",
    *,
    method: bytes = b"GET",
    path: bytes = b"/",
    query: bytes = b"",
    version: bytes = b"1.1",
    headers: dict[bytes, bytes] | None = None,
    connection: bytes = CONNECTION,
    body: Any = b"",
) -> dict[str, Any]:
    fields = (method, path, query, version, headers or {}, connection, body)
    return EnvironMaker({"wsgi.version": (1, 0)}, script_name).make((OPEN, 1, 0, *fields))


PATHS = {
    b"/": "/",
    b"/plain/path": "/plain/path",
    b"/a%20b": "/a b",
    b"/caf%C3%A9": "/caf\xc3\xa9",
    b"/%E2%82%AC": "/\xe2\x82\xac",
    b"/%ff%00": "/\xff\x00",
    b"/100%": "/100%",
    b"/%zz%2": "/%zz%2",
    b"/a%2Fb": "/a/b",
    b"/a+b;c=d": "/a+b;c=d",
    b"/\xe9": "/\xe9",
    b"//double": "//double",
    b"*": "",
}


@pytest.mark.parametrize("path", PATHS)
def test_path_info(path: bytes) -> None:
    """PATH_INFO is percent-decoded, its bytes as latin-1 characters; REQUEST_URI is the target as
    received."""
    environ = make(path=path)
    assert environ["PATH_INFO"] == PATHS[path]
    assert environ["REQUEST_URI"] == path.decode("latin-1")
    assert environ["SCRIPT_NAME"] == ""


@pytest.mark.parametrize("query", [b"", b"a=b%20c", b"%C3%A9=\xe9", b"a&b+c"])
def test_query_string_is_raw(query: bytes) -> None:
    """QUERY_STRING is not decoded, and is there when there is none."""
    environ = make(query=query)
    assert environ["QUERY_STRING"] == query.decode("latin-1")
    assert environ["REQUEST_URI"] == ("/?" + query.decode("latin-1") if query else "/")


MOUNTS = {
    ("/app", b"/app"): "",
    ("/app", b"/app/"): "/",
    ("/app", b"/app/x/y"): "/x/y",
    ("/app", b"/%61pp/x"): "/x",
    ("/app", b"/app/app"): "/app",
    ("/caf\u00e9", b"/caf%C3%A9/x"): "/x",
    ("", b"/app"): "/app",
}


@pytest.mark.parametrize(("script_name", "path"), MOUNTS)
def test_mount(script_name: str, path: bytes) -> None:
    """Under a mount SCRIPT_NAME is the prefix and PATH_INFO what follows it; at the root it is
    empty."""
    environ = make(script_name, path=path)
    assert environ["PATH_INFO"] == MOUNTS[script_name, path]
    assert environ["SCRIPT_NAME"] == script_name.encode().decode("latin-1")
    assert "/" + path.decode("latin-1").lstrip("/") == environ["REQUEST_URI"]


HEADERS = {
    b"host": ("HTTP_HOST", b"example.org"),
    b"content-type": ("CONTENT_TYPE", b"text/plain"),
    b"content-length": ("CONTENT_LENGTH", b"5"),
    b"x-forwarded-for": ("HTTP_X_FORWARDED_FOR", b"1.2.3.4, 5.6.7.8"),
    b"cookie": ("HTTP_COOKIE", b"a=1; b=2"),
    b"x-latin": ("HTTP_X_LATIN", b"caf\xe9 \xe2\x82\xac"),
    b"x-empty": ("HTTP_X_EMPTY", b""),
    b"transfer-encoding": ("HTTP_TRANSFER_ENCODING", b"chunked"),
    b"x!odd~name": ("HTTP_X!ODD~NAME", b"1"),
    b"n" * 300: ("HTTP_" + "N" * 300, b"long"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(name: bytes) -> None:
    """A header's value is a latin-1 native string under its HTTP_ name, but for the two that CGI
    names otherwise."""
    key, value = HEADERS[name]
    environ = make(headers={name: value})
    assert environ[key] == value.decode("latin-1")
    others = {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}
    assert not others & set(environ)


def test_absent_headers_are_absent() -> None:
    """CONTENT_TYPE and CONTENT_LENGTH are left out when the request has none."""
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH"} & set(make())


CONNECTIONS: dict[bytes, dict[str, str]] = {
    CONNECTION: {
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "10.0.0.9",
        "REMOTE_PORT": "5555",
        "SERVER_NAME": "10.0.0.1",
        "SERVER_PORT": "8000",
    },
    TLS_6: {
        "wsgi.url_scheme": "https",
        "REMOTE_ADDR": "2001:db8::1",
        "REMOTE_PORT": "40000",
        "SERVER_NAME": "::1",
        "SERVER_PORT": "8443",
    },
    UNIX: {
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
    },
}


@pytest.mark.parametrize("connection", CONNECTIONS, ids=["http", "https over IPv6", "Unix"])
def test_connection(connection: bytes) -> None:
    """Scheme and addresses are those of the connection; SERVER_NAME and SERVER_PORT are never
    empty."""
    environ = make(connection=connection)
    expected = CONNECTIONS[connection]
    assert {key: environ.get(key) for key in expected} == expected
    assert ("REMOTE_PORT" in environ) is ("REMOTE_PORT" in expected)


@pytest.mark.parametrize(
    "connection",
    [
        b"",
        b"nonsense",
        codec.encode_wire((b"http", b"a", 1)),
        codec.encode_wire((1, b"a", 1, b"b", 2)),
        codec.encode_wire(b"http"),
    ],
)
def test_bad_connection(connection: bytes) -> None:
    """A Connection that is none is `bad_message`, named."""
    with pytest.raises(ProtocolError, match="bad_message: Connection of OPEN"):
        make(connection=connection)


@pytest.mark.parametrize(
    ("version", "protocol"), [(b"1.0", "HTTP/1.0"), (b"1.1", "HTTP/1.1"), (b"2", "HTTP/2")]
)
def test_server_protocol(version: bytes, protocol: str) -> None:
    """SERVER_PROTOCOL is the client's version."""
    assert make(version=version)["SERVER_PROTOCOL"] == protocol


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"PROPFIND", b"x-odd"])
def test_request_method(method: bytes) -> None:
    """REQUEST_METHOD is the method as received."""
    assert make(method=method)["REQUEST_METHOD"] == method.decode()


def test_requests_share_nothing() -> None:
    """What one application does to its environ is not seen by the next request of the
    connection."""
    maker = EnvironMaker({}, "")
    message = (OPEN, 1, 0, b"GET", b"/", b"", b"1.1", {b"x-a": b"1"}, CONNECTION, b"")
    first = maker.make(message)
    first["REMOTE_ADDR"] = "changed"
    first["mine"] = 1
    second = maker.make((*message[:7], {}, CONNECTION, b""))
    assert second["REMOTE_ADDR"] == "10.0.0.9"
    assert not {"mine", "HTTP_X_A"} & set(second)


def test_memory_is_bounded() -> None:
    """Names and connections that never come again do not pile up."""
    maker = EnvironMaker({}, "")
    for number in range(MAX_CONNECTIONS + 10):
        connection = codec.encode_wire((b"http", b"a", number + 1, b"b", 1))
        headers = {b"x-%d" % number: b"", b"y" * 200 + b"%d" % number: b""}
        maker.make((OPEN, 1, 0, b"GET", b"/", b"", b"1.1", headers, connection, b""))
    assert len(maker._connections) <= MAX_CONNECTIONS
    assert len(_KEYS) <= MAX_NAMES
    assert max(len(name) for name in _KEYS) <= 128


def test_environ_of_a_real_request(node: Node) -> None:
    """The environ a validated application sees in a real worker is complete and true."""
    headers = {"host": "example.org", "x-a": "b", "content-type": "text/plain"}
    answer = node.request("/environ/x%20y", query="q=1", headers=headers, method="POST")
    environ = json.loads(answer.body)
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ/x y",
        "QUERY_STRING": "q=1",
        "REQUEST_URI": "/environ/x%20y?q=1",
        "CONTENT_TYPE": "text/plain",
        "SERVER_NAME": "10.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "10.0.0.9",
        "REMOTE_PORT": "5555",
        "HTTP_HOST": "example.org",
        "HTTP_X_A": "b",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert environ["SERVER_SOFTWARE"].startswith("hornbeam/")
    assert "wsgi.errors" in environ
    assert "wsgi.file_wrapper" in environ


def test_server_wide_options(node: Node) -> None:
    """`OPTIONS *` reaches the application with an empty PATH_INFO."""
    answer = node.request("*", method="OPTIONS")
    assert answer.kind == "abort", "the router needs a path"
    assert answer.abort is not None
    assert b"IndexError" in answer.abort[1]


@pytest.mark.parametrize(("threads", "multi"), [(1, False), (2, True)])
def test_concurrency_flags(threads: int, multi: bool) -> None:
    """`wsgi.multithread` and `wsgi.multiprocess` tell what the node configured."""
    config = {b"threads": threads, b"multiprocess": multi, b"script_name": b"/mounted"}
    with Node("wsgiref.simple_server:demo_app", config) as node:
        body = node.request("/mounted/here").body.decode()
    assert f"wsgi.multithread = {multi}" in body
    assert f"wsgi.multiprocess = {multi}" in body
    assert "SCRIPT_NAME = '/mounted'" in body
    assert "PATH_INFO = '/here'" in body
