# SPDX-License-Identifier: Apache-2.0
"""Tasks, contexts, timeouts, threads and calls of ASGI applications in a real worker."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._wire import CALL, CAST, FAULT, RESPONSE, RESULT, REVOKE, Message
from unit.asgi.conftest import Start
from unit.asgi.test_http import noted
from unit.worker.harness import Node

# Path and query, and the JSON of the answer.
OUTCOMES: dict[str, Any] = {
    "/current_task": [True, True, False, "", 0],
    "/current_task?named": [True, True, False, "named", 0],
    "/at_once": [False, False, 0, True, True, True, True],
    "/cancels_itself": [True, 0],
    "/scopes": [True, True],
    "/threads": ["mine", "mine"],
    "/context?at once": ["unset", "at once"],
    "/context?later": ["unset", "later"],
}

TEXTS = {
    "/timeout": b"timed out",
    "/cancels_itself_soon": b"cancelled",
    "/group": b"grouped",
}


@pytest.mark.parametrize("target", OUTCOMES)
def test_outcomes(node: Node, target: str) -> None:
    """Each application's docstring says what it shows; twice, as nothing may be left over."""
    path, _, query = target.partition("?")
    for _ in range(2):
        assert json.loads(node.request(path, query=query).body) == OUTCOMES[target]


@pytest.mark.parametrize("path", TEXTS)
def test_texts(node: Node, path: str) -> None:
    """The same, for those that answer with a text."""
    assert [node.request(path).body for _ in range(2)] == [TEXTS[path]] * 2


def test_done_callback(start: Start) -> None:
    """Whoever asked for the end of a task that never waited is told."""
    node = start()
    node.request("/at_once")
    assert noted(node) == [["done", True, None]]


def test_background(start: Start) -> None:
    """An application goes on after its answer, and a worker that drains waits for it."""
    node = start()
    assert node.request("/background").body == b"answered"
    assert noted(node) == ["background"]
    node.open("/background")
    node.drain()
    assert node.wait_end() == 0


# Calls of the worker.


def echo(call: Message) -> Message:
    arguments: Any = codec.decode(call[5])
    value = arguments[0][1][0] if call[4] == b"call" else arguments[0][0]
    return (RESULT, call[1], codec.encode(value))


def serve(node: Node, ident: int, count: int) -> Any:
    """Answers `count` calls made for exchange `ident`; the JSON of its answer."""
    for _ in range(count):
        call = node.expect(CALL)
        assert call[2] == ident
        node.send(echo(call))
    return json.loads(node.answer(ident).body)


CALLERS = {
    "/awaits_calls": (3, [0, 1, 2]),
    "/blocks_in_call": (1, "text"),
    "/blocks_in_call_later": (1, "text"),
    "/calls_in_threads": (5, [0, 1, 2, 3, 4]),
    "/loop_in_thread": (1, "there"),
}


@pytest.mark.parametrize("path", CALLERS)
def test_calls(node: Node, path: str) -> None:
    """Calls work from tasks, from the loop's own thread, and from threads, and name their
    request."""
    count, outcome = CALLERS[path]
    assert serve(node, node.open(path, query="text"), count) == outcome


@pytest.mark.parametrize("path", ["/blocks_in_call", "/blocks_in_call_later"])
def test_what_arrives_during_a_blocking_call(node: Node, path: str) -> None:
    """What arrives while the loop's thread waits for an answer is served afterwards."""
    blocked = node.open(path, query="text")
    call = node.expect(CALL)
    other = node.open_message("/whole")
    node.send(other, echo(call))
    answers = {message[1] for message in (node.expect(RESPONSE), node.expect(RESPONSE))}
    assert answers == {blocked, other[1]}


# Calls of the node.


def arguments(*positional: object) -> bytes:
    return codec.encode([list(positional), {}])


def test_coroutine_functions_run_at_once(node: Node) -> None:
    """Coroutine functions are tasks: the quick one does not wait for the slow one."""
    first, second = node.next_call(), node.next_call()
    node.send(
        (CALL, first, 0, 5000, b"sleepy", arguments(0.2)),
        (CALL, second, 0, 5000, b"sleepy", arguments(0.0)),
    )
    assert [node.expect(RESULT)[1] for _ in range(2)] == [second, first]


def test_revoked_task_is_cancelled(node: Node) -> None:
    """A call that is revoked is cancelled and answered at once."""
    ident = node.next_call()
    node.send((CALL, ident, 0, 60000, b"sleepy", arguments(60.0)))
    node.send((REVOKE, ident))
    assert node.expect(FAULT)[1:3] == (ident, b"cancelled")
    assert node.request("/whole").status == 200


def test_call_in_the_service_of_a_call(node: Node) -> None:
    """A call names the call of the node in whose service it is made, negated."""
    ident = node.next_call()
    node.send((CALL, ident, 0, 5000, b"asks", arguments()))
    call = node.expect(CALL)
    assert call[2] == -ident
    node.send(echo(call))
    assert node.expect(RESULT) == (RESULT, ident, codec.encode("asked"))


def test_plain_functions_and_casts(start: Start) -> None:
    """Plain functions run in a thread, casts are not answered."""
    node = start()
    ident = node.next_call()
    node.send((CALL, ident, 0, 5000, b"plain", arguments("called")))
    assert node.expect(RESULT) == (RESULT, ident, codec.encode("called"))
    node.send((CAST, b"plain", arguments("cast")))
    while len(found := noted(node)) < 2:
        os.sched_yield()
    assert found == [["plain", "called"], ["plain", "cast"]]
