# SPDX-License-Identifier: Apache-2.0
"""Every operation from every place, with every outcome: one table says what must come out.

An operation of its own goes into `apps.matrix` and gets a row here. `make test` runs each outcome
from one place, and success from all; `make matrix` runs them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from live import serving
from live.conftest import TESTS
from live.serving import Served, wait_until

# The Erlang functions that the operations call, by the outcome they bring about.
FUNCTIONS = (
    "hornbeam:register_function(ok,fun(Values)->Values end),"
    "hornbeam:register_function(timeout,fun([Ms])->timer:sleep(Ms)end),"
    "hornbeam:register_function(killed,fun(_)->exit(self(),kill)end),"
    "hornbeam:register_function(crash,fun(_)->error(crash)end)."
)

SERVERS = {
    "wsgi-1": ("wsgi", "--threads", "1"),
    "wsgi-4": ("wsgi", "--threads", "4"),
    "asgi": ("asgi", "--interface", "asgi"),
}
PLACES = {
    "wsgi-1": ("request", "thread", "hook", "task"),
    "wsgi-4": ("request", "thread", "hook", "task"),
    "asgi": ("request", "websocket", "hook", "background", "thread"),
}


def error(name: str) -> dict[str, Any]:
    return {"error": name, "in_time": True}


# By operation and outcome: what the caller is left with.
EXPECTED: dict[str, dict[str, Any]] = {
    "call": {
        "ok": [1, 2],
        "timeout": error("CallTimeout"),
        "killed": error("RemoteError"),
        "crash": error("RemoteError"),
        "unsendable": error("TermError"),
    },
    "cast": {
        "ok": None,
        "timeout": None,
        "killed": None,
        "crash": None,
        "unsendable": error("TermError"),
    },
    "execute": {
        "ok": [1, 2],
        "timeout": error("CallTimeout"),
        "killed": error("NodeDown"),
        "crash": error("HandlerError"),
        "unsendable": error("TermError"),
    },
    "task": {
        "ok": [[1, 2], True],
        "timeout": error("CallTimeout"),
        "killed": error("NodeDown"),
        "crash": error("HandlerError"),
        "unsendable": error("TermError"),
    },
    "stream": {
        "ok": [0, 1, 2],
        "timeout": error("CallTimeout"),
        "killed": error("NodeDown"),
        "crash": error("HandlerError"),
        "unsendable": error("TermError"),
    },
}

IS_WHOLE = os.environ.get("HORNBEAM_MATRIX") == "whole"


def chosen(places: tuple[str, ...], number: int, outcome: str) -> tuple[str, ...]:
    """The places from which the combination of that number is tried."""
    if IS_WHOLE or outcome == "ok":
        return places
    return (places[number % len(places)],)


COMBINATIONS = [(name, outcome) for name, outcomes in EXPECTED.items() for outcome in outcomes]
CASES = [
    pytest.param(server, place, operation, outcome, id=f"{server}-{place}-{operation}-{outcome}")
    for server, places in PLACES.items()
    for number, (operation, outcome) in enumerate(COMBINATIONS)
    for place in chosen(places, number, outcome)
]

Node = Callable[[str], Served]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """`node(server)`: two workers of that kind, one kind at a time."""
    running: dict[str, Served] = {}
    contexts: list[Any] = []

    def one(server: str) -> Served:
        if server not in running:
            stop()
            app, *options = SERVERS[server]
            context = serving.serving(
                f"apps.matrix:{app}", TESTS, "--workers", "2", *options, ERL_FLAGS=flags()
            )
            running[server] = context.__enter__()
            contexts.append(context)
        return running[server]

    def stop() -> None:
        running.clear()
        while contexts:
            contexts.pop().__exit__(None, None, None)

    yield one
    stop()


def flags() -> str:
    return f'-eval "{FUNCTIONS}"'


def workers(served: Served) -> list[int]:
    """Both workers, also when one was killed a moment ago."""
    pids: list[int] = []

    def are_ready() -> bool:
        pids[:] = served.worker_pids()
        return len(pids) == 2 and served.get(target("ready", "all", "ok", pids)) == (200, b"true")

    wait_until(are_ready, "two workers")
    return pids


def target(place: str, operation: str, outcome: str, pids: list[int]) -> str:
    return f"/{place}/{operation}/{outcome}?{json.dumps(pids, separators=(',', ':'))}"


def ask(served: Served, place: str, operation: str, outcome: str) -> Any:
    path = target(place, operation, outcome, workers(served))
    if place == "websocket":
        with connect(f"ws://{served.host}:{served.port}{path}") as socket:
            return json.loads(socket.recv(timeout=20))
    status, body = served.get(path)
    assert status == 200, served.errors()[-4000:]
    return json.loads(body)


@pytest.mark.parametrize(("server", "place", "operation", "outcome"), CASES)
def test_matrix(server: str, place: str, operation: str, outcome: str, node: Node) -> None:
    """Wherever an operation is asked for, its outcome is what the table says, in time."""
    assert ask(node(server), place, operation, outcome) == EXPECTED[operation][outcome]
