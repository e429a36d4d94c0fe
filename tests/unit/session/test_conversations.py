# SPDX-License-Identifier: Apache-2.0
"""Every conversation of the shared vectors, run from the worker's side of the connection."""

from __future__ import annotations

from typing import Any

import pytest

from hornbeam_erlang._session import Session
from hornbeam_erlang._states import (
    GREETED,
    GREETING,
    LOADING,
    SERVING,
    STREAMING,
    TRANSITIONS,
    StateError,
)
from hornbeam_erlang._wire import (
    BOOT,
    FROM_NODE,
    FROM_WORKER,
    HELLO,
    OPEN,
    READY,
    Message,
    ProtocolError,
    packets,
    parse,
)
from unit.wire import vectors

CONVERSATIONS = vectors.read("conversations.json", 200)


def ready_session(response_window: int = 10, request_window: int = 10) -> Session:
    session = Session()
    session.response_window, session.request_window = response_window, request_window
    session.send((HELLO, 1, 1, {}))
    assert session.receive((HELLO, 1, 1, {}))
    assert session.receive((BOOT, {}))
    session.send((READY, {}))
    assert session.phase is SERVING
    return session


def begin(conversation: dict[str, Any]) -> Session:
    windows = conversation["response_window"], conversation["request_window"]
    if conversation["begin"] == "ready":
        return ready_session(*windows)
    session = Session()
    session.response_window, session.request_window = windows
    return session


def run_step(session: Session, step: dict[str, Any]) -> None:
    if "do" in step:
        assert step["do"] == "start"
        session.start(step["id"])
        return
    message = vectors.message(step["message"])
    packet = b"".join(*packets([message]))
    if step["from"] == "node":
        (received,) = parse(packet[4:], FROM_NODE)
        run_received(session, received, step)
    else:
        assert parse(packet[4:], FROM_WORKER) == [message]
        run_sent(session, message, step)


def run_received(session: Session, message: Message, step: dict[str, Any]) -> None:
    error = step.get("error")
    if error is None:
        assert session.receive(message) is not step.get("dropped", False)
        return
    with pytest.raises(ProtocolError) as caught:
        session.receive(message)
    assert caught.value.name == error
    assert caught.value.text


def run_sent(session: Session, message: Message, step: dict[str, Any]) -> None:
    if "error" not in step:
        session.send(message)
        return
    with pytest.raises(StateError):
        session.send(message)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=[c["name"] for c in CONVERSATIONS])
def test_conversation(conversation: dict[str, Any]) -> None:
    """Each step is taken, dropped or refused as the vector says; an illegal one is neither sent
    nor received."""
    session = begin(conversation)
    assert conversation["steps"]
    for step in conversation["steps"]:
        run_step(session, step)


def test_an_error_is_the_last_step() -> None:
    """There is no recovery within a connection, so no vector goes on after an error."""
    for conversation in CONVERSATIONS:
        assert not any("error" in step for step in conversation["steps"][:-1])


def test_every_message_occurs() -> None:
    """The conversations use every message of version 1, so that none is without a test of its
    states."""
    used = {step["message"][0] for c in CONVERSATIONS for step in c["steps"] if "message" in step}
    assert used == set(vectors.CODES)


# What vectors cannot say: the phases, and that nothing is left behind.


def opening(ident: int, body: Any = b"") -> Message:
    return (OPEN, ident, 0, b"GET", b"/", b"", b"1.1", {}, b"c", body)


def test_phases_follow_the_greeting() -> None:
    """HELLO, BOOT and READY lead through the phases in this order."""
    session = Session()
    seen = [session.phase]
    session.receive((HELLO, 1, 1, {}))
    seen.append(session.phase)
    session.receive((BOOT, {}))
    seen.append(session.phase)
    session.send((READY, {}))
    seen.append(session.phase)
    assert seen == [GREETING, GREETED, LOADING, SERVING]


@pytest.mark.parametrize(("low", "high", "version"), [(1, 1, 1), (1, 2, 1), (1, 255, 1)])
def test_version_in_force(low: int, high: int, version: int) -> None:
    """The version is the lower of the two highest ones."""
    session = Session()
    session.receive((HELLO, low, high, {}))
    assert session.version == version


def test_closed_exchanges_leave_nothing() -> None:
    """Whatever closes an exchange, neither its state nor its flow stays behind."""
    closings: list[list[Message]] = [
        [(19, 1, 200, {}, b"")],
        [(20, 1, 200, {}), (21, 1, b"a"), (22, 1, {})],
        [(20, 1, 200, {}), (26, 1, b"app_error", b"")],
        [(26, 1, b"app_error", b"")],
    ]
    for messages in closings:
        session = ready_session()
        session.receive(opening(1, (b"", None)))
        session.start(1)
        session.receive((24, 1, 5))
        for message in messages:
            session.send(message)
        assert session.exchanges == {}
        assert session.flows == {}
        assert session.is_idle()


def test_a_whole_request_costs_no_flow() -> None:
    """A request with its body, answered by RESPONSE, makes no flow on the way."""
    session = ready_session()
    session.receive(opening(1, b"body"))
    session.start(1)
    assert session.flows == {}
    session.send((19, 1, 200, {}, b""))
    assert session.flows == {}


def test_flow_of_a_closed_exchange_is_not_kept() -> None:
    """A flow asked for while its exchange closes is not stored: the reader and the application may
    race."""
    session = ready_session()
    session.receive(opening(1))
    session.start(1)
    session.send((19, 1, 200, {}, b""))
    assert session.flow(1).credit() == 10
    assert session.flows == {}


def test_body_chunks_are_kept_in_order() -> None:
    """BODY adds what it carries to the flow; an empty one adds nothing; Fin ends it."""
    session = ready_session()
    session.receive(opening(1, (b"first", None)))
    session.start(1)
    session.send((18, 1, 10))
    for message in ((17, 1, False, b"a"), (17, 1, False, b""), (17, 1, True, b"b")):
        assert session.receive(message)
    flow = session.flows[1]
    assert list(flow.chunks) == [b"a", b"b"]
    assert not flow.body_open


def test_transitions_end_in_known_states() -> None:
    """Every state of the table but `closed` has a row of its own."""
    for row in TRANSITIONS.values():
        assert set(row.values()) <= {*TRANSITIONS, "closed"}
    assert STREAMING in TRANSITIONS


def test_a_wrong_state_names_state_and_message() -> None:
    """The text of `bad_state` says which message met which state."""
    session = ready_session()
    session.receive(opening(3))
    with pytest.raises(ProtocolError) as caught:
        session.receive(opening(2))
    assert caught.value.text == "OPEN 2: the highest id so far is 3"
    with pytest.raises(ProtocolError) as caught:
        session.receive((BOOT, {}))
    assert caught.value.text == "BOOT: the worker is serving"
