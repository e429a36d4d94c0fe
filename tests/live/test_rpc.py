# SPDX-License-Identifier: Apache-2.0
"""Functions of another node, called from WSGI, from ASGI and from threads: the same operations come
to the same ends everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from live import nodes
from live.conftest import TESTS
from live.serving import Served, serving, wait_until

DEAD = "nobody@localhost"
EXPECTED = [
    [None, "a", 1],
    "bytes",
    ["CallTimeout", "TimeoutError"],
    ["NodeDown", "ConnectionError"],
    ["RemoteError"],
    "ok",
    100_000,
    {"NODE": 2},
    ["NODE"],
    True,
    False,
]
EVENTS = [
    ["nodes", "nodedown", "NODE", False, "disconnect"],
    ["nodes", "nodeup", "NODE", False, ""],
]

Cluster = tuple[dict[str, Served], nodes.Node]


def front(kind: str) -> Any:
    options = ("--sname", nodes.named(kind), "--interface", kind, "--workers", "1")
    return serving(f"apps.rpc_cases:{kind}", TESTS, *options, **nodes.VARIABLES)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node for each interface, and a plain one that each of them calls."""
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        kinds = ("wsgi", "asgi")
        other = pool.submit(lambda: stack.enter_context(nodes.plain("other")))
        served = pool.map(lambda kind: stack.enter_context(front(kind)), kinds)
        yield dict(zip(kinds, served, strict=True)), other.result()


def ask(cluster: Cluster, kind: str, place: str) -> Any:
    served, other = cluster
    status, body = served[kind].get(f"/{place}?{other.name}&{DEAD}")
    assert status == 200, served[kind].errors()
    return json.loads(body)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("wsgi", "plain"),
        ("wsgi", "thread"),
        ("asgi", "awaited"),
        ("asgi", "background"),
        ("asgi", "blocking"),
        ("asgi", "to_thread"),
    ],
)
def test_places(cluster: Cluster, kind: str, place: str) -> None:
    """Results come as they went, and failures as what the documents say to catch."""
    found = ask(cluster, kind, place)
    others = found.pop(8)  # the other front may be connected by now
    assert found == EXPECTED[:8] + EXPECTED[9:]
    assert "NODE" in others


@pytest.mark.parametrize(("kind", "place"), [("wsgi", "events"), ("asgi", "events_awaited")])
def test_events(cluster: Cluster, kind: str, place: str) -> None:
    """A subscriber is told of a node that goes and comes back."""
    ask(cluster, kind, {"wsgi": "plain", "asgi": "awaited"}[kind])
    assert ask(cluster, kind, place)[:2] == EVENTS


def test_casts(cluster: Cluster) -> None:
    """A cast that cannot be sent is logged by the node, and the next one arrives."""
    assert ask(cluster, "wsgi", "cast") == []
    errors = cluster[0]["wsgi"].errors
    wait_until(lambda: "cast_failed" in errors() and "node_down" in errors(), "the cast is logged")
