# SPDX-License-Identifier: Apache-2.0
"""Calls that an event loop of the application awaits, in a worker whose threads have none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hornbeam_erlang import NotConnected, codec
from hornbeam_erlang._calls import call_service_async
from hornbeam_erlang._wire import CALL, RESULT, REVOKE, Message
from unit.worker.harness import Node


def echo(call: Message) -> Message:
    """The node's answer: the first argument."""
    arguments: Any = codec.decode(call[5])
    return (RESULT, call[1], codec.encode(arguments[0][0]))


def outcome(node: Node, ident: int) -> Any:
    return json.loads(node.answer(ident).body)


def test_loop_in_the_thread_of_a_request(node: Node) -> None:
    """Answers reach calls of one loop whatever their order, and the calls name their request."""
    ident = node.open("/awaited")
    calls = [node.expect(CALL) for _ in range(20)]
    assert {call[2] for call in calls} == {ident}
    node.send(*(echo(call) for call in reversed(calls)))
    for _ in range(2):
        node.send(echo(node.expect(CALL)))
    assert outcome(node, ident) == [*range(20), "then", "last"]


def test_loop_in_a_thread_of_the_application(node: Node) -> None:
    """The answer reaches a loop in a thread that serves no request."""
    assert outcome(node, node.open("/awaited_in_background")) == "started"
    call = node.expect(CALL)
    assert call[2] == 0
    node.send(echo(call))
    assert node.request("/quick").status == 200


def test_no_answer_in_time(node: Node) -> None:
    """A node that does not answer in time is not waited for: CallTimeout, and REVOKE."""
    ident = node.open("/awaited_too_long")
    call = node.expect(CALL)
    assert node.expect(REVOKE) == (REVOKE, call[1])
    assert outcome(node, ident) == ["CallTimeout", 0.05]


def test_cancelled_task_revokes_its_call(node: Node) -> None:
    """A cancelled call is revoked, and its late answer goes to nobody."""
    ident = node.open("/awaited_and_cancelled")
    first = node.expect(CALL)
    assert node.expect(REVOKE) == (REVOKE, first[1])
    second = node.expect(CALL)
    node.send(echo(first), echo(second))
    assert outcome(node, ident) == "second"


def test_outside_a_worker() -> None:
    """Outside a worker the call raises NotConnected."""
    with pytest.raises(NotConnected, match="echo"):
        asyncio.run(call_service_async("echo", [], {}, 1, "echo()"))
