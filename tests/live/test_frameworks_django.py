# SPDX-License-Identifier: Apache-2.0
"""Django, unchanged, answers under hornbeam what it answers under gunicorn.

Each test asks both servers; `Pair` fails when status, fields or body differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live.conftest import Both
from live.pair import HOST, Pair
from live.samples import MIB, digest, pieces, sample

NAME = "Zoë Müller/東京"
TOKEN = rb'(?<="token": ")[^"]+'  # salted anew in every answer


@pytest.fixture
def site(both: Both) -> Iterator[Pair]:
    with both("apps.django_site:application") as pair:
        yield pair


def with_token(**fields: object) -> Any:
    """Form data and the token of whichever client sends it."""
    return lambda client: {**fields, "csrfmiddlewaretoken": client.cookies["csrftoken"]}


def test_form_with_its_token(site: Pair) -> None:
    """GET sets the cookie, POST brings the token: the form is checked and cleaned."""
    answer = site.get("/signup", mask=TOKEN)
    assert answer.set_cookies[0].startswith("csrftoken=")
    answer = site.post("/signup", data=with_token(name=f" {NAME} ", age="42"))
    assert answer.json == {"name": NAME, "age": 42, "picture": None}


def test_form_without_its_token_is_forbidden(site: Pair) -> None:
    answer = site.post("/signup", data={"name": NAME, "age": "42"})
    assert answer.status == 403
    assert b"CSRF verification failed" in answer.body


def test_form_that_is_not_valid(site: Pair) -> None:
    site.get("/signup", mask=TOKEN)
    answer = site.post("/signup", data=with_token(name="x" * 21, age="17"))
    assert answer.status == 422
    assert sorted(answer.json) == ["age", "name"]


@pytest.mark.parametrize("size", [10, 5 * MIB, 30 * MIB])
def test_form_with_a_file(site: Pair, size: int) -> None:
    """A file in a multipart form: in memory, and in a temporary file."""
    data = sample(size)
    site.get("/signup", mask=TOKEN)
    files = {"picture": ("prüfung.bin", data, "image/x-sample")}
    answer = site.post("/signup", data=with_token(name=NAME, age="42"), files=files)
    assert answer.json["picture"] == ["prüfung.bin", "image/x-sample", *digest(data)]


def test_raw_upload(site: Pair) -> None:
    """request.read in pieces, with a length."""
    data = sample(30 * MIB)
    assert site.post("/upload", content=data).json == digest(data)


def test_chunked_upload(site: Pair) -> None:
    """A body of unknown length has length zero for Django, which believes CONTENT_LENGTH alone."""
    data = sample(MIB)
    assert site.post("/upload", content=lambda _client: pieces(data)).json == digest(b"")


def test_json_body(site: Pair) -> None:
    answer = site.post("/json", json={"text": NAME})
    assert answer.json == {"text": NAME}
    assert answer.headers["content-type"] == "application/json"


def test_cookie_is_deleted(site: Pair) -> None:
    site.get("/cookies/set")
    answer = site.get("/cookies/delete")
    assert answer.set_cookies == [
        'plain=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/'
    ]
    assert "plain" not in site.get("/cookies").json


def test_session_messages_and_redirect(site: Pair) -> None:
    """Log in, be redirected, see the message once, log out."""
    answer = site.post("/login", data={"name": NAME})
    assert (answer.status, answer.headers["location"]) == (302, "/greet")
    assert len(answer.set_cookies) == 2  # the session and the message
    assert site.get("/greet").json == {"name": NAME, "messages": [f"Welcome, {NAME}"]}
    assert site.get("/greet").json == {"name": NAME, "messages": []}
    assert site.post("/logout").status == 303
    assert site.get("/greet").json == {"name": None, "messages": []}


def test_missing_slash_is_redirected(site: Pair) -> None:
    answer = site.get("/folder")
    assert (answer.status, answer.headers["location"]) == (301, "/folder/")


def test_error_pages(site: Pair) -> None:
    """404, 405 with Allow and 500 are Django's own pages; the exception is not shown."""
    assert b"<h1>Not Found</h1>" in site.get("/nowhere").body
    answer = site.get("/login")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = site.get("/boom")
    assert (answer.status, answer.body.count(b"Server Error (500)")) == (500, 2)
    assert b"lost on the way" not in answer.body


def test_host_that_is_not_allowed(site: Pair) -> None:
    """ALLOWED_HOSTS sees the Host that the client sent."""
    assert site.get("/meta", headers={"Host": "evil.example"}).status == 400


def test_meta_and_host(site: Pair) -> None:
    """request.META, get_host() and build_absolute_uri() say what was asked."""
    headers = {"X-Sample": "caf\xe9".encode("latin-1"), "Accept-Language": "de, en;q=0.5"}
    arguments: dict[str, Any] = {"headers": headers, "content": b"{}"}
    answer = site.post("/meta?q=%C3%A9", **arguments).json
    assert answer["host"] == HOST
    assert answer["uri"] == "http://site.example/meta?q=%C3%A9"
    assert answer["meta"] == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/meta",
        "QUERY_STRING": "q=%C3%A9",
        "CONTENT_LENGTH": "2",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HOST,
        "HTTP_X_SAMPLE": "caf\xe9",
        "HTTP_ACCEPT_LANGUAGE": "de, en;q=0.5",
        "wsgi.url_scheme": "http",
        "wsgi.version": [1, 0],
    }


def test_streamed_download(site: Pair) -> None:
    answer = site.get("/stream?count=5000")
    assert answer.text == "".join(f"line {number}\n" for number in range(5000))
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("path", ["/download", "/static/sample.bin"])
def test_file_response(site: Pair, site_folder: Path, path: str, plain: bool) -> None:
    """FileResponse and a static file, through the validator and by wsgi.file_wrapper."""
    answer = site.get(path, plain=plain)
    assert answer.body == (site_folder / "sample.bin").read_bytes()
    assert answer.headers["content-length"] == "300000"


@pytest.mark.parametrize("plain", [False, True])
def test_conditional_static_file(site: Pair, plain: bool) -> None:
    """If-Modified-Since with the file's own date: 304 without a body."""
    changed = site.get("/static/sample.bin").headers["last-modified"]
    headers = {"If-Modified-Since": changed}
    answer = site.get("/static/sample.bin", headers=headers, plain=plain)
    assert (answer.status, answer.body) == (304, b"")


def test_conditional_view(site: Pair) -> None:
    """An ETag that matches: 304; one that does not: 412 or the page."""
    assert site.get("/tagged").headers["etag"] == '"abc"'
    assert site.get("/tagged", headers={"If-None-Match": '"abc"'}).status == 304
    assert site.get("/tagged", headers={"If-None-Match": '"x"'}).text == "tagged"
    assert site.get("/tagged", headers={"If-Match": '"x"'}).status == 412


@pytest.mark.parametrize("path", ["/users/1/a", "/download", "/stream?count=3", "/nowhere"])
def test_head_has_the_fields_of_get(site: Pair, path: str) -> None:
    """HEAD: the status and fields of GET, no body."""
    got, head = site.get(path), site.ask("HEAD", path)
    assert head.body == b""
    assert (head.status, head.headers) == (got.status, got.headers)
