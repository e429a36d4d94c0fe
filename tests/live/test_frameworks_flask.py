# SPDX-License-Identifier: Apache-2.0
"""Flask, unchanged, answers under hornbeam what it answers under gunicorn.

Each test asks both servers; `Pair` fails when status, fields or body differ.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from live.conftest import Both
from live.pair import Pair
from live.samples import MIB, digest, pieces, sample

NAME = "Zoë Müller/東京"


@pytest.fixture
def site(both: Both) -> Iterator[Pair]:
    with both("apps.flask_site:application") as pair:
        yield pair


def test_urlencoded_form(site: Pair) -> None:
    answer = site.post("/form", data={"name": NAME, "tags": ["a", "b"]})
    assert answer.json == {"form": {"name": [NAME], "tags": ["a", "b"]}, "files": {}}


@pytest.mark.parametrize("size", [0, 10, 65536, 5 * MIB, 30 * MIB])
def test_multipart_form_with_a_file(site: Pair, size: int) -> None:
    """The file arrives whole, with its name and type; fields beside it as well."""
    data = sample(size)
    files = {"upload": ("prüfung.bin", data, "application/x-sample")}
    answer = site.post("/form", data={"name": NAME}, files=files)
    assert answer.json["form"] == {"name": [NAME]}
    described = ["prüfung.bin", "application/x-sample", *digest(data)]
    assert answer.json["files"] == {"upload": described}


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_raw_upload(site: Pair, method: str) -> None:
    data = sample(100_000)
    assert site.ask(method, "/upload", content=data).json == digest(data)


@pytest.mark.parametrize("size", [1, 65537, 30 * MIB])
def test_chunked_upload(site: Pair, size: int) -> None:
    """A body whose length the client does not tell arrives whole."""
    data = sample(size)
    answer = site.ask("PUT", "/upload", content=lambda _client: pieces(data))
    assert answer.json == digest(data)


def test_body_over_the_applications_limit(site: Pair) -> None:
    """A view's own limit is Flask's 413, not ours."""
    assert site.post("/limited", data={"a": "1" * 95}).json == 95
    answer = site.post("/limited", data={"a": "1" * 1000})
    assert answer.status == 413
    assert b"<h1>Request Entity Too Large</h1>" in answer.body


def test_gzipped_request_body(site: Pair) -> None:
    """Content-Encoding of a request is the application's business."""
    body = gzip.compress(b"squeezed" * 100, mtime=0)
    answer = site.post("/gzip", content=body, headers={"Content-Encoding": "gzip"})
    assert answer.json == "squeezed" * 100


def test_json(site: Pair) -> None:
    value = {"text": NAME, "number": 1e-20, "nested": [None, True, {"": []}]}
    answer = site.post("/json", json=value)
    assert answer.json == {"received": value, "content_type": "application/json"}


def test_malformed_json(site: Pair) -> None:
    headers = {"Content-Type": "application/json"}
    assert site.post("/json", content=b"{", headers=headers).status == 400


def test_cookie_is_deleted(site: Pair) -> None:
    site.get("/cookies/set")
    answer = site.get("/cookies/delete")
    assert answer.set_cookies == [
        "plain=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"
    ]
    assert "plain" not in site.get("/cookies").json


def test_session_flash_and_redirect(site: Pair) -> None:
    """Log in, be redirected, see the flashed message once, log out."""
    answer = site.post("/login", data={"name": NAME})
    assert (answer.status, answer.headers["location"]) == (302, "/greet")
    assert site.get("/greet").json == {"name": NAME, "flashed": [f"Welcome, {NAME}"]}
    assert site.get("/greet").json == {"name": NAME, "flashed": []}
    assert site.post("/logout").status == 303
    assert site.get("/greet").json == {"name": None, "flashed": []}


def test_missing_slash_is_redirected(site: Pair) -> None:
    answer = site.get("/folder")
    assert (answer.status, answer.headers["location"]) == (308, "http://site.example/folder/")


@pytest.mark.parametrize("path", ["/users/1/a", "/download/bytes", "/download/file", "/nowhere"])
def test_head_has_the_fields_of_get(site: Pair, path: str) -> None:
    """HEAD: the status and fields of GET, no body."""
    got, head = site.get(path), site.ask("HEAD", path)
    assert head.body == b""
    assert (head.status, head.headers) == (got.status, got.headers)


def test_error_pages(site: Pair) -> None:
    """404, 405 with Allow and 500 are Flask's own pages; the exception is not shown."""
    assert b"<h1>Not Found</h1>" in site.get("/nowhere").body
    answer = site.ask("DELETE", "/login")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    answer = site.get("/boom")
    assert answer.status == 500
    assert b"<h1>Internal Server Error</h1>" in answer.body
    assert b"lost on the way" not in answer.body


def test_repeated_field_and_unusual_status(site: Pair) -> None:
    answer = site.get("/teapot")
    assert (answer.status, answer.headers["x-handle"]) == (418, "left, right")


def test_download_of_bytes(site: Pair) -> None:
    answer = site.get("/download/bytes")
    assert answer.body == bytes(range(256)) * 64
    assert answer.headers["content-length"] == str(256 * 64)


def test_streamed_download_with_context(site: Pair) -> None:
    """A generator that needs the request's context while it is sent."""
    answer = site.get("/download/stream?count=5000")
    assert answer.text == "".join(f"line {number}\n" for number in range(5000))
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("plain", [False, True])
def test_send_file(site: Pair, site_folder: Path, plain: bool) -> None:
    """send_file, through the validator and by wsgi.file_wrapper."""
    answer = site.get("/download/file", plain=plain)
    assert answer.body == (site_folder / "sample.bin").read_bytes()
    assert answer.headers["content-length"] == "300000"
    assert "pr%C3%BCfung.bin" in answer.headers["content-disposition"]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("299990-", 299990, 300000), ("-10", 299990, 300000)],
)
def test_ranges_of_a_file(
    site: Pair, site_folder: Path, plain: bool, asked: str, first: int, end: int
) -> None:
    headers = {"Range": f"bytes={asked}"}
    answer = site.get("/download/file", headers=headers, plain=plain)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/300000"
    assert answer.body == (site_folder / "sample.bin").read_bytes()[first:end]


def test_range_that_cannot_be_satisfied(site: Pair) -> None:
    answer = site.get("/download/file", headers={"Range": "bytes=300000-"})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */300000")


@pytest.mark.parametrize("plain", [False, True])
def test_conditional_requests(site: Pair, plain: bool) -> None:
    """The same ETag or date: 304 without a body; another one: the file."""
    fields = site.get("/download/file", plain=plain).headers
    for condition in (
        {"If-None-Match": fields["etag"]},
        {"If-Modified-Since": fields["last-modified"]},
    ):
        answer = site.get("/download/file", headers=condition, plain=plain)
        assert (answer.status, answer.body) == (304, b"")
    answer = site.get("/download/file", headers={"If-None-Match": '"other"'}, plain=plain)
    assert (answer.status, len(answer.body)) == (200, 300_000)
