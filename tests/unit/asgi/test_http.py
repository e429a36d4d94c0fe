# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of ASGI applications in a real worker."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import Any

import pytest

from hornbeam_erlang._wire import (
    ABORT,
    BODY_CREDIT,
    CREDIT,
    DATA,
    END,
    HEAD,
    INFORM,
    PUSH,
)
from unit.asgi.conftest import Start
from unit.worker.harness import WINDOW, Node

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


def noted(node: Node) -> list[Any]:
    """What applications have noted, once there is something."""
    deadline = monotonic() + 30
    while not (found := json.loads(node.request("/notes").body)):
        assert monotonic() < deadline, "nothing was noted"
    return list(found)


def begun(node: Node, path: str) -> int:
    """Opens an exchange; its id, once the application runs."""
    ident = node.open(path)
    while node.started < ident:
        os.sched_yield()
    return ident


def send(node: Node, *events: Any, **fields: Any) -> int:
    """Lets the application send `events`; the exchange's id."""
    return node.open("/sends", body=repr(list(events)).encode(), **fields)


# Responses.


def test_whole_response(node: Node) -> None:
    """A start and one body are one RESPONSE, header names in lower case."""
    answer = node.request("/whole")
    assert (answer.kind, answer.status, answer.body) == ("response", 200, b"whole")
    assert answer.headers == {b"content-type": b"text/plain"}


def test_batch_is_answered_together(start: Start) -> None:
    """Requests that arrive together are answered in order and in few writes."""
    node = start()
    messages = [node.open_message("/whole") for _ in range(50)]
    node.send(*messages)
    answers: list[int] = []
    reads = 0
    while len(answers) < len(messages):
        answers.append(node.receive()[1])
        # What is left of one read is its whole packet, or more.
        answers += [message[1] for message in node._messages]
        node._messages.clear()
        reads += 1
    assert answers == [message[1] for message in messages]
    # One, but for what a busy machine makes longer than a millisecond.
    assert reads <= 10


@pytest.mark.parametrize("size", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW])
def test_bodies_of_any_size(node: Node, size: int) -> None:
    """What is larger than the window streams under credit, and its length is told."""
    body = b"ab" * (size // 2) + b"c" * (size % 2)
    ident = node.open("/echo", method="POST", body=(b"", size))
    chunks = [body[at : at + 30_000] for at in range(0, size, 30_000)]
    node.upload(ident, chunks)
    answer = node.answer(ident)
    assert (answer.status, answer.body) == (200, body)
    if size > WINDOW:
        assert answer.headers[b"content-length"] == b"%d" % size


def test_streaming_waits_for_credit(node: Node) -> None:
    """`send` waits while there is no credit: no more than the window is under way."""
    ident = node.open("/stream", query=str(3 * WINDOW))
    assert node.expect(HEAD)[1] == ident
    sent = 0
    while sent < WINDOW:
        sent += len(node.expect(DATA)[2])
    assert sent == WINDOW
    assert node.is_silent(0.1)
    node.send((CREDIT, ident, 100))
    assert len(node.expect(DATA)[2]) == 100
    node.send((CREDIT, ident, 2 * WINDOW - 100))
    while (message := node.receive())[0] == DATA:
        sent += len(message[2])
    assert (message[0], sent + 100) == (END, 3 * WINDOW)


def test_failures(node: Node) -> None:
    """What an application raises, or leaves out, is a 500 before the head and an abort after."""
    expected = {
        "/raises": (0, b"app_error", b"ZeroDivisionError: before the start"),
        "/raises_late": (200, b"app_error", b"ZeroDivisionError: after the head"),
        "/silent": (0, b"no_response", b"returned without an answer"),
        "/half": (201, b"no_response", b"returned before its answer was complete"),
    }
    for path, (status, name, text) in expected.items():
        answer = node.request(path)
        assert answer.abort is not None
        assert (answer.status, answer.abort[0]) == (status, name)
        assert text in answer.abort[1]
    log = node.stderr()
    assert log.count("ERROR hornbeam.asgi: GET /raises raised") == 1
    assert "hornbeam_erlang/_asgi" not in log


def test_failure_after_the_response(node: Node) -> None:
    """What is raised after the response is logged, and the response stands."""
    assert node.request("/raises_after").body == b"fine"
    assert node.request("/whole").status == 200
    assert "ZeroDivisionError: after the response" in node.stderr()


# What `send` refuses: events, what the exchange ends with, what was raised (type and a part).
REFUSED: dict[str, tuple[list[Any], bytes, list[tuple[str, str]]]] = {
    "body first": ([BODY], b"no_response", [("RuntimeError", "http.response.start")]),
    "start twice": ([START, START], b"no_response", [("RuntimeError", "http.response.body")]),
    "nothing": ([{}], b"no_response", [("RuntimeError", "'type'")]),
    "no dict": (["text"], b"no_response", [("RuntimeError", "got 'text'")]),
    "unknown": ([{"type": "http.x"}], b"no_response", [("RuntimeError", "'http.x'")]),
    "websocket": ([{"type": "websocket.accept"}], b"no_response", [("RuntimeError", "accept")]),
    "trailers unannounced": (
        [START, {"type": "http.response.trailers"}],
        b"no_response",
        [("RuntimeError", "http.response.body")],
    ),
    "status text": ([{**START, "status": "200"}], b"no_response", [("BadResponse", "'200'")]),
    "status 100": ([{**START, "status": 100}], b"no_response", [("BadResponse", "100")]),
    "no status": ([{"type": START["type"]}], b"no_response", [("BadResponse", "None")]),
    "header text": (
        [{**START, "headers": [("a", "b")]}],
        b"no_response",
        [("BadResponse", "must be bytes")],
    ),
    "header name": ([{**START, "headers": [(b"a b", b"")]}], b"no_response", [("BadResponse", "")]),
    "header value": (
        [{**START, "headers": [(b"a", b"b\r\nc: d")]}],
        b"no_response",
        [("BadResponse", "control character")],
    ),
    "no pair": ([{**START, "headers": [b"ab"]}], b"no_response", [("BadResponse", "")]),
    "body text": ([START, {**BODY, "body": "text"}], b"no_response", [("BadResponse", "str")]),
    "too long": (
        [{**START, "headers": [(b"content-length", b"2")]}, {**BODY, "body": b"abc"}],
        b"no_response",
        [("LengthMismatch", "is 2")],
    ),
    "too short": (
        [{**START, "headers": [(b"content-length", b"9")]}, {**BODY, "body": b"abc"}],
        b"no_response",
        [("LengthMismatch", "is 9")],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_events(start: Start, name: str) -> None:
    """`send` raises for what is not legal now, quoting it, and such an exchange never ends
    cleanly."""
    events, outcome, raised = REFUSED[name]
    node = start()
    answer = node.answer(send(node, *events))
    assert answer.abort is not None
    assert answer.abort[0] == outcome
    found = noted(node)
    assert [kind for kind, _ in found] == [kind for kind, _ in raised]
    assert all(part in text for (_, text), (_, part) in zip(found, raised, strict=True)), found


def test_after_the_end(start: Start) -> None:
    """What is sent after the response is refused, and the response stands."""
    node = start()
    assert node.answer(send(node, START, BODY, BODY, START)).kind == "response"
    assert [kind for kind, _ in noted(node)] == ["RuntimeError", "RuntimeError"]


def test_headers(node: Node) -> None:
    """Repeated headers are joined, cookies are not, framing is the server's."""
    headers = [
        (b"X-A", b"1"),
        [b"x-a", b" 2 "],
        (b"set-cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
    ]
    answer = node.answer(send(node, {**START, "headers": headers}, BODY))
    assert answer.headers == {b"x-a": b"1, 2", b"set-cookie": [b"a=1", b"b=2"]}


@pytest.mark.parametrize("value", [b"close", b"foo, Close"])
def test_the_end_of_the_connection(node: Node, value: bytes) -> None:
    """`connection: close` is the one wish about the connection that is passed on."""
    headers = [(b"Connection", value), (b"keep-alive", b"timeout=5")]
    answer = node.answer(send(node, {**START, "headers": headers}, BODY))
    assert answer.headers == {b"connection": b"close"}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_no_body(node: Node, method: str, status: int) -> None:
    """HEAD, 204 and 304 have no body, whatever the application sends."""
    events = [{**START, "status": status}, {**BODY, "body": b"abc", "more_body": True}, BODY]
    assert node.answer(send(node, *events, method=method)).body == b""
    answer = node.answer(send(node, events[0], {**BODY, "body": b"abc"}, method=method))
    assert (answer.kind, answer.status, answer.body) == ("response", status, b"")
    assert answer.headers.get(b"content-length") == (b"3" if method == "HEAD" else None)


# Extensions.


def test_trailers(node: Node) -> None:
    """Trailers that were announced end the response."""
    events = (
        {**START, "trailers": True},
        {**BODY, "body": b"some"},
        {"type": "http.response.trailers", "headers": [(b"a", b"1")], "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"B", b"2")]},
    )
    ident = send(node, *events)
    assert [node.receive()[0] for _ in range(2)] == [HEAD, DATA]
    assert node.receive() == (END, ident, {b"a": b"1", b"b": b"2"})


def test_early_hints_and_push(node: Node) -> None:
    """Early hints leave before the head, a push at any time before the end."""
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>"]}
    push = {"type": "http.response.push", "path": "/a b?c=\u00e9", "headers": [(b"accept", b"*")]}
    ident = send(node, hint, START, hint, push, {**BODY, "more_body": True}, hint, push, BODY)
    informed = (INFORM, ident, 103, {b"link": b"</a.css>; rel=preload, </b.js>"})
    pushed = (PUSH, ident, b"/a%20b?c=%C3%A9", {b"accept": b"*"})
    messages = [node.receive() for _ in range(6)]
    assert messages[:3] == [informed, informed, pushed]
    assert [message[0] for message in messages[3:]] == [HEAD, PUSH, END]


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_pathsend(start: Start, size: int) -> None:
    """A path is sent by the node, with its length."""
    node = start()
    path = node.root / "file"
    path.write_bytes(b"x" * size)
    answer = node.answer(send(node, START, {"type": "http.response.pathsend", "path": str(path)}))
    assert answer.files == ([(bytes(path), 0, size)] if size else [])
    assert answer.headers[b"content-length"] == b"%d" % size


@pytest.mark.parametrize("path", ["relative", "/nowhere/at/all", "/", None])
def test_pathsend_of_what_is_no_file(start: Start, path: object) -> None:
    """A path that cannot be sent is refused."""
    node = start()
    event = {"type": "http.response.pathsend", "path": path}
    assert node.answer(send(node, START, event)).kind == "abort"
    assert noted(node)[0][0] in ("BadResponse", "FileNotFoundError")


# Requests.


def test_body_in_one_piece(node: Node) -> None:
    """A body that came with the request is one event."""
    assert node.request("/echo", method="POST", body="ä\0".encode()).body == "ä\0".encode()


def test_body_credit(node: Node) -> None:
    """Nothing is granted before the application receives; then the window, then what it took."""
    ident = node.open("/slow_reader", method="POST", body=(b"first", None))
    assert json.loads(node.answer(ident).body) == [5, True]
    ident = node.open("/slow_reader", method="POST", body=(b"", None))
    assert node.expect(BODY_CREDIT) == (BODY_CREDIT, ident, WINDOW)
    node.body(ident, b"late", fin=True)
    assert json.loads(node.answer(ident).body) == [4, False]


# Clients that leave.


def test_disconnect_is_received(start: Start) -> None:
    """`receive` tells that the client has left, and `send` raises OSError from then on."""
    node = start()
    ident = node.open("/disconnect")
    assert node.is_silent(0.05)
    node.cancel(ident)
    assert node.expect(ABORT)[1:3] == (ident, b"cancelled")
    assert noted(node) == [["http.request", "http.disconnect"], "OSError"]


def test_body_that_breaks_off(start: Start) -> None:
    """A body that breaks off is a disconnect, never a short body."""
    node = start()
    ident = node.open("/disconnect", method="POST", body=(b"", 100))
    assert node.expect(BODY_CREDIT)[1] == ident
    node.body(ident, b"some")
    node.cancel(ident)
    assert node.answer(ident).abort == (b"cancelled", b"")
    assert noted(node)[0][-1] == "http.disconnect"


def test_send_raises_for_a_client_that_left(start: Start) -> None:
    """`send` that waits for a slow client raises OSError when that leaves; nothing is logged."""
    node = start()
    ident = node.open("/endless")
    assert node.expect(HEAD)[1] == ident
    sent = 0
    while sent < WINDOW:
        sent += len(node.expect(DATA)[2])
    node.cancel(ident)
    message = node.receive()
    assert message[:3] == (ABORT, ident, b"cancelled")
    assert noted(node) == [["endless", True]]
    assert "raised" not in node.stderr()


def test_application_that_does_not_look_is_cancelled(start: Start) -> None:
    """A task that ignores that its client has left is cancelled after a second."""
    node = start()
    ident = begun(node, "/ignores")
    began = monotonic()
    node.cancel(ident)
    assert node.expect(ABORT)[1:3] == (ident, b"cancelled")
    assert 0.8 < monotonic() - began < 30
    assert noted(node) == ["cancelled"]


def test_timeout_cancels_at_once(start: Start) -> None:
    """A request whose time is over is cancelled at once."""
    node = start()
    quickest = 60.0
    for _ in range(3):  # a machine under load is slow, but not three times
        ident = begun(node, "/ignores")
        began = monotonic()
        node.cancel(ident, b"timeout")
        assert node.expect(ABORT)[1:3] == (ident, b"cancelled")
        quickest = min(quickest, monotonic() - began)
    assert quickest < 0.9  # one that leaves by itself gets a second


def test_disconnect_after_the_response(start: Start) -> None:
    """`receive` after the response is a disconnect at once, for whoever waits, too."""
    node = start()
    for path in ("/after_response", "/two_receivers"):
        assert node.request(path).body == b"done"
    deadline = monotonic() + 30
    while len(found := noted(node)) < 2:
        assert monotonic() < deadline
    assert found == ["http.disconnect", "http.disconnect"]
