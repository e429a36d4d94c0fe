# SPDX-License-Identifier: Apache-2.0
"""Every operation from every place, with every outcome: one table says what must come out.

An operation more goes into `apps.matrix_operations` and gets a result here. `make test` runs each
outcome from one place, and success from all; `make matrix` runs them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from websockets.sync.client import connect

import hornbeam_erlang
from apps.matrix_operations import OPERATIONS
from hornbeam_erlang import aio
from live import serving
from live.conftest import TESTS
from live.serving import Served, wait_until

# The Erlang functions that the operations call, by the outcome they bring about; and one that stops
# the process of a worker for a while, so that the node does not answer that worker.
FUNCTIONS = (
    "hornbeam:register_function(ok,fun(Values)->Values end),"
    "hornbeam:register_function(timeout,fun([Ms])->timer:sleep(Ms)end),"
    "hornbeam:register_function(killed,fun(_)->exit(self(),kill)end),"
    "hornbeam:register_function(crash,fun(_)->error(crash)end),"
    "hornbeam:register_function(stall,fun([OsPid,Ms])->"
    "{ok,Pool}=hornbeam_pool:lookup(root),"
    "[Worker]=[W||W<-hornbeam_pool:workers(Pool),"
    "{ok,#{os_pid:=Found}}<-[hornbeam_worker:info(W)],Found=:=OsPid],"
    "true=erlang:suspend_process(Worker),timer:sleep(Ms),erlang:resume_process(Worker)end)."
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


# By operation: what it returns.
RESULTS: dict[str, Any] = {
    "call": [1, 2],
    "cast": None,
    "rpc": [[1, 2], [], True],
    "rpc_cast": None,
    "execute": [1, 2],
    "task": [[1, 2], True],
    "stream": [1, 2],
    "stream_async": [1, 2],
    "hook": ["act", 1],
    "state_get": "there",
    "state_set": "new",
    "state_delete": None,
    "state_incr": 7,
    "state_decr": 3,
    "state_add": [True, False],
    "state_cas": [True, False],
    "state_update": [[True, 6], [False, 6]],
    "state_multi": [[1, 2, None], 1],
    "state_walk": [["a", "b"], [1], 2],
    "state_info": ["bytes", "entries", "max_bytes", "max_entries"],
    "pipeline": [None, 2, 2],
    "cached": ["computed", "computed"],
    "cache": [1, ["bytes", "entries", "hit_rate", "hits", "misses"]],
    "pubsub": [1, "news", 0],
    "subscription": [1, "news"],
}

# What runs code that may fail in any way: in Erlang, and not waited for; in workers.
ERLANG = ("call", "rpc")
CASTS = ("cast", "rpc_cast")
EXECUTIONS = ("execute", "task", "stream", "stream_async")

# By outcome and operation: the error that it raises. Nothing is raised where an outcome is none of
# WITHOUT and stands not here.
ERRORS: dict[str, dict[str, str]] = {
    "ok": {},
    "timeout": dict.fromkeys(RESULTS, "CallTimeout"),
    "cancelled": {},
    "killed": {**dict.fromkeys(ERLANG, "RemoteError"), **dict.fromkeys(EXECUTIONS, "NodeDown")},
    "crash": {**dict.fromkeys(ERLANG, "RemoteError"), **dict.fromkeys(EXECUTIONS, "HandlerError")},
    "unsendable": dict.fromkeys(RESULTS, "TermError"),
    "refused": dict.fromkeys(RESULTS, "TermError"),
}

CHECKED = ("state_set", "state_incr", "state_decr", "state_add", "state_cas", "state_update")
RUN_BY_NODE = RESULTS.keys() - {*ERLANG, *CASTS, *EXECUTIONS}

# Outcomes that an operation cannot have, and why not.
WITHOUT: dict[str, dict[str, str]] = {
    "timeout": {
        **dict.fromkeys(CASTS, "it waits for nothing"),
        "cached": "it waits for whoever computes and then computes itself: test_cache.py",
    },
    "cancelled": {
        **dict.fromkeys(CASTS, "it waits for nothing"),
        "hook": "it is made for threads; a task that is cancelled leaves the thread alone",
    },
    "killed": dict.fromkeys(RUN_BY_NODE, "the node does it; its end is the worker's own"),
    "crash": dict.fromkeys(RUN_BY_NODE, "it runs no code of an application"),
    "unsendable": {"state_info": "it sends no value"},
    "refused": dict.fromkeys(
        RESULTS.keys() - {*CHECKED, "state_multi", "state_walk", "pipeline", "rpc"},
        "the node takes every value that can be sent",
    ),
}

# Public functions that are no row of their own.
NO_OPERATIONS = {
    "call_timeout": "every timeout of the matrix is set by it",
    **dict.fromkeys(
        ("connect", "disconnect", "monitor_nodes", "rpc_multicall"),
        "about other nodes: test_rpc.py",
    ),
    "start": "outside workers: test_embedded.py",
}

# Where coroutines are asked, which can be cancelled.
AWAITED = {("asgi", place) for place in ("request", "websocket", "hook", "background")}

# Operations that wait in the very same way as `state_incr` does, and outcomes in which that counts.
ALIKE = {name for name in RESULTS if name.startswith("state_")} - {"state_incr"}
WAITS = {"timeout", "cancelled"}

IS_WHOLE = os.environ.get("HORNBEAM_MATRIX") == "whole"


def expected(operation: str, outcome: str) -> Any:
    """What the caller is left with."""
    if outcome == "cancelled":
        return {"cancelled": RESULTS[operation]}
    name = ERRORS[outcome].get(operation)
    if name is None or (operation in CASTS and outcome != "unsendable"):
        return RESULTS[operation]
    return {"error": name, "in_time": True}


def combinations() -> Iterator[tuple[str, str, str, str]]:
    """Server, place, operation and outcome of each case: all of them, or success everywhere and
    each other outcome in one place, unless another operation shows the same."""
    everywhere = [(server, place) for server, places in PLACES.items() for place in places]
    number = 0
    for operation in RESULTS:
        for outcome in ERRORS:
            if operation in WITHOUT.get(outcome, {}):
                continue
            if not IS_WHOLE and operation in ALIKE and outcome in WAITS:
                continue
            where = sorted(AWAITED) if outcome == "cancelled" else everywhere
            if outcome != "ok" and not IS_WHOLE:
                where = [where[number % len(where)]]
                number += 1
            yield from ((*each, operation, outcome) for each in where)


# One kind of server after the other: each is started once.
CASES = [pytest.param(*case, id="-".join(case)) for case in sorted(combinations())]

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
    assert ask(node(server), place, operation, outcome) == expected(operation, outcome)


def test_every_operation_is_in_the_table() -> None:
    """Operations and their results go together, and an outcome that is left out is one of one."""
    assert OPERATIONS.keys() == RESULTS.keys()
    for outcome, operations in WITHOUT.items():
        assert outcome in ERRORS
        assert operations.keys() <= RESULTS.keys()


@pytest.mark.parametrize("module", [hornbeam_erlang, aio], ids=["threads", "await"])
def test_every_public_function_is_in_the_matrix(module: ModuleType) -> None:
    """Each function that applications import is a step of an operation, the same by another name,
    or is left out for a reason."""
    tried = {name for row in OPERATIONS.values() for name in row.names}
    functions = {
        name: value
        for name in module.__all__
        if callable(value := getattr(module, name)) and not isinstance(value, type)
    }
    same = {name for name, value in functions.items() if value.__name__ in tried}
    assert functions.keys() - tried - same - NO_OPERATIONS.keys() == set()
