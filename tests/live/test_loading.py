# SPDX-License-Identifier: Apache-2.0
"""Applications use the node while they are imported and while they start up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from live import serving
from live.conftest import TESTS

FUNCTIONS = (
    "hornbeam:register_function(twice,fun([N])->2*N end),"
    "hornbeam:register_function(noted,fun([_])->ok end),"
    "hornbeam:register_function(slow,fun([])->timer:sleep(60000)end)."
)
FLAGS = {"ERL_FLAGS": f'-eval "{FUNCTIONS}"'}

IMPORTED = {"call": 42, "cached": "computed", "published": 0, "own": 1}


@pytest.fixture(params=["wsgi", "asgi"])
def found(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """The interface, and what two workers of it have found, one after the other."""
    options = ("--workers", "2", "--interface", request.param)
    with serving.serving(f"apps.loading_cases:{request.param}", TESTS, *options, **FLAGS) as served:
        status, body = served.get("/")
        assert status == 200, served.errors()[-4000:]
        yield request.param, json.loads(body)


def test_calls_while_loading(found: tuple[str, dict[str, Any]]) -> None:
    """State, calls, caches, subscriptions and handlers that an import sets up are there when it
    serves, each exactly once; the same of a startup, and of a task that it has started."""
    interface, answer = found
    assert IMPORTED.items() <= answer.items()
    assert answer["imported"] in (1, 2)
    assert answer["thread"] in (1, 2)
    if interface == "wsgi":
        assert answer["told"] == "hello"
        return
    assert answer["started"] in (1, 2)
    assert answer["blocking"] == {"at": "import"}
    assert answer["async call"] == 8
    assert answer["background"] == "tick"


def test_startup_that_fails_while_a_call_is_open() -> None:
    """The message of the startup is what is told, at once, whatever is open."""
    began = time.monotonic()
    start = serving.serving("apps.loading_cases:failing", TESTS, "--interface", "asgi", **FLAGS)
    with pytest.raises(AssertionError, match=r"not today: \{'at': 'import'\}, False"):
        start.__enter__()
    assert time.monotonic() - began < 30
