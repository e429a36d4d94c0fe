# SPDX-License-Identifier: Apache-2.0
"""Calls in both directions, nested and from any thread, between a real worker and the node of the
test."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._wire import (
    CALL,
    CAST,
    FAULT,
    RESPONSE,
    RESULT,
    REVOKE,
)
from unit.worker.conftest import APPLICATION, Gate
from unit.worker.harness import Node

EMPTY = codec.encode({})


def arguments(*positional: object, **keyword: object) -> bytes:
    return codec.encode([list(positional), keyword])


def decoded(payload: bytes) -> Any:
    return codec.decode(payload)


def open_call(node: Node, *args: object) -> int:
    return node.open_started("/call", method="POST", body=json.dumps(args).encode())


def outcome(node: Node, ident: int) -> Any:
    return json.loads(node.answer(ident).body)


# The worker calls.


def test_call_and_result(node: Node) -> None:
    """`call(name, *args)` asks the service `call` for `[name, args]` and returns what comes
    back."""
    ident = open_call(node, "add", 1, 2)
    code, call_id, origin, timeout, service, payload = node.receive()
    assert (code, call_id, origin, timeout, service) == (CALL, 1, ident, 5000, b"call")
    assert codec.decode(payload) == [["add", [1, 2]], {}]
    node.send((RESULT, call_id, codec.encode({"sum": 3})))
    assert outcome(node, ident) == ["result", {"sum": 3}]


FAULTS: dict[str, tuple[bytes, dict[str, Any], str, str]] = {
    "timeout": (b"timeout", {}, "CallTimeout", "call('f'): no reply within 5 s"),
    "not registered": (b"not_registered", {"service": "f"}, "NotRegistered", "'f'"),
    "remote error": (
        b"remote_error",
        {"class": "error", "reason": "badarith", "stack": "[{m,f,1}]"},
        "RemoteError",
        "error: 'badarith'\n[{m,f,1}]",
    ),
    "handler error": (
        b"handler_error",
        {"type": "KeyError", "message": "'k'", "traceback": "Traceback"},
        "HandlerError",
        "KeyError: 'k'\nTraceback",
    ),
    "bad term": (b"bad_term", {"reason": "an atom"}, "TermError", "call('f'): an atom"),
    "cancelled": (b"cancelled", {}, "Cancelled", "call('f'): cancelled"),
    "overloaded": (
        b"overloaded",
        {"resource": "calls", "limit": 9},
        "Overloaded",
        "calls: the limit of 9",
    ),
    "refused": (b"refused", {"reason": "not allowed"}, "RemoteError", "refused: 'not allowed'"),
    "unknown": (b"of_version_2", {"reason": "new"}, "RemoteError", "of_version_2: 'new'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(node: Node, name: str) -> None:
    """Each FAULT becomes the exception that tells the caller what to do, with its fields."""
    fault, info, type_, text = FAULTS[name]
    ident = open_call(node, "f")
    call = node.expect(CALL)
    node.send((FAULT, call[1], fault, codec.encode(info)))
    got_type, _, got_text = outcome(node, ident)
    assert got_type == type_
    assert text in got_text


def test_fault_payload_that_is_no_map(node: Node) -> None:
    """A fault whose details are something else is an error of the call, not of the connection."""
    ident = open_call(node, "f")
    node.send((FAULT, node.expect(CALL)[1], b"remote_error", codec.encode([1])))
    assert outcome(node, ident)[0] == "RemoteError"


def test_result_that_does_not_decode(node: Node) -> None:
    """A result that is no term is a TermError of the call; the connection goes on."""
    ident = open_call(node, "f")
    node.send((RESULT, node.expect(CALL)[1], b"\x83\xff"))
    assert outcome(node, ident)[0] == "TermError"
    assert node.request("/quick").status == 200


def test_timeout_of_a_silent_node(node: Node) -> None:
    """A call that is not answered ends at its deadline, and the node is told that nobody waits."""
    ident = node.open("/short_call", query="100")
    call = node.expect(CALL)
    assert call[3] == 100
    assert node.expect(REVOKE)[1] == call[1]
    assert outcome(node, ident) == ["CallTimeout", 0.1]
    # The late answer is dropped, and never given to the next call.
    node.send((RESULT, call[1], codec.encode("late")))
    ident = open_call(node, "f")
    node.send((RESULT, node.expect(CALL)[1], codec.encode("right")))
    assert outcome(node, ident) == ["result", "right"]


def test_cast(node: Node) -> None:
    """`cast` sends one CAST and does not wait."""
    answer = node.open("/cast")
    assert node.receive() == (
        CAST,
        b"call",
        arguments("log_event", ["user_login", {"user_id": 123}]),
    )
    assert outcome(node, answer) == "cast"


def test_answers_leave_before_a_call_waits(node: Node) -> None:
    """What was answered before does not wait for the call that the next request makes."""
    quick = node.open_message("/quick", query="first")
    calling = node.open_message("/call", method="POST", body=b'["f"]')
    node.send(quick, calling)
    messages = [node.receive(), node.receive()]
    assert [m[0] for m in messages] == [RESPONSE, CALL]
    node.send((RESULT, messages[1][1], codec.encode(1)))
    assert outcome(node, calling[1]) == ["result", 1]


def test_new_exchanges_do_not_run_inside_a_call(node: Node) -> None:
    """A request that arrives while the only thread waits for a call does not run on top of it."""
    calling = open_call(node, "f")
    call = node.expect(CALL)
    other = node.open("/quick", query="other")
    node.send((RESULT, call[1], codec.encode(1)))
    assert outcome(node, calling) == ["result", 1]
    answer = node.answer(other)
    assert answer.kind in ("response", "return")


# Nested calls.


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("depth", [1, 10])
def test_nested_calls(threads: int, depth: int) -> None:
    """Python calls Erlang which calls the same worker again, ten deep, all on one thread."""
    with Node(APPLICATION, {b"threads": threads}) as node:
        ident = node.open("/nest", query=str(depth))
        open_calls = []
        for number in range(1, depth + 1):
            _, call_id, origin, _, _, payload = node.expect(CALL)
            # The innermost call of the node in whose service this one is made.
            assert origin == (ident if number == 1 else 1 - number)
            (name, (left,)), _ = decoded(payload)
            assert (name, left) == ("nested", depth - number)
            open_calls.append(call_id)
            node.send((CALL, number, call_id, 5000, b"nested", arguments(left)))
        for number in range(depth, 0, -1):
            _, answered, payload = node.expect(RESULT)
            assert answered == number
            node.send((RESULT, open_calls.pop(), payload))
        assert outcome(node, ident) == [depth + 1, 1]


def test_two_nested_calls_for_one_origin(node: Node) -> None:
    """Two calls for the same origin run one after the other on the thread that waits."""
    ident = open_call(node, "f")
    call = node.expect(CALL)
    node.send(
        (CALL, 1, call[1], 5000, b"add", arguments(1, 2)),
        (CALL, 2, call[1], 5000, b"add", arguments(3, start=4)),
    )
    assert codec.decode(node.expect(RESULT)[2]) == 3
    assert codec.decode(node.expect(RESULT)[2]) == 7
    node.send((RESULT, call[1], codec.encode("end")))
    assert outcome(node, ident) == ["result", "end"]


def test_origin_that_was_answered(node: Node) -> None:
    """A call whose origin nobody waits for any more is answered FAULT cancelled."""
    ident = open_call(node, "f")
    call = node.expect(CALL)
    node.send((RESULT, call[1], codec.encode(1)), (CALL, 1, call[1], 5000, b"add", arguments(1)))
    seen = {message[0]: message for message in (node.receive(), node.receive())}
    assert seen[FAULT][1:3] == (1, b"cancelled")
    assert seen[RESPONSE][1] == ident


# The node calls.


SERVICES: dict[str, tuple[bytes, bytes, Any]] = {
    "result": (b"add", arguments(1, 2, 3), 6),
    "keywords": (b"add", arguments(1, start=10), 11),
}


@pytest.mark.parametrize("name", SERVICES)
def test_service(node: Node, name: str) -> None:
    """A registered function runs with its arguments and its result is the answer."""
    service, payload, result = SERVICES[name]
    node.send((CALL, 1, 0, 5000, service, payload))
    code, ident, got = node.receive()
    assert (code, ident, codec.decode(got)) == (RESULT, 1, result)


BAD_SERVICES: dict[str, tuple[bytes, bytes, bytes, dict[str, str]]] = {
    "unknown": (b"nobody", arguments(), b"not_registered", {"service": "nobody"}),
    "raises": (
        b"fails",
        arguments("what"),
        b"handler_error",
        {"type": "LookupError", "message": "what"},
    ),
    "raises without text": (
        b"fails_unprintably",
        arguments(),
        b"handler_error",
        {"type": "Unprintable", "message": "<exception str() failed>"},
    ),
    "raises a text that is no UTF-8": (
        b"surrogates",
        arguments(),
        b"handler_error",
        {"type": "LookupError", "message": "\\udc80"},
    ),
    "exits": (b"exits", arguments(), b"handler_error", {"type": "SystemExit", "message": "4"}),
    "wrong arguments": (b"add", arguments(nonsense=1), b"handler_error", {"type": "TypeError"}),
    "unsendable result": (b"unsendable", arguments(), b"bad_term", {}),
    "arguments that are no term": (b"add", b"\x83\xff", b"bad_term", {}),
    "arguments of another shape": (b"add", codec.encode([1, 2, 3]), b"bad_term", {}),
    "keywords that are no names": (b"add", codec.encode([[], {1: 2}]), b"bad_term", {}),
}


@pytest.mark.parametrize("name", BAD_SERVICES)
def test_service_that_fails(node: Node, name: str) -> None:
    """Whatever goes wrong is exactly one FAULT with its name and details, and the worker goes
    on."""
    service, payload, fault, details = BAD_SERVICES[name]
    node.send((CALL, 1, 0, 5000, service, payload), (CALL, 2, 0, 5000, b"add", arguments(2)))
    code, ident, got_name, got = node.receive()
    assert (code, ident, got_name) == (FAULT, 1, fault)
    info: Any = codec.decode(got)
    assert details.items() <= info.items()
    assert node.expect(RESULT)[1] == 2


def test_traceback_of_a_handler(node: Node) -> None:
    """The traceback in handler_error begins in the handler's own code."""
    node.send((CALL, 1, 0, 5000, b"fails", arguments("deep")))
    info: Any = codec.decode(node.expect(FAULT)[3])
    assert "unit/worker/applications.py" in info["traceback"]
    assert "_calls.py" not in info["traceback"]


def test_service_beyond_its_time(node: Node, gate: Gate) -> None:
    """A call that takes too long is answered FAULT timeout once; what the function returns later
    is dropped."""
    node.send((CALL, 1, 0, 50, b"sleepy", arguments(gate.path)))
    assert node.expect(FAULT)[1:3] == (1, b"timeout")
    gate.open()
    node.send((CALL, 2, 0, 5000, b"add", arguments(5)))
    assert node.expect(RESULT)[1] == 2


def test_revoke_of_a_waiting_call(node: Node, gate: Gate) -> None:
    """A revoked call that has not started is answered FAULT cancelled and never runs."""
    slow = node.open("/gate", query=gate.path)
    while node.started < slow:
        os.sched_yield()
    node.send((CALL, 1, 0, 5000, b"record", arguments("revoked")))
    node.send((REVOKE, 1))
    assert node.expect(FAULT)[1:3] == (1, b"cancelled")
    gate.open()
    node.answer(slow)
    assert json.loads(node.request("/ordered").body) == []


def test_revoke_of_a_running_call(node: Node, gate: Gate) -> None:
    """A revoked call that runs goes on and is answered when it is done."""
    node.send((CALL, 1, 0, 5000, b"sleepy", arguments(gate.path)))
    gate.arrive()
    node.send((REVOKE, 1))
    gate.open()
    assert node.expect(RESULT)[1] == 1


def test_cast_of_the_node(node: Node) -> None:
    """A cast runs in its turn and is not answered."""
    node.send((CAST, b"record", arguments("cast")))
    assert json.loads(node.request("/ordered").body) == ["cast"]


def test_cast_that_fails_is_logged(node: Node) -> None:
    """A cast that fails has nobody to tell but the log."""
    node.send((CAST, b"fails", arguments("nobody hears")), (CAST, b"nobody", arguments()))
    node.request("/quick")
    assert "cast to fails: handler_error" in node.stderr()
    assert "LookupError: nobody hears" in node.stderr()
    assert "cast to nobody: not_registered" in node.stderr()


def test_worker_without_requests_serves_calls(node: Node) -> None:
    """Calls alone keep a worker going: many in one packet, answered in order."""
    node.send(*[(CALL, n, 0, 5000, b"add", arguments(n)) for n in range(1, 101)])
    answers = [node.expect(RESULT) for _ in range(100)]
    assert [(a[1], codec.decode(a[2])) for a in answers] == [(n, n) for n in range(1, 101)]


# Threads.


@pytest.mark.parametrize("threads", [1, 4])
def test_calls_from_plain_threads(threads: int) -> None:
    """Threads that the application made call at once, and each gets its own answer, whatever the
    order."""
    with Node(APPLICATION, {b"threads": threads}) as node:
        ident = node.open("/call_from_threads", query="20")
        calls = [node.expect(CALL) for _ in range(20)]
        assert {call[2] for call in calls} == {0}
        for call in reversed(calls):
            (_, (number,)), _ = decoded(call[5])
            node.send((RESULT, call[1], codec.encode(number * 10)))
        assert outcome(node, ident) == [n * 10 for n in range(20)]


def test_call_after_the_request(node: Node) -> None:
    """A background thread calls after its request was answered, while the worker is idle or
    busy."""
    node.request("/background")
    first = node.expect(CALL)
    node.send((RESULT, first[1], codec.encode("value")))
    second = node.expect(CALL)
    assert codec.decode(second[5]) == [["from_background", ["value"]], {}]
    assert node.request("/quick").status == 200
    node.send((RESULT, second[1], codec.encode(None)))


def test_threads_call_side_by_side() -> None:
    """Requests on four threads wait for their calls at once; answers in another order reach the
    right ones."""
    with Node(APPLICATION, {b"threads": 4}) as node:
        idents = [open_call(node, "f", n) for n in range(4)]
        calls = {}
        for _ in idents:
            _, call_id, origin, *_ = node.expect(CALL)
            calls[origin] = call_id
        assert sorted(calls) == idents
        for ident in (idents[2], idents[0], idents[3], idents[1]):
            node.send((RESULT, calls[ident], codec.encode(ident)))
            assert outcome(node, ident) == ["result", ident]


def test_threads_serve_while_others_wait() -> None:
    """While three of four threads wait for calls, the fourth serves any number of requests."""
    with Node(APPLICATION, {b"threads": 4}) as node:
        idents = [open_call(node, "f") for _ in range(3)]
        calls = [node.expect(CALL) for _ in idents]
        for number in range(100):
            assert json.loads(node.request("/quick", query=str(number)).body) == str(number)
        for call in calls:
            node.send((RESULT, call[1], codec.encode(call[2])))
        for ident in idents:
            assert outcome(node, ident) == ["result", ident]


def test_many_requests_on_many_threads() -> None:
    """A flood of requests in packets of any size on four threads: every one is answered once."""
    with Node(APPLICATION, {b"threads": 4}) as node:
        idents = set()
        for size in (1, 2, 3, 50, 1, 200, 7):
            messages = [node.open_message("/quick", query="q") for _ in range(size)]
            idents |= {message[1] for message in messages}
            node.send(*messages)
        seen: list[int] = []
        while len(seen) < len(idents):
            message = node.receive()
            seen += message[1] if isinstance(message[1], list) else [message[1]]
        assert sorted(seen) == sorted(idents)
