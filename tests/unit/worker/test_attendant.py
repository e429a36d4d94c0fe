# SPDX-License-Identifier: Apache-2.0
"""What goes on while the application runs: life signs, waiting answers, exchanges handed back,
CANCEL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from hornbeam_erlang._wire import (
    BEAT,
    BODY_CREDIT,
    CALL,
    FAULT,
    RESPONSE,
    RETURN,
    STARTED,
)
from unit.worker.conftest import APPLICATION, Gate
from unit.worker.harness import Node

MakeGate = Callable[[], Gate]


def wait_started(node: Node, ident: int) -> None:
    while node.started < ident:
        os.sched_yield()


# Life signs.


def test_beat_when_idle() -> None:
    """An idle worker sends BEAT once per heartbeat."""
    start = monotonic()
    with Node(APPLICATION, {b"heartbeat": 100}) as node:
        for _ in range(8):
            assert node.receive(beats=True)[0] == BEAT
        assert 0.7 <= monotonic() - start < 20


@pytest.mark.parametrize("how", ["gate", "spin"])
def test_beat_while_the_application_runs(gate: Gate, how: str, tmp_path: Path) -> None:
    """A worker whose application blocks, or keeps the interpreter busy, still sends BEAT."""
    with Node(APPLICATION, {b"heartbeat": 100}) as node:
        path = gate.path if how == "gate" else str(tmp_path / "go")
        ident = node.open(f"/{how}", query=path)
        for _ in range(3):
            assert node.receive(beats=True)[0] == BEAT
        if how == "gate":
            gate.open()
        else:
            Path(path).touch()
        assert node.answer(ident).status == 200


def test_no_beat_while_it_talks() -> None:
    """A worker that answers all the time sends no BEAT besides."""
    with Node(APPLICATION, {b"heartbeat": 3000}) as node:
        start = monotonic()
        while monotonic() - start < 3.5:
            node.request("/quick")
        assert node.beats == 0


def test_no_beat_before_the_heartbeat() -> None:
    """A long heartbeat means silence."""
    with Node(APPLICATION, {b"heartbeat": 60000}) as node:
        assert node.is_silent(0.3)
        assert node.beats == 0


# Answers that wait behind a slow application.


def test_answers_do_not_wait_for_the_next_request(gate: Gate) -> None:
    """The answer to a quick request leaves within moments though a slow one behind it has begun."""
    with Node(APPLICATION) as node:
        quick = node.open_message("/quick", query="before")
        slow = node.open_message("/gate", query=gate.path)
        node.send(quick, slow)
        message = node.expect(RESPONSE)
        assert message[1] == quick[1]
        gate.open()
        assert node.answer(slow[1]).status == 200


def test_cast_does_not_wait_for_the_request(gate: Gate) -> None:
    """A cast leaves within moments though its request goes on."""
    with Node(APPLICATION) as node:
        ident = node.open("/cast_and_wait", query=gate.path)
        assert node.receive()[1] == b"call"
        gate.open()
        assert node.answer(ident).status == 200


# Exchanges handed back.


def test_unstarted_exchanges_are_returned(gate: Gate) -> None:
    """Behind a request that takes its time, those that came with it are handed back, in order."""
    with Node(APPLICATION) as node:
        slow = node.open_message("/gate", query=gate.path)
        others = [node.open_message("/quick") for _ in range(3)]
        node.send(slow, *others)
        assert node.expect(RETURN)[1] == [message[1] for message in others]
        assert node.started == slow[1]
        gate.open()
        assert node.answer(slow[1]).status == 200
        assert json.loads(node.request("/ordered").body) == []


def test_exchanges_that_come_later_are_returned(gate: Gate) -> None:
    """What arrives while the only thread is stuck is read and handed back, too."""
    with Node(APPLICATION) as node:
        slow = node.open("/gate", query=gate.path)
        wait_started(node, slow)
        for _ in range(3):
            ident = node.open("/quick")
            assert node.expect(RETURN)[1] == [ident]
        gate.open()
        assert node.answer(slow).status == 200


def test_a_streamed_body_is_returned(gate: Gate) -> None:
    """An exchange whose body streams is handed back like any other: nothing of it was granted."""
    with Node(APPLICATION) as node:
        slow = node.open("/gate", query=gate.path)
        wait_started(node, slow)
        ident = node.open("/call", method="POST", body=(b"[", None))
        assert node.receive() == (RETURN, [ident])
        gate.open()
        assert node.answer(slow).status == 200


def test_no_return_while_a_thread_is_free(make_gate: MakeGate) -> None:
    """With two threads, one stuck, everything goes to the other and nothing is handed back."""
    gate = make_gate()
    with Node(APPLICATION, {b"threads": 2}) as node:
        slow = node.open("/gate", query=gate.path)
        wait_started(node, slow)
        for _ in range(50):
            assert node.answer(node.open("/quick")).kind == "response"
        gate.open()
        assert node.answer(slow).status == 200


def test_calls_are_not_returned(gate: Gate) -> None:
    """A call of the node waits for its thread until its time is over; then it is answered all the
    same."""
    with Node(APPLICATION) as node:
        slow = node.open("/gate", query=gate.path)
        wait_started(node, slow)
        node.send((CALL, 1, 0, 50, b"add", b"\x83j"))
        assert node.expect(FAULT)[1:3] == (1, b"timeout")
        gate.open()
        assert node.answer(slow).status == 200


# CANCEL.


def test_cancel_before_the_start(gate: Gate) -> None:
    """A cancelled exchange that has not started is handed back at once, and the application never
    sees it."""
    with Node(APPLICATION) as node:
        slow = node.open("/gate", query=gate.path)
        wait_started(node, slow)
        message = node.open_message("/quick", query="cancelled")
        node.send(message, (25, message[1], b"client_gone"))
        assert node.expect(RETURN)[1] == [message[1]]
        gate.open()
        node.answer(slow)
        assert json.loads(node.request("/ordered").body) == []


def test_cancel_while_the_application_runs(gate: Gate) -> None:
    """CANCEL is read while the only thread is busy: the application is told when it next asks for
    the body."""
    with Node(APPLICATION) as node:
        ident = node.open("/call", method="POST", body=(b"", None))
        node.expect(BODY_CREDIT)
        node.cancel(ident)
        answer = node.answer(ident)
        assert answer.abort is not None
        assert answer.abort[0] == b"cancelled"


# The ledger.


def test_ledger_holds_the_highest_started() -> None:
    """The first cell of the ledger grows with the exchanges that start."""
    with Node(APPLICATION) as node:
        assert node.started == 0
        for number in range(1, 4):
            node.request("/quick")
            assert node.started == number


def test_ledger_tells_who_had_started(gate: Gate) -> None:
    """After SIGKILL the ledger tells the exchange that ran from those that had not started."""
    with Node(APPLICATION) as node:
        messages = [node.open_message("/gate", query=gate.path) for _ in range(3)]
        node.send(*messages)
        wait_started(node, 1)
        os.kill(node.pid, 9)
        assert node.wait_end() == -9
        assert node.started == 1


def test_nothing_starts_from_the_limit_on(make_gate: MakeGate) -> None:
    """Exchanges from the limit on are handed back unstarted; when the node takes it away they
    start again."""
    with Node(APPLICATION) as node:
        node.set_limit(3)
        assert node.answer(node.open("/quick", query="1")).kind == "response"
        assert node.answer(node.open("/quick", query="2")).kind == "response"
        assert node.answer(node.open("/quick", query="3")).kind == "return"
        assert node.answer(node.open("/quick", query="4")).kind == "return"
        node.set_limit(0)
        assert node.answer(node.open("/quick", query="5")).kind == "response"
        assert json.loads(node.request("/ordered").body) == ["1", "2", "5"]


def test_started_instead_of_a_ledger(gate: Gate) -> None:
    """Without a ledger the node is told of every start before the application runs."""
    with Node(APPLICATION, {b"ledger": None}) as node:
        ident = node.open("/gate", query=gate.path)
        assert node.expect(STARTED)[1] == ident
        gate.open()
        assert node.answer(ident).status == 200


def test_started_names_all_that_came_together(gate: Gate) -> None:
    """One message for exchanges that come together; those that do not start are handed back all
    the same."""
    with Node(APPLICATION, {b"ledger": None}) as node:
        messages = [node.open_message("/gate", query=gate.path) for _ in range(3)]
        node.send(*messages)
        assert node.expect(STARTED)[1] == messages[-1][1]
        assert node.expect(RETURN)[1] == [messages[1][1], messages[2][1]]
        gate.open()
        assert node.answer(messages[0][1]).status == 200


def test_exchanges_start_in_order() -> None:
    """Many threads start exchanges in the order of their ids: the ledger never runs ahead of
    one."""
    with Node(APPLICATION, {b"threads": 4}) as node:
        messages = [node.open_message("/quick", query=str(n)) for n in range(200)]
        node.send(*messages)
        assert {node.receive()[1] for _ in messages} == {m[1] for m in messages}
        assert node.started == messages[-1][1]
