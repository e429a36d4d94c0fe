# SPDX-License-Identifier: Apache-2.0
"""WebSockets and topics: clients that join them, and handlers that subscribe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from live.conftest import Start
from live.http2 import Http2
from live.http2_websocket import Socket
from live.serving import Served, wait_until
from live.websocket import CLOSE, TEXT, closing, frame


@pytest.fixture(scope="module")
def site(start: Start) -> Served:
    """Two workers: what one of them publishes reaches clients of both."""
    return start("apps.topic_sockets:application", "--interface", "asgi", "--workers", "2")


@pytest.fixture
def client(site: Served) -> Iterator[ClientConnection]:
    with connect(f"ws://{site.host}:{site.port}/joining") as socket:
        yield socket


def publish(site: Served, topic: str, text: str) -> int:
    return int(site.get(f"/{topic}?{text}")[1])


def post(site: Served, topic: str, value: Any) -> int:
    connection: HTTPConnection = site.connection()
    try:
        connection.request("POST", f"/{topic}", json.dumps(value))
        return int(connection.getresponse().read())
    finally:
        connection.close()


def say(client: ClientConnection, verb: str, topic: str) -> None:
    client.send(json.dumps([verb, topic]))
    assert client.recv(30) == f"{verb} {topic}"


def test_text_bytes_and_json(site: Served, client: ClientConnection) -> None:
    """A client that joined gets text as text, bytes as binary, other values as JSON."""
    say(client, "join", "forms")
    assert publish(site, "forms", "hello") == 1
    assert client.recv(30) == "hello"
    assert publish(site, "forms", "bytes:raw") == 1
    assert client.recv(30) == b"raw"
    assert post(site, "forms", {"a": [1, None, "é"]}) == 1
    assert json.loads(client.recv(30)) == {"a": [1, None, "é"]}


def test_leave_prefix_and_the_end(site: Served, client: ClientConnection) -> None:
    """Leaving ends it, a prefix joins all topics that start so, and the end of the socket leaves
    all."""
    say(client, "join", "left")
    say(client, "leave", "left")
    assert publish(site, "left", "nobody") == 0
    say(client, "prefix", "user:")
    assert publish(site, "user:7", "yes") == 1
    assert client.recv(30) == "yes"
    client.close()
    wait_until(lambda: publish(site, "user:7", "gone") == 0, "the socket has left")


def test_many_clients_get_all_messages_in_order(site: Served) -> None:
    """Each of many clients in both workers gets every message of a burst, in the order of one
    publisher."""
    url = f"ws://{site.host}:{site.port}/joining"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(20)]
        for client in clients:
            say(client, "join", "burst")
        assert [publish(site, "burst", str(number)) for number in range(200)] == [20] * 200
        for client in clients:
            assert [client.recv(30) for _ in range(200)] == [str(n) for n in range(200)]


def test_handler_that_looks(site: Served) -> None:
    """`receive_pubsub(timeout=0)` in a WebSocket handler gives what was published since, and the
    end of the socket unsubscribes it."""
    with connect(f"ws://{site.host}:{site.port}/handling") as client:
        assert client.recv(30) == "subscribed"
        assert publish(site, "handled", "one") == 1
        client.send("look")
        assert json.loads(client.recv(30)) == "one"
        client.send("look")
        assert json.loads(client.recv(30)) == "next"
    wait_until(lambda: publish(site, "handled", "gone") == 0, "the handler has ended")


def test_task_of_a_handler(site: Served) -> None:
    """A task that a handler starts receives what the handler has subscribed to."""
    with connect(f"ws://{site.host}:{site.port}/waiting") as client:
        assert client.recv(30) == "subscribed"
        for number in range(3):
            assert post(site, "waited", {"n": number}) == 1
            assert json.loads(client.recv(30)) == {"n": number}
    wait_until(lambda: publish(site, "waited", "gone") == 0, "the handler has ended")


@pytest.fixture
def http2(site: Served) -> Iterator[Http2]:
    """A connection whose windows the test opens itself."""
    with Http2(site, grants=False) as made:
        made.read_until(lambda: bool(made.connection.remote_settings.enable_connect_protocol))
        yield made


def joined(http2: Http2, topic: str) -> Socket:
    socket = Socket(http2, "/joining").accept()
    socket.send(frame(TEXT, json.dumps(["join", topic]).encode()))
    assert socket.frame().data == f"join {topic}".encode()
    return socket


@pytest.mark.usefixtures("with_http2")
def test_sockets_that_share_a_connection(site: Served, http2: Http2) -> None:
    """Over HTTP/2 each socket of a connection joins, and leaves with its end, for itself."""
    one, two = joined(http2, "shared"), joined(http2, "shared")
    assert publish(site, "shared", "both") == 2
    assert [one.frame().data, two.frame().data] == [b"both", b"both"]
    one.send(closing(1000))
    assert one.frame().opcode == CLOSE
    wait_until(lambda: publish(site, "shared", "one") == 1, "the socket has left")
    assert two.frame().data == b"one"


@pytest.mark.usefixtures("with_http2")
def test_stream_that_is_reset_leaves(site: Served, http2: Http2) -> None:
    """A reset ends the stream's topics; its connection goes on."""
    socket = joined(http2, "reset")
    assert publish(site, "reset", "here") == 1
    http2.reset(socket.number)
    wait_until(lambda: publish(site, "reset", "gone") == 0, "the socket has left")
    joined(http2, "again")


@pytest.mark.usefixtures("with_http2")
def test_slow_client_over_http2_misses_the_oldest(site: Served, http2: Http2) -> None:
    """A client that does not open its window is not sent more than fits; it gets the newest when
    it reads on, in their order."""
    socket = joined(http2, "slow")
    text, last = "x" * 65000, 400
    for number in range(last + 1):
        assert post(site, "slow", f"{number}:{text}") == 1
    numbers = []
    while last not in numbers:
        http2.grant(1 << 20)
        http2.grant(1 << 20, socket.number)
        numbers.append(int(socket.frame().data.split(b":")[0]))
    assert numbers == sorted(set(numbers))
    assert len(numbers) < last
