# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe between real workers: who gets what, who is counted, what is lost, and what
ends a subscription."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from live.conftest import Start
from live.serving import Served, wait_until


@pytest.fixture(scope="module")
def site(start: Start) -> Served:
    """Two workers with four threads each."""
    return start("apps.pubsub_cases:application", "--workers", "2", PYTHONWARNINGS="error")


def ask(site: Served, case: str, topic: str) -> Any:
    status, body = site.get(f"/{case}?{topic}")
    assert status == 200, site.errors()
    return json.loads(body)


def counts(site: Served, topic: str, subscribers: int) -> bool:
    return bool(ask(site, "count", topic) == subscribers)


@pytest.mark.parametrize("case", ["wait", "wait_awaited"])
def test_message_reaches_requests_of_all_workers(site: Served, case: str) -> None:
    """Waiting requests, in whichever worker, get one message and are counted; their end
    unsubscribes them."""
    topic = f"all-{case}"
    with ThreadPoolExecutor(6) as pool:
        waiting: list[Future[Any]] = []
        for number in range(6):
            waiting.append(pool.submit(ask, site, case, f"{topic}-{number}"))
        for number in range(6):
            wait_until(partial(counts, site, f"{topic}-{number}", 1), "subscribed")
        assert [each.result(30) for each in waiting] == ["counted"] * 6
    for number in range(6):
        wait_until(partial(counts, site, f"{topic}-{number}", 0), "unsubscribed")


def test_count_is_that_of_all_subscribers(site: Served) -> None:
    """`publish` returns how many subscribers there are in all workers together."""
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(ask, site, "wait_for_end", "counted") for _ in range(5)]
        wait_until(partial(counts, site, "counted", 5), "all five have subscribed", 20)
        assert ask(site, "end", "counted") == 5
        assert [each.result(30) for each in waiting] == ["end"] * 5


def test_values_come_as_they_went(site: Served) -> None:
    """Every message arrives with the type and the value it was published with."""
    assert ask(site, "values", "values") == [True] * 12


def test_prefix(site: Served) -> None:
    """A subscription by prefix gets all topics that start so, with their names, and no other."""
    counts, found, last = ask(site, "prefixes", "user")
    assert counts == [1, 1, 1, 0]
    assert found == [["user", ""], ["user:a", ":a"], ["user:b", ":b"]]
    assert last is None


def test_slow_reader_loses_the_oldest(site: Served) -> None:
    """A subscriber that does not read keeps the newest messages, and is told how many it lost."""
    assert ask(site, "slow_reader", "slow") == [list(range(40, 50)), 40]


def test_flood(site: Served) -> None:
    """What is received and what is lost add up to what was published."""
    received, lost = ask(site, "flood", "flood")
    assert received + lost == 3000
    assert lost > 0


def test_subscribing_twice(site: Served) -> None:
    """Two subscriptions count twice; taking back more than there are does nothing."""
    assert ask(site, "twice", "twice") == [2]
    wait_until(lambda: ask(site, "count", "twice") == 0, "unsubscribed")


def test_thread_of_the_application(site: Served) -> None:
    """A thread subscribes for itself, and its end unsubscribes it."""
    assert ask(site, "thread", "thread") == [1, "from the thread"]
    wait_until(lambda: ask(site, "count", "thread") == 0, "unsubscribed")


def test_async_iterator(site: Served) -> None:
    """`async for` gives the messages and ends when the subscription is closed."""
    assert ask(site, "iterate_awaited", "iterated") == [0, 1, 2]


def test_close_ends_a_wait_without_deadline(site: Served) -> None:
    """`for` ends when another thread closes the subscription."""
    assert ask(site, "closed_by_another", "closed") == ""


def test_errors_say_what_is_wrong(site: Served) -> None:
    """Receiving without a subscription, and topics that are none, are errors at once."""
    assert "call subscribe first" in ask(site, "nothing_subscribed", "none")
    assert ask(site, "bad_topics", "bad") == ["ValueError", "TypeError", "TypeError"]


def test_killed_worker_leaves_no_subscription(start: Start) -> None:
    """After kill -9 of a worker its subscriptions are gone."""
    site = start("apps.pubsub_cases:application", "--workers", "2", "--threads", "2")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.get, "/wait_for_end?killed")
        wait_until(partial(counts, site, "killed", 1), "subscribed")
        for pid in site.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert waiting.result(30)[0] == 502
    wait_until(lambda: site.get("/count?killed") == (200, b"0"), "no subscription is left")
