# SPDX-License-Identifier: Apache-2.0
"""What sites in Starlette, FastAPI, Litestar and Django (ASGI), unchanged, answer under hornbeam
and under uvicorn.

Each test asks both servers; `Pair` fails when status, fields or body differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from live.conftest import Both
from live.pair import Pair
from live.samples import MIB, digest, pieces, sample
from live.serving import wait_until

NAME = "Zoë Müller/東京"
ALL = ["starlette", "fastapi", "litestar", "django_asgi"]


@pytest.fixture(params=ALL)
def site(both_asgi: Both, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with both_asgi(f"apps.{request.param}_site:application") as pair:
        yield pair


@pytest.fixture(params=ALL[:3])
def tasked(both_asgi: Both, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The frameworks that have background tasks and a lifespan."""
    with both_asgi(f"apps.{request.param}_site:application") as pair:
        yield pair


def test_routes_with_converters_and_non_ascii_paths(site: Pair) -> None:
    """A percent-encoded UTF-8 path reaches the endpoint as text, and reversing gives it back."""
    text = site.get("/users/7/Zo%C3%AB%20%E6%9D%B1").text
    assert text.startswith("7 Zoë 東 /users/7/Zo")


def test_query_string(site: Pair) -> None:
    """Repeated, plus-encoded and non-ASCII arguments."""
    answer = site.get("/query?a=1&a=2&c=x+y%26z&n%C3%A4me=%E6%9D%B1")
    assert answer.json == {"a": ["1", "2"], "c": ["x y&z"], "näme": ["東"]}


def test_urlencoded_form(site: Pair) -> None:
    answer = site.post("/form", data={"name": NAME, "tags": ["a", "b"]})
    assert answer.json == {"form": {"name": [NAME], "tags": ["a", "b"]}, "files": {}}


@pytest.mark.parametrize("size", [0, 10, 65536, 5 * MIB])
def test_multipart_form_with_a_file(site: Pair, size: int) -> None:
    """The file arrives whole, with its name and type; fields beside it as well."""
    data = sample(size)
    files = {"upload": ("prüfung.bin", data, "application/x-sample")}
    answer = site.post("/form", data={"name": NAME}, files=files)
    assert answer.json["form"] == {"name": [NAME]}
    described = ["prüfung.bin", "application/x-sample", *digest(data)]
    assert answer.json["files"] == {"upload": described}


@pytest.mark.parametrize("size", [1, 65537, 10 * MIB])
@pytest.mark.parametrize("told", [True, False])
def test_upload_that_is_read_as_it_comes(site: Pair, size: int, told: bool) -> None:
    """A raw body, with and without its length told."""
    data = sample(size)
    content = data if told else (lambda _client: pieces(data))
    assert site.ask("PUT", "/upload", content=content).json == digest(data)


def test_json(site: Pair) -> None:
    value = {"text": NAME, "number": 1e-20, "nested": [None, True, {"": []}]}
    assert site.post("/json", json=value).json == {"received": value}


def test_several_cookies(site: Pair) -> None:
    """Two Set-Cookie stay two; the client sends them back."""
    assert len(site.get("/cookies/set").set_cookies) == 2
    assert site.get("/cookies").json == {"plain": "1", "strict": "2"}


def test_file(site: Pair, site_folder: Path) -> None:
    """A file of the framework's own response for files, and its head."""
    answer = site.get("/download/file")
    assert answer.body == (site_folder / "sample.bin").read_bytes()
    assert answer.headers["content-length"] == "300000"
    assert "pr%C3%BCfung.bin" in answer.headers["content-disposition"]


def test_streamed_download(site: Pair) -> None:
    answer = site.get("/download/stream?count=5000")
    assert answer.text == "".join(f"line {number}\n" for number in range(5000))
    assert "content-length" not in answer.headers


def test_server_sent_events(site: Pair) -> None:
    answer = site.get("/events?count=20")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: event") == 20


def test_contextvars_of_middleware(site: Pair) -> None:
    """Set in a pure ASGI middleware, seen in the endpoint, in its tasks and threads; each request
    sees its own.
    """
    for number in range(3):
        field = {"X-Request-Id": f"request-{number}"}
        answer = site.get("/context", headers=field)
        assert answer.json == [f"request-{number}"] * 2
        assert answer.headers["x-tag"] == f"request-{number}"


def test_contextvars_of_requests_at_once(site: Pair) -> None:
    """Requests that run at the same time do not see each other's."""
    names = [f"request-{number}" for number in range(20)]
    with ThreadPoolExecutor(5) as pool:
        answers = pool.map(lambda name: site.get("/context", headers={"X-Request-Id": name}), names)
        assert [answer.json for answer in answers] == [[name, name] for name in names]


def test_ordinary_function_in_a_thread(site: Pair) -> None:
    """An endpoint that is no coroutine runs in a thread, with the request's context."""
    assert site.get("/threaded", headers={"X-Request-Id": "mine"}).text == "mine"


def test_background_task(tasked: Pair) -> None:
    """The answer comes before the background task has ended, which then does."""
    assert tasked.post("/background?word=tidied").text == "started"
    wait_until(lambda: "tidied" in done(tasked), "the background task has run", 10)


def done(site: Pair) -> list[str]:
    """What background tasks have done in both servers; the order is theirs."""
    found: list[list[str]] = [answer.json for answer in site.each("GET", "/done")]
    return [word for word in found[0] if all(word in other for other in found)]


def test_lifespan(tasked: Pair) -> None:
    """What the lifespan opened is used in the loop in which it was opened."""
    assert tasked.get("/pool").json is True


def test_error_pages(site: Pair) -> None:
    """404 and 500 are the framework's own pages; the exception is not shown."""
    assert site.get("/nowhere").status == 404
    answer = site.get("/boom")
    assert answer.status == 500
    assert b"lost on the way" not in answer.body


def test_method_that_is_not_allowed(site: Pair) -> None:
    assert site.ask("DELETE", "/json").status in (405, 500, 400)
