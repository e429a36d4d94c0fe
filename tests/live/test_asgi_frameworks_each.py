# SPDX-License-Identifier: Apache-2.0
"""What single ASGI frameworks have of their own: dependencies with a life, validation, mounts,
middleware of their own kind, views that are cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from live.conftest import Both, Start
from live.pair import Pair
from live.raw import Raw, request
from live.serving import Served, wait_until


@pytest.fixture
def fastapi(both_asgi: Both) -> Iterator[Pair]:
    with both_asgi("apps.fastapi_site:application") as pair:
        yield pair


@pytest.fixture
def starlette(both_asgi: Both) -> Iterator[Pair]:
    with both_asgi("apps.starlette_site:application") as pair:
        yield pair


@pytest.fixture
def django(start_asgi: Start, site_folder: Path) -> Served:
    app = "apps.django_asgi_site:application"
    return start_asgi(app, SITE_FOLDER=str(site_folder), PYTHONHASHSEED="0")


def happened(site: Pair, word: str) -> Callable[[], bool]:
    """A condition: both servers' applications have noted `word`."""
    return lambda: all(word in answer.json for answer in site.each("GET", "/done"))


@pytest.mark.parametrize("name", ["fastapi", "litestar"])
def test_dependency_is_opened_and_closed(both_asgi: Both, name: str) -> None:
    """A dependency that yields is open while the endpoint runs, and closed afterwards."""
    word = uuid4().hex
    with both_asgi(f"apps.{name}_site:application") as site:
        answer = site.get(f"/session?word={word}")
        assert answer.json == [word, f"{word} opened"]
        wait_until(happened(site, f"{word} closed"), "the dependency is closed", 10)


def test_dependency_of_an_endpoint_that_raises(fastapi: Pair) -> None:
    """It sees the exception, and is closed."""
    word = uuid4().hex
    close = {"Connection": "close"}  # uvicorn closes it in any case
    assert fastapi.get(f"/session/fails?word={word}", headers=close).status == 500
    for noted in (f"{word} rolled back", f"{word} closed"):
        wait_until(happened(fastapi, noted), noted, 10)


def test_models(fastapi: Pair) -> None:
    """A body that the model accepts, and one that it does not: 422 with what is wrong."""
    answer = fastapi.post("/items", json={"name": "Zoë", "price": 0.1})
    assert (answer.status, answer.json) == (201, {"name": "Zoë", "price": 0.1})
    answer = fastapi.post("/items", json={"name": "", "price": -1})
    assert answer.status == 422
    assert [one["loc"] for one in answer.json["detail"]] == [["body", "name"], ["body", "price"]]


def test_openapi(fastapi: Pair) -> None:
    """The description that the framework makes of the site."""
    assert "/items" in fastapi.get("/openapi.json").json["paths"]


@pytest.mark.parametrize("name", ["starlette", "fastapi"])
def test_middleware_of_both_kinds(both_asgi: Both, name: str) -> None:
    """Pure ASGI middleware around BaseHTTPMiddleware: header and context arrive."""
    with both_asgi(f"apps.{name}_site:application") as site:
        headers = site.get("/context", headers={"X-Request-Id": "seven"}).headers
    assert headers["x-tag"] == "seven"


def test_redirect(starlette: Pair) -> None:
    answer = starlette.get("/old")
    assert (answer.status, answer.headers["location"]) == (307, "/query?a=1")


@pytest.mark.parametrize("asked", ["0-0", "100-199", "299990-", "-10", "0-9,20-29"])
def test_ranges_of_a_file(starlette: Pair, asked: str) -> None:
    """Ranges that the framework answers, several among them."""
    # The boundary between parts is random; nothing else of this answer may differ.
    if "," in asked:
        answers = starlette.each("GET", "/download/file", headers={"Range": f"bytes={asked}"})
        assert {answer.status for answer in answers} == {206}
        assert len({len(answer.body) for answer in answers}) == 1
    else:
        assert starlette.get("/download/file", headers={"Range": f"bytes={asked}"}).status == 206


def test_range_that_cannot_be_satisfied(starlette: Pair) -> None:
    answer = starlette.get("/download/file", headers={"Range": "bytes=300000-"})
    assert answer.status == 416


def test_head_of_a_file(starlette: Pair) -> None:
    """HEAD has the fields of GET, and no body."""
    got, head = starlette.get("/download/file"), starlette.ask("HEAD", "/download/file")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


def test_django_view_is_cancelled(django: Served) -> None:
    """An asynchronous view whose client leaves is cancelled by Django, which waits for the
    disconnect.
    """
    word = uuid4().hex

    def noted() -> Any:
        return httpx.get(f"http://{django.host}:{django.port}/done", trust_env=False).json()

    with Raw(django) as raw:
        raw.send(request("GET", f"/waits?word={word}"))
        wait_until(lambda: f"{word} waits" in noted(), "the view waits", 10)
    wait_until(lambda: f"{word} cancelled" in noted(), "the view is cancelled", 10)
