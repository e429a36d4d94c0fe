# SPDX-License-Identifier: Apache-2.0
"""WebSockets of ASGI applications in a real worker."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from hornbeam_erlang._wire import (
    ABORT,
    ACCEPT,
    BINARY,
    BODY_CREDIT,
    CANCEL,
    CLOSE,
    CREDIT,
    DATA,
    END,
    HEAD,
    RESPONSE,
    RETURN,
    TEXT,
    WEBSOCKET,
    Message,
)
from unit.asgi.conftest import Start
from unit.asgi.test_http import noted
from unit.worker.harness import WINDOW, Node

COST = 64  # bytes that a message costs beyond its own


def accepted(node: Node, path: str, **fields: Any) -> int:
    ident = node.websocket(path, **fields)
    assert node.expect(ACCEPT)[1] == ident
    return ident


def test_scope_and_accept(node: Node) -> None:
    """The scope is that of a WebSocket; subprotocol and headers go with the accept, a greeting
    right after it."""
    ident = node.websocket("/socket_scope/%C3%A4", ["a", "b"], query="q=1")
    assert node.expect(ACCEPT) == (ACCEPT, ident, b"b", {b"x-a": b"1"})
    scope = eval(node.expect(TEXT)[2].decode())
    expected = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/socket_scope/ä",
        "raw_path": b"/socket_scope/%C3%A4",
        "query_string": b"q=1",
        "http_version": "1.1",
        "subprotocols": ["a", "b"],
        "headers": [(b"host", b"example.org")],
        "extensions": {"websocket.http.response": {}, "hornbeam.topics": {}},
        "client": ("10.0.0.9", 5555),
        "root_path": "",
    }
    assert {key: scope[key] for key in expected} == expected
    assert node.expect(CLOSE) == (CLOSE, ident, 1000, b"")
    assert node.expect(END) == (END, ident, {})


def test_waits_that_were_given_up(node: Node) -> None:
    """An application may give up waiting as often as it likes: nothing of that is kept, and the
    next message wakes it."""
    ident = accepted(node, "/socket_impatient")
    assert node.expect(TEXT)[2] in (b"0", b"1")
    node.send((TEXT, ident, b"late"))
    assert node.expect(TEXT)[2] == b"late"
    assert node.expect(END) == (END, ident, {})


def test_messages_keep_their_kind(start: Start) -> None:
    """Text stays text, binary stays binary, empty ones are messages; the disconnect has code and
    reason."""
    node = start()
    ident = accepted(node, "/socket_echo")
    messages = [(TEXT, "ä".encode()), (BINARY, b"\xff\x00"), (TEXT, b""), (BINARY, b"")]
    for code, data in messages:
        node.send((code, ident, data))
        assert node.receive() == (code, ident, data)
    node.send((CLOSE, ident, 4000, "bye ä".encode()))
    assert node.expect(END)[1] == ident
    assert noted(node) == [{"type": "websocket.disconnect", "code": 4000, "reason": "bye ä"}]


def test_what_came_before_the_close(start: Start) -> None:
    """Messages that arrived before the close are received before the disconnect."""
    node = start()
    ident = accepted(node, "/socket_gate")
    node.send(*[(TEXT, ident, b"go")] * 6, (CLOSE, ident, 1006, b""))
    assert node.expect(END)[1] == ident
    assert noted(node) == [5]


# Events sent, messages of the worker, what `send` raised, and the code of the disconnect.
SCRIPTS: dict[str, tuple[list[Any], list[tuple[Any, ...]], list[tuple[str, str]], int]] = {
    "refused": ([{"type": "websocket.close"}], [(RESPONSE, 403, {}, b"")], [], 1006),
    "closed with code": (
        [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 4001, "reason": "r"}],
        [(ACCEPT, None, {}), (CLOSE, 4001, b"r"), (END, {})],
        [],
        4001,
    ),
    "denied in one": (
        [
            {"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"1")]},
            {"type": "websocket.http.response.body", "body": b"no"},
        ],
        [(RESPONSE, 401, {b"a": b"1"}, b"no")],
        [],
        1006,
    ),
    "denied in parts": (
        [
            {"type": "websocket.http.response.start", "status": 401},
            {"type": "websocket.http.response.body", "body": b"no", "more_body": True},
            {"type": "websocket.accept"},
            {"type": "websocket.http.response.body"},
        ],
        [(HEAD, 401, {}), (DATA, b"no"), (END, {})],
        [("RuntimeError", "websocket.accept")],
        1006,
    ),
    "send first": (
        [{"type": "websocket.send", "text": "a"}, {"type": "websocket.close"}],
        [(RESPONSE, 403, {}, b"")],
        [("RuntimeError", "expected 'websocket.accept'")],
        1006,
    ),
    "accept twice": (
        [{"type": "websocket.accept"}, {"type": "websocket.accept"}, {"type": "websocket.close"}],
        [(ACCEPT, None, {}), (CLOSE, 1000, b""), (END, {})],
        [("RuntimeError", "expected 'websocket.send'")],
        1000,
    ),
    "after the close": (
        [
            {"type": "websocket.accept"},
            {"type": "websocket.close"},
            {"type": "websocket.send", "text": "a"},
            {"type": "websocket.close"},
        ],
        [(ACCEPT, None, {}), (CLOSE, 1000, b""), (END, {})],
        [("RuntimeError", "nothing after the close")] * 2,
        1000,
    ),
    "neither text nor bytes": (
        [{"type": "websocket.accept"}, {"type": "websocket.send"}, {"type": "websocket.close"}],
        [(ACCEPT, None, {}), (CLOSE, 1000, b""), (END, {})],
        [("RuntimeError", "expected one of 'text' and 'bytes'")],
        1000,
    ),
    "both, wrong types, bad text": (
        [
            {"type": "websocket.accept"},
            {"type": "websocket.send", "text": "a", "bytes": b"a"},
            {"type": "websocket.send", "text": b"a"},
            {"type": "websocket.send", "bytes": "a"},
            {"type": "websocket.send", "text": "\ud800"},
            {"type": "websocket.send", "text": "a", "bytes": None},
            {"type": "websocket.close"},
        ],
        [(ACCEPT, None, {}), (TEXT, b"a"), (CLOSE, 1000, b""), (END, {})],
        [
            ("RuntimeError", "expected one of"),
            ("BadResponse", "expected str"),
            ("BadResponse", "type str"),
            ("BadResponse", "not UTF-8"),
        ],
        1000,
    ),
    "close codes and reasons": (
        [
            {"type": "websocket.accept"},
            {"type": "websocket.close", "code": 1005},
            {"type": "websocket.close", "code": 999},
            {"type": "websocket.close", "reason": "x" * 124},
            {"type": "websocket.close", "code": 4999, "reason": None},
        ],
        [(ACCEPT, None, {}), (CLOSE, 4999, b""), (END, {})],
        [("BadResponse", "1005"), ("BadResponse", "999"), ("BadResponse", "124 bytes")],
        4999,
    ),
    "accept that cannot be sent": (
        [
            {"type": "websocket.accept", "subprotocol": "a b"},
            {"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"a")]},
            {"type": "websocket.accept", "headers": [(b"a", b"b\r\n")]},
            {"type": "websocket.close"},
        ],
        [(RESPONSE, 403, {}, b"")],
        [("BadResponse", "token"), ("BadResponse", "server's"), ("BadResponse", "control")],
        1006,
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(start: Start, name: str) -> None:
    """What applications may send in which order, what leaves, and what is refused, quoted."""
    events, messages, raised, code = SCRIPTS[name]
    node = start()
    ident = node.websocket("/socket_script", query=repr(events))
    received = [node.receive() for _ in messages]
    assert received == [(kind, ident, *rest) for kind, *rest in messages]
    *failures, disconnect = noted(node)
    assert disconnect["type"] == "websocket.disconnect"
    assert disconnect["code"] == code
    assert [kind for kind, _ in failures] == [kind for kind, _ in raised]
    assert all(part in text for (_, text), (_, part) in zip(failures, raised, strict=True)), (
        failures
    )


def test_credit_of_the_node(start: Start) -> None:
    """A sender waits while there is no credit, and the other direction goes on meanwhile."""
    node = start()
    ident = accepted(node, "/socket_flood")
    sent = 0
    while sent < WINDOW:
        sent += len(node.expect(BINARY)[2]) + COST
    assert sent < WINDOW + 1000 + COST
    assert node.is_silent(0.1)
    node.send((TEXT, ident, b"heard"))
    node.send((CREDIT, ident, sent - WINDOW + 1))
    assert node.expect(BINARY)[1] == ident
    node.send((CLOSE, ident, 1001, b""))
    assert node.expect(END)[1] == ident
    disconnect = {"type": "websocket.disconnect", "code": 1001, "reason": ""}
    assert noted(node) == ["heard", disconnect, True]


def test_credit_of_the_worker(start: Start) -> None:
    """What the application has received is granted anew, what it has not is not."""
    node = start()
    ident = accepted(node, "/socket_echo")
    granted, cost = 0, 1000 + COST
    for _ in range(100):
        node.send((BINARY, ident, b"x" * 1000))
        while (message := node.receive())[0] == BODY_CREDIT:
            granted += message[2]
        assert message[0] == BINARY
        node.send((CREDIT, ident, cost))
    assert 100 * cost - WINDOW // 2 <= granted <= 100 * cost


def test_failures(node: Node) -> None:
    """An application that raises, or returns, ends its socket; before the accept it is a 500."""
    for path, query, first, outcome in [
        ("/socket_raises", "early", (), b"app_error"),
        ("/socket_raises", "", (ACCEPT,), b"app_error"),
        ("/socket_returns", "early", (), b"no_response"),
    ]:
        ident = node.websocket(path, query=query)
        for code in first:
            node.expect(code)
        assert node.expect(ABORT)[1:3] == (ident, outcome)
    ident = accepted(node, "/socket_returns")
    assert node.expect(END) == (END, ident, {})
    assert "WebSocket /socket_raises raised" in node.stderr()


def test_client_that_leaves_in_the_handshake(start: Start) -> None:
    """CANCEL before the accept is a disconnect for who looks; who does not is cancelled."""
    node = start()
    ident = node.websocket("/socket_ignores", query="early")
    while node.started < ident:
        pass
    began = monotonic()
    node.cancel(ident)
    assert node.expect(ABORT)[1:3] == (ident, b"cancelled")
    assert 0.8 < monotonic() - began < 30
    assert noted(node) == ["cancelled"]


def test_application_that_outstays_its_socket(start: Start) -> None:
    """CANCEL after the close cancels at once."""
    node = start()
    ident = accepted(node, "/socket_ignores")
    node.send((CLOSE, ident, 1001, b""))
    assert node.is_silent(0.1)
    node.send((CANCEL, ident, b"client_gone"))
    assert node.expect(ABORT)[1:3] == (ident, b"cancelled")
    assert noted(node) == ["cancelled"]


def test_send_after_the_client_has_left(start: Start) -> None:
    """What `send` raises then is no error for the log, and ends the socket."""
    node = start()
    ident = accepted(node, "/socket_sends_late")
    node.send((CLOSE, ident, 1000, b""))
    assert node.expect(END)[1] == ident
    assert node.request("/whole").status == 200
    assert "raised" not in node.stderr()


def test_cancelled_before_it_started(node: Node) -> None:
    """A handshake that is cancelled before it starts is handed back."""
    ident = node.next_id()
    offer: Message = (WEBSOCKET, ident, 0, b"/socket_echo", b"", b"1.1", {}, b"", [])
    node.send(offer, (CANCEL, ident, b"client_gone"))
    assert node.expect(RETURN) == (RETURN, [ident])


def test_many_sockets(start: Start) -> None:
    """Hundreds of sockets at once, each with its own messages."""
    node = start()
    idents = [node.websocket("/socket_echo") for _ in range(300)]
    assert [node.expect(ACCEPT)[1] for _ in idents] == idents
    node.send(*[(TEXT, ident, b"%d" % ident) for ident in idents])
    echoed = [node.expect(TEXT) for _ in idents]
    assert echoed == [(TEXT, ident, b"%d" % ident) for ident in idents]
    node.send(*[(CLOSE, ident, 1005, b"") for ident in idents])
    assert sorted(node.expect(END)[1] for _ in idents) == idents
