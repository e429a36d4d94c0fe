# SPDX-License-Identifier: Apache-2.0
"""WebSocket over HTTP/2 (RFC 8441): an extended CONNECT opens one on a stream."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

import pytest

from apps.gate import Gate
from live.http2 import Http2
from live.http2_websocket import Socket
from live.serving import Served
from live.websocket import BINARY, CLOSE, PING, PONG, TEXT, Frame, closing, frame

pytestmark = pytest.mark.usefixtures("with_http2")


@pytest.fixture
def connection(asgi: Served) -> Iterator[Http2]:
    """A connection whose server has said that it takes extended CONNECT."""
    with Http2(asgi) as made:
        made.read_until(lambda: bool(made.connection.remote_settings.enable_connect_protocol))
        yield made


def gate_field(gate: Gate) -> tuple[str, str]:
    return ("x-gate", gate.headers["X-Gate"])


def test_setting(asgi: Served) -> None:
    """SETTINGS_ENABLE_CONNECT_PROTOCOL is 1 in the server's first settings."""
    with Http2(asgi) as connection:
        connection.read_until(lambda: connection.settled)
        assert connection.connection.remote_settings.enable_connect_protocol == 1


@pytest.mark.parametrize("size", [0, 10, 126, 70_000, 300_000])
def test_echo(connection: Http2, size: int) -> None:
    """Text and bytes of every size come back; the head is a 200 without Upgrade's fields."""
    socket = Socket(connection, "/echo/").accept()
    names = {name for name, _ in socket.stream.head}
    assert not names & {"sec-websocket-accept", "upgrade", "connection", "transfer-encoding"}
    for opcode in (TEXT, BINARY):
        socket.send(frame(opcode, b"x" * size))
        assert socket.frame() == Frame(opcode, b"x" * size)


def test_scope(connection: Http2) -> None:
    """`http_version` is "2", `scheme` is ws; subprotocols are those of the client."""
    offers = ("sec-websocket-protocol", "one, two")
    socket = Socket(connection, "/scope/Zo%C3%AB?q=1", offers).accept()
    shown = json.loads(socket.frame().data)
    seen = {
        key: ast.literal_eval(value)
        for key, (_, value) in shown.items()
        if key not in ("state", "extensions")
    }
    assert (seen["type"], seen["http_version"], seen["scheme"]) == ("websocket", "2", "ws")
    assert (seen["path"], seen["query_string"]) == ("/scope/Zoë", b"q=1")
    assert list(seen["subprotocols"]) == ["one", "two"]
    assert dict(seen["headers"])[b"host"].decode() == connection.authority
    assert not [name for name, _ in seen["headers"] if name.startswith(b":")]


def test_subprotocol_and_headers(connection: Http2) -> None:
    """Both reach the client in the 200."""
    offers = ("sec-websocket-protocol", "chat, mqtt")
    head = Socket(connection, "/chosen/", offers).accept().stream.head
    assert dict(head)["sec-websocket-protocol"] == "mqtt"
    assert [value for name, value in head if name == "set-cookie"] == ["a=1", "b=2"]


def test_refusal(connection: Http2) -> None:
    """`websocket.close` before an accept: 403, and the stream ends."""
    socket = Socket(connection, "/refused/")
    assert connection.whole(socket.number).status == 403


def test_denial(connection: Http2) -> None:
    """The application's own response."""
    found = connection.whole(Socket(connection, "/denied/3").number)
    assert (found.status, found.one("x-why")) == (401, "because")
    assert found.body == b"denied 0\ndenied 1\ndenied 2\n"


@pytest.mark.usefixtures("ours")
def test_ping(connection: Http2) -> None:
    """Answered by the node."""
    socket = Socket(connection, "/echo/").accept()
    socket.send(frame(PING, b"there?"))
    assert socket.frame() == Frame(PONG, b"there?")


@pytest.mark.usefixtures("ours")
def test_close_of_the_client(connection: Http2, gate: Gate) -> None:
    """Code and reason reach the application."""
    socket = Socket(connection, "/told/", gate_field(gate)).accept()
    gate.expect("accepted")
    socket.send(closing(4001, b"enough"))
    assert socket.frame().code == 4001
    gate.expect("4001 enough")


def test_close_of_the_application(connection: Http2) -> None:
    """Its code and reason reach the client, and the stream ends when the client has answered."""
    socket = Socket(connection, "/closes/4002/why").accept()
    found = socket.frame()
    assert (found.opcode, found.code, found.reason) == (CLOSE, 4002, "why")
    socket.send(closing(4002))
    assert connection.whole(socket.number).done


@pytest.mark.usefixtures("ours")
def test_reset(connection: Http2, gate: Gate) -> None:
    """RST_STREAM is a connection that broke: 1006; the session ends, others go on."""
    other = Socket(connection, "/echo/").accept()
    socket = Socket(connection, "/told/", gate_field(gate)).accept()
    gate.expect("accepted")
    connection.reset(socket.number)
    gate.expect("1006 ")
    other.send(frame(TEXT, b"still here"))
    assert other.frame().data == b"still here"


@pytest.mark.usefixtures("ours")
def test_illegal_frame(connection: Http2) -> None:
    """The same rules as over HTTP/1: 1002."""
    socket = Socket(connection, "/echo/").accept()
    socket.send(frame(TEXT, b"x", mask=False))
    assert socket.frame().code == 1002


def test_many_sockets(connection: Http2) -> None:
    """Fifty sockets and ordinary requests on one connection."""
    sockets = [Socket(connection, "/echo/") for _ in range(50)]
    for number, socket in enumerate(sockets):
        socket.accept().send(frame(TEXT, b"%d" % number))
    assert connection.ask("/hello/").body == b"hello"
    for number, socket in enumerate(sockets):
        assert socket.frame().data == b"%d" % number


@pytest.mark.usefixtures("ours")
def test_other_protocols_are_refused(connection: Http2) -> None:
    """An extended CONNECT for something else: 501 or 400 (RFC 8441, RFC 9220)."""
    number = connection.request("/echo/", method="CONNECT", end=False, protocol="connect-udp")
    found = connection.whole(number)
    assert found.reset is not None or found.status in (400, 405, 501)
    assert connection.ask("/hello/").body == b"hello"
