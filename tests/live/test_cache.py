# SPDX-License-Identifier: Apache-2.0
"""Cached results in real workers: computed once, exact, for all; failures; a worker that is
killed while it computes."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from live.conftest import Start
from live.serving import Served, wait_until


@pytest.fixture(scope="module")
def site(start: Start) -> Served:
    """Two workers with four threads each."""
    return start("apps.cache_cases:application", "--workers", "2")


def ask(site: Served, case: str, argument: str = "") -> Any:
    status, body = site.get(f"/{case}?{argument}")
    assert status == 200, site.errors()
    return json.loads(body)


@pytest.mark.parametrize("case", ["compute", "compute_awaited"])
def test_concurrent_misses_compute_once(site: Served, case: str) -> None:
    """Requests in all workers that ask at once get one computation's result, of exact types."""
    argument = f"once-{case}"
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: ask(site, case, argument), range(6)))
    results.append(ask(site, case, argument))
    assert ask(site, "count", argument) == 1
    pid = results[0][0]
    size = float(len(argument))
    assert results == [[pid, "ndarray", "float32", [size] * 3, "(1, b'x')"]] * 7


def test_failure_is_the_callers_and_is_not_kept(site: Served) -> None:
    """What the function raises reaches the caller; the next one computes again."""
    expected = "OSError: no result for broken"
    assert [ask(site, "fail", "broken") for _ in range(2)] == [expected] * 2
    assert ask(site, "count", "broken") == 2


def test_stats_and_clear(site: Served) -> None:
    """`cache_stats` counts for all workers; `clear_cache` forgets what has the prefix."""
    before = ask(site, "stats")
    ask(site, "compute", "stats")
    ask(site, "compute", "stats")
    after = ask(site, "stats")
    assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (1, 1)
    assert after["hit_rate"] == pytest.approx(after["hits"] / (after["hits"] + after["misses"]))
    assert ask(site, "clear", "other") == 0
    assert ask(site, "clear") >= 1
    ask(site, "compute", "stats")
    assert ask(site, "count", "stats") == 2


def test_explicit_key(site: Served) -> None:
    """A given key is the key, whatever the input."""
    assert ask(site, "explicit", "four") == [4, 4]


def test_nested(site: Served) -> None:
    """A computation that asks for its own key does not wait for itself."""
    assert ask(site, "nested") == ["outer", "inner"]


def test_tasks_of_one_request(site: Served) -> None:
    """Tasks of one event loop that ask at once compute once."""
    assert ask(site, "gathered") == [[7] * 5, 1]


def test_time_to_live(site: Served) -> None:
    """A value is not given out after its time."""
    assert ask(site, "time_to_live") == [1, True]


def test_killed_while_it_computes(start: Start) -> None:
    """When the worker that computes is killed, one that waits computes instead."""
    site = start("apps.cache_cases:application", "--workers", "2", "--threads", "1")
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(site.get, "/compute?killed") for _ in range(2)]
        wait_until(lambda: computing(site) is not None, "the computation has started")
        pid = computing(site)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        answers = sorted(call.result(30) for call in calls)
    assert [status for status, _ in answers] == [200, 502]
    assert json.loads(answers[0][1])[0] != pid


def computing(site: Served) -> int | None:
    """The process that computes first, as it says on standard error."""
    found = re.search(r"(\d+) computes killed", site.errors())
    return None if found is None else int(found[1])
