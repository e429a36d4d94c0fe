# SPDX-License-Identifier: Apache-2.0
"""The loop that applications run in: tasks, contextvars, threads, anyio; uvloop and asyncio's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hornbeam_erlang.terms import Atom
from live.conftest import Start
from live.raw import Raw, Reply
from live.serving import Served

MODULES = {"uvloop": "uvloop", "asyncio": "asyncio.unix_events"}


@pytest.fixture(params=MODULES)
def looped(request: pytest.FixtureRequest, start_asgi: Start, site_folder: Path) -> Served:
    """The cases in each loop."""
    app = "apps.websocket_cases:application"
    return start_asgi(app, ("loop", Atom(request.param)), SITE_FOLDER=str(site_folder))


def get(served: Served, path: str) -> Reply:
    """A request on a connection of its own."""
    with Raw(served) as raw:
        return raw.ask("GET", path, "Connection: close")


@pytest.mark.parametrize("name", MODULES)
def test_loop_that_was_asked_for(start_asgi: Start, site_folder: Path, name: str) -> None:
    """`loop` chooses; applications run in the main thread, where signals and children are heard."""
    app = "apps.websocket_cases:application"
    served = start_asgi(app, ("loop", Atom(name)), SITE_FOLDER=str(site_folder))
    assert get(served, "/loop/").json == [MODULES[name], True]


def test_loop_is_uvloop_where_it_is_installed(asgi: Served) -> None:
    """`auto`, the default."""
    assert get(asgi, "/loop/").json == ["uvloop", True]


def test_current_task(looped: Served) -> None:
    """asyncio.current_task() is the request's own, and stays the same while it waits."""
    assert get(looped, "/task/").status == 200


def test_contextvars_are_the_requests_own(looped: Served) -> None:
    """A variable set in a request is seen by its tasks and threads, and by no other request."""
    with ThreadPoolExecutor(8) as pool:
        values = [f"value-{number}" for number in range(40)]
        found = list(pool.map(lambda value: get(looped, f"/context/{value}").json, values))
    assert found == [["unset", value, value, value] for value in values]


def test_contextvars_on_one_connection(looped: Served) -> None:
    """The next request of a connection does not inherit them either."""
    with Raw(looped) as raw:
        for number in range(5):
            value = str(number)
            expected = ["unset", value, value, value]
            assert raw.ask("GET", f"/context/{number}").json == expected


@pytest.mark.parametrize(
    ("path", "answer"),
    [("/threads/", [True, True]), ("/groups/", [4950, True]), ("/timeouts/", [45, 0])],
)
def test_what_the_loop_offers(looped: Served, path: str, answer: list[object]) -> None:
    """asyncio.to_thread, anyio's threads, task groups and streams, timeouts work."""
    assert get(looped, path).json == answer


def test_requests_run_at_once(looped: Served) -> None:
    """Fifty requests that wait a second each are served together by one worker."""
    begin = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: get(looped, "/together/1000").json, range(50)))
    assert max(most for most, _running in answers) > 25
    assert time.monotonic() - begin < 45


def test_no_task_is_left(looped: Served) -> None:
    """After a hundred requests the loop has no more tasks than before."""
    before = int(get(looped, "/task-count/").body)
    for _ in range(100):
        assert get(looped, "/sleeps/1").body == b"slept"
    assert int(get(looped, "/task-count/").body) <= before
