# SPDX-License-Identifier: Apache-2.0
"""What Flask and Django, unchanged, both answer under hornbeam and under gunicorn.

Each test asks both servers; `Pair` fails when status, fields or body differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live.conftest import Both
from live.pair import Pair


@pytest.fixture(params=["django", "flask"])
def site(both: Both, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with both(f"apps.{request.param}_site:application") as pair:
        yield pair


def test_routes_with_converters_and_non_ascii_paths(site: Pair) -> None:
    """A percent-encoded UTF-8 path reaches the view as text, and reversing gives it back."""
    answer = site.get("/users/7/Zo%C3%AB%20%E6%9D%B1")
    assert answer.text == "7 Zoë 東 /users/7/Zo%C3%AB%20%E6%9D%B1"


def test_query_string(site: Pair) -> None:
    """Repeated, empty, plus-encoded and non-ASCII arguments."""
    answer = site.get("/query?a=1&a=2&b=&c=x+y%26z&n%C3%A4me=%E6%9D%B1")
    assert answer.json == {"a": ["1", "2"], "b": [""], "c": ["x y&z"], "näme": ["東"]}


def test_several_cookies(site: Pair) -> None:
    """Three Set-Cookie stay three, in order, with their attributes; the client sends them back."""
    answer = site.get("/cookies/set")
    assert [cookie.replace("Expires=", "expires=") for cookie in answer.set_cookies] == [
        "plain=1; Path=/",
        'quoted="a b\\073 c"; HttpOnly; Path=/cookies; SameSite=Lax',
        "lasting=3; expires=Fri, 01 Jan 2100 00:00:00 GMT; Path=/",
    ]
    assert site.get("/cookies").json == {"plain": "1", "quoted": "a b; c", "lasting": "3"}
