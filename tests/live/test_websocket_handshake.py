# SPDX-License-Identifier: Apache-2.0
"""WebSocket: accepted or refused before the 101, by the application."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from apps.gate import Gate
from live.raw import Raw, request
from live.serving import Served
from live.websocket import FIELDS, VERSION, Socket, frame, opened


def gate_field(gate: Gate) -> str:
    return f"X-Gate: {gate.headers['X-Gate']}"


@pytest.mark.parametrize(("decision", "status"), [("accept", 101), ("close", 403)])
def test_decided_before_the_101(asgi: Served, gate: Gate, decision: str, status: int) -> None:
    """No byte reaches the client before the application has decided."""
    with Socket(asgi) as socket:
        socket.ask_for(f"/held/{decision}", gate_field(gate))
        gate.expect("connecting")
        socket.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            socket.socket.recv(1)
        socket.socket.settimeout(10)
        gate.open()
        data = socket.socket.recv(65536)  # the file over it refuses to go on after a timeout
        assert data.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("path", ["/refused/", "/refused-unread/"])
def test_refusal_is_403(asgi: Served, path: str) -> None:
    """`websocket.close` before an accept: 403, no WebSocket, and an HTTP connection as before."""
    with Socket(asgi) as socket:
        socket.ask_for(path)
        assert socket.reply().status == 403


@pytest.mark.parametrize("pieces", [1, 3])
def test_denial_response(asgi: Served, pieces: int) -> None:
    """`websocket.http.response`: the application's own response instead of the 101."""
    with Socket(asgi) as socket:
        socket.ask_for(f"/denied/{pieces}")
        reply = socket.reply()
    assert reply.status == 401
    assert reply.head.one("x-why") == "because"
    assert reply.head.every("set-cookie") == ["a=1"]
    assert reply.body == b"".join(b"denied %d\n" % number for number in range(pieces))


@pytest.mark.parametrize("path", ["/raises/before", "/undecided/"])
def test_application_that_does_not_decide(asgi: Served, path: str) -> None:
    """An app that raises, or returns, before it decides: 500."""
    with Socket(asgi) as socket:
        socket.ask_for(path)
        assert socket.reply().status == 500


def test_subprotocol_and_headers(asgi: Served) -> None:
    """The chosen subprotocol and extra headers reach the client; the offers reach the app."""
    with Socket(asgi) as socket:
        socket.ask_for("/chosen/", "Sec-WebSocket-Protocol: chat, superchat,mqtt")
        head = socket.accept()
        assert json.loads(socket.text()) == ["chat", "superchat", "mqtt"]
    assert head.every("sec-websocket-protocol") == ["mqtt"]
    assert head.one("x-first") == "1"
    assert head.every("set-cookie") == ["a=1", "b=2"]


def test_no_subprotocol(asgi: Served) -> None:
    """An app that chooses none: the field is not there."""
    with Socket(asgi) as socket:
        socket.ask_for("/echo/", "Sec-WebSocket-Protocol: chat")
        assert socket.accept().one("sec-websocket-protocol") is None


def scope(asgi: Served, path: str, *fields: str) -> dict[str, Any]:
    with opened(asgi, path, *fields) as socket:
        shown = json.loads(socket.text())
    plain = {key: value for key, (_, value) in shown.items() if key not in ("state", "extensions")}
    return {key: ast.literal_eval(value) for key, value in plain.items()}


def test_scope(asgi: Served) -> None:
    """The scope of a WebSocket: its type, and the keys of HTTP's."""
    fields = ("X-Several: a", "X-Several: b", "Sec-WebSocket-Protocol: one, two", "Cookie: a=1")
    seen = scope(asgi, "/scope/Zo%C3%AB?q=%20", *fields)
    assert (seen["type"], seen["scheme"], seen["http_version"]) == ("websocket", "ws", "1.1")
    assert (seen["path"], seen["raw_path"]) == ("/scope/Zoë", b"/scope/Zo%C3%AB")
    assert (seen["query_string"], seen["root_path"]) == (b"q=%20", "")
    assert list(seen["subprotocols"]) == ["one", "two"]
    assert b", ".join(v for k, v in seen["headers"] if k == b"x-several") == b"a, b"
    assert dict(seen["headers"])[b"cookie"] == b"a=1"
    assert seen["asgi"]["version"] == "3.0"
    assert seen["client"][0] == "127.0.0.1"
    assert tuple(seen["server"]) == (asgi.host, asgi.port)


def test_denial_is_advertised(asgi: Served) -> None:
    """`websocket.http.response` is in the extensions of a WebSocket, not of a request."""
    with opened(asgi, "/scope/") as socket:
        assert "websocket.http.response" in json.loads(socket.text())["extensions"][1]
    with Raw(asgi) as raw:
        assert b"websocket.http.response" not in raw.ask("GET", "/extensions/").body


@pytest.mark.usefixtures("ours")
def test_frames_sent_with_the_handshake(asgi: Served) -> None:
    """A client that does not wait for the 101 loses nothing."""
    with Socket(asgi) as socket:
        socket.send(request("GET", "/echo/", *FIELDS, VERSION) + frame(1, b"early"))
        socket.accept()
        assert socket.text() == "early"


@pytest.mark.parametrize(
    ("name", "fields", "statuses"),
    [
        ("no key", (FIELDS[0], FIELDS[1], VERSION), {400, 426}),
        ("no version", FIELDS, {400, 426}),
        ("other version", (*FIELDS, "Sec-WebSocket-Version: 99"), {400, 426}),
        ("short key", (FIELDS[0], FIELDS[1], "Sec-WebSocket-Key: abc", VERSION), {400}),
    ],
)
def test_malformed_handshake(
    asgi: Served, name: str, fields: tuple[str, ...], statuses: set[int]
) -> None:
    """A handshake that RFC 6455, 4.2.1 forbids is refused before the application sees it."""
    with Socket(asgi) as socket:
        socket.send(request("GET", "/echo/", *fields))
        head = socket.head()
        assert head.status in statuses, name


@pytest.mark.usefixtures("ours")
def test_version_is_told(asgi: Served) -> None:
    """A client of another version is told which one there is (RFC 6455, 4.4)."""
    with Socket(asgi) as socket:
        socket.send(request("GET", "/echo/", *FIELDS, "Sec-WebSocket-Version: 99"))
        head = socket.head()
    assert (head.status, head.one("sec-websocket-version")) == (426, "13")


def test_names_and_tokens_in_any_case(asgi: Served) -> None:
    """`Upgrade` and `Connection` are compared without regard to case, and may hold more."""
    fields = ("UPGRADE: WebSocket", "connection: keep-alive, UPGRADE", FIELDS[2], VERSION)
    with Socket(asgi) as socket:
        socket.send(request("GET", "/echo/", *fields))
        socket.accept()


def test_client_that_leaves_in_the_handshake(asgi: Served, gate: Gate) -> None:
    """A client that leaves before the decision: the application hears of it."""
    with Socket(asgi) as socket:
        socket.ask_for("/left-early/", gate_field(gate))
        gate.expect("connecting")
    gate.expect("websocket.disconnect")
