# SPDX-License-Identifier: Apache-2.0
"""The extensions of HTTP, as the ASGI specification names them, over HTTP/1; each is advertised
only where it works. Over HTTP/2: test_asgi_http2.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.gate import Gate
from live.raw import Raw, request
from live.serving import Served

pytestmark = pytest.mark.usefixtures("ours")

TE = "TE: trailers"


def advertised(asgi: Served, *fields: str, version: str = "1.1") -> set[str]:
    with Raw(asgi) as raw:
        return set(raw.ask("GET", "/extensions/", *fields, version=version).body.decode().split())


def test_advertised_over_http_1_1(asgi: Served) -> None:
    """Everything but push, which HTTP/1 does not have."""
    names = {"http.response.trailers", "http.response.pathsend", "http.response.early_hint"}
    assert advertised(asgi, TE) == names


def test_advertised_over_http_1_0(asgi: Served) -> None:
    """HTTP/1.0 knows neither informational responses nor chunks, which carry trailers."""
    assert advertised(asgi, version="1.0") == {"http.response.pathsend"}


@pytest.mark.parametrize("way", ["whole", "pieces"])
def test_trailers(asgi: Served, way: str) -> None:
    """Trailers of several messages follow the last chunk, in order."""
    with Raw(asgi) as raw:
        raw.send(request("GET", f"/trailing/{way}", TE))
        head = raw.head()
        assert (head.status, head.one("trailer")) == (200, "x-sum, x-end")
        body = b"".join(iter(raw.chunk_data, b""))
        assert body == {"whole": b"last", "pieces": b"first last"}[way]
        trailers = raw.fields()
    assert [value for name, value in trailers if name == "x-sum"] == ["42"]
    assert ", ".join(value for name, value in trailers if name == "x-end") == "1, 2"


@pytest.mark.parametrize("way", ["whole", "pieces"])
def test_trailers_nobody_asked_for(asgi: Served, way: str) -> None:
    """Without TE: trailers in the request they are left out, and the response is whole."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", f"/trailing/{way}").body.endswith(b"last")
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_trailers_that_do_not_come(asgi: Served) -> None:
    """A response whose announced trailers never come does not end cleanly."""
    with Raw(asgi) as raw:
        raw.send(request("GET", "/no-trailers/", TE))
        assert not raw.rest().endswith(b"0\r\n\r\n")


def test_early_hints(asgi: Served, gate: Gate) -> None:
    """103 with the links comes before the answer is made."""
    with Raw(asgi) as raw:
        raw.send(request("GET", "/hints/", f"X-Gate: {gate.headers['X-Gate']}"))
        first, second = raw.head(), raw.head()
        assert (first.status, second.status) == (103, 103)
        links = "</style.css>; rel=preload, </app.js>; rel=preload"
        assert ", ".join(first.every("link")) == links
        assert second.every("link") == ["</late.js>; rel=preload"]
        gate.expect("hinted")
        gate.open()
        reply = raw.reply()
        assert (reply.status, reply.body, reply.head.one("x-final")) == (200, b"hinted", "1")


def test_early_hints_over_http_1_0(asgi: Served, gate: Gate) -> None:
    """A client of HTTP/1.0 gets the answer alone."""
    with Raw(asgi) as raw:
        gated = f"X-Gate: {gate.headers['X-Gate']}"
        raw.send(request("GET", "/hints/", gated, version="1.0"))
        gate.expect("hinted")
        gate.open()
        assert (reply := raw.reply()).status == 200
        assert reply.body == b"hinted"


@pytest.mark.parametrize("kind", ["told", "untold"])
def test_pathsend(asgi: Served, site_folder: Path, kind: str) -> None:
    """A file by its path, with and without a Content-Length of the application."""
    with Raw(asgi) as raw:
        reply = raw.ask("GET", f"/pathsend/sample.bin/{kind}")
        assert reply.body == (site_folder / "sample.bin").read_bytes()
        assert raw.ask("HEAD", f"/pathsend/sample.bin/{kind}").status == 200
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_pathsend_of_a_file_that_is_not_there(asgi: Served) -> None:
    """The message raises, and nothing was sent yet: 500."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/pathsend-nowhere/").status == 500


def test_push_over_http_1_is_an_error_or_nothing(asgi: Served) -> None:
    """A push that was not advertised neither reaches the client nor hurts the connection."""
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/pushing/").status in (200, 500)
    with Raw(asgi) as raw:
        assert raw.ask("GET", "/hello/").body == b"hello"
