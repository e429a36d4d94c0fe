# SPDX-License-Identifier: Apache-2.0
"""The loop of an ASGI worker when it is busy, when the node does not read, and after many clients
have left."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable
from time import monotonic

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._wire import (
    ACCEPT,
    BEAT,
    CALL,
    CANCEL,
    CLOSE,
    END,
    OPEN,
    RESPONSE,
    RESULT,
    RETURN,
    TEXT,
)
from unit.asgi.conftest import Start
from unit.worker.conftest import Gate
from unit.worker.harness import WINDOW, Node

BLOCKS = ["/blocks", "/blocks_later"]


@pytest.mark.parametrize("path", BLOCKS)
def test_beats_while_the_loop_is_busy(start: Start, gate: Gate, path: str) -> None:
    """A worker whose loop is blocked by its application still sends BEAT."""
    node = start(heartbeat=100)
    ident = node.open(path, query=gate.path)
    gate.arrive()
    for _ in range(3):
        assert node.receive(beats=True)[0] == BEAT
    gate.open()
    assert node.answer(ident).status == 200


@pytest.mark.parametrize("path", BLOCKS)
def test_unstarted_requests_are_handed_back(start: Start, gate: Gate, path: str) -> None:
    """What arrives while the loop is blocked goes back to the node; what is started does not."""
    node = start(heartbeat=100)
    blocked = node.open(path, query=gate.path)
    gate.arrive()
    others = [node.open("/whole"), node.websocket("/socket_echo"), node.open("/whole")]
    returned: list[int] = []
    while len(returned) < len(others):
        returned += node.expect(RETURN)[1]
    assert returned == others
    gate.open()
    assert node.answer(blocked).status == 200
    assert node.request("/whole").status == 200


def test_answers_leave_while_the_loop_is_busy(start: Start, gate: Gate) -> None:
    """The answer to a quick request leaves though the next one blocks the loop."""
    node = start()
    quick = node.open_message("/whole")
    node.send(quick, node.open_message("/blocks", query=gate.path))
    assert node.expect(RESPONSE)[1] == quick[1]
    gate.open()
    node.expect(RESPONSE)


def test_thread_gets_its_answer_while_the_loop_is_busy(start: Start) -> None:
    """A call made by a thread is answered though the loop waits for that very thread."""
    node = start()
    ident = node.open("/blocks_on_thread")
    call = node.expect(CALL)
    began = monotonic()
    node.send((RESULT, call[1], codec.encode("x")))
    assert json.loads(node.answer(ident).body) == ["x"]
    assert monotonic() - began < 30


def test_node_that_does_not_read(start: Start) -> None:
    """A full pipe does not stop the loop, and nothing is lost or reordered."""
    node = start()
    size = WINDOW - 1000
    streams = [node.open("/stream", query=str(size)) for _ in range(60)]
    while node.started < streams[-1]:
        os.sched_yield()
    # More than the pipe holds is on its way; the loop serves on.
    last = node.open("/whole")
    while node.started < last:
        os.sched_yield()
    assert select.select([node.read_fd], [], [], 0)[0]
    bodies = dict.fromkeys(streams, 0)
    left = {*streams, last}
    while left:
        message = node.receive()
        if message[0] in (END, RESPONSE):
            left.discard(message[1])
        elif len(message) == 3:
            bodies[message[1]] += len(message[2])
    assert set(bodies.values()) == {size}


def test_end_of_the_node_ends_a_busy_loop(start: Start, gate: Gate) -> None:
    """The node's end ends the process, whatever its loop is doing."""
    node = start(heartbeat=100)
    node.open("/blocks_later", query=gate.path)
    gate.arrive()
    node.close_write()
    assert node.wait_end() == 1


def leaves_before_it_starts(node: Node) -> None:
    message = node.open_message("/endless")
    node.send(message, (CANCEL, message[1], b"client_gone"))
    assert node.expect(RETURN)[1] == [message[1]]


def leaves_during_the_body(node: Node) -> None:
    message = (*node.open_message("/echo", method="POST")[:9], (b"some", 100))
    assert message[0] == OPEN
    node.send(message)
    node.receive()  # credit: the application waits for more
    node.send((CANCEL, message[1], b"client_gone"))
    node.answer(message[1])


def leaves_during_the_response(node: Node) -> None:
    ident = node.open("/endless")
    node.receive()
    node.cancel(ident)
    node.answer(ident)


def leaves_while_it_waits(node: Node) -> None:
    ident = node.open("/disconnect")
    while node.started < ident:
        os.sched_yield()
    node.cancel(ident)
    node.answer(ident)


def leaves_the_handshake(node: Node) -> None:
    ident = node.websocket("/socket_script", query="[]")
    while node.started < ident:
        os.sched_yield()
    node.cancel(ident)
    node.answer(ident)


def leaves_the_socket(node: Node) -> None:
    ident = node.websocket("/socket_echo")
    assert node.expect(ACCEPT)[1] == ident
    node.send((TEXT, ident, b"last"), (CLOSE, ident, 1006, b""))
    while node.receive() != (END, ident, {}):
        pass


def stays(node: Node) -> None:
    """Does not leave: what succeeds, with and without a wait, or fails, leaves nothing either."""
    for path in ("/whole", "/context", "/raises", "/raises_late", "/silent", "/timeout"):
        node.request(path)


PHASES: list[Callable[[Node], None]] = [
    leaves_before_it_starts,
    leaves_during_the_body,
    leaves_during_the_response,
    leaves_while_it_waits,
    leaves_the_handshake,
    leaves_the_socket,
    stays,
]


def test_clients_that_leave_leave_nothing_behind(start: Start) -> None:
    """Tasks, exchanges, credit and objects return to what they were after clients have left in
    each phase, and need no garbage collector for that."""
    node = start()
    for phase in PHASES:
        phase(node)
    before = json.loads(node.request("/leftovers", query="first").body)
    for _ in range(100):
        for phase in PHASES:
            phase(node)
    assert json.loads(node.request("/leftovers").body) == before
