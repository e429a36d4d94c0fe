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
from live.serving import Served, wait_until


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
    assert client.recv(10) == f"{verb} {topic}"


def test_text_bytes_and_json(site: Served, client: ClientConnection) -> None:
    """A client that joined gets text as text, bytes as binary, other values as JSON."""
    say(client, "join", "forms")
    assert publish(site, "forms", "hello") == 1
    assert client.recv(10) == "hello"
    assert publish(site, "forms", "bytes:raw") == 1
    assert client.recv(10) == b"raw"
    assert post(site, "forms", {"a": [1, None, "é"]}) == 1
    assert json.loads(client.recv(10)) == {"a": [1, None, "é"]}


def test_leave_prefix_and_the_end(site: Served, client: ClientConnection) -> None:
    """Leaving ends it, a prefix joins all topics that start so, and the end of the socket leaves
    all."""
    say(client, "join", "left")
    say(client, "leave", "left")
    assert publish(site, "left", "nobody") == 0
    say(client, "prefix", "user:")
    assert publish(site, "user:7", "yes") == 1
    assert client.recv(10) == "yes"
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
            assert [client.recv(10) for _ in range(200)] == [str(n) for n in range(200)]


def test_handler_that_looks(site: Served) -> None:
    """`receive_pubsub(timeout=0)` in a WebSocket handler gives what was published since, and the
    end of the socket unsubscribes it."""
    with connect(f"ws://{site.host}:{site.port}/handling") as client:
        assert client.recv(10) == "subscribed"
        assert publish(site, "handled", "one") == 1
        client.send("look")
        assert json.loads(client.recv(10)) == "one"
        client.send("look")
        assert json.loads(client.recv(10)) == "next"
    wait_until(lambda: publish(site, "handled", "gone") == 0, "the handler has ended")


def test_task_of_a_handler(site: Served) -> None:
    """A task that a handler starts receives what the handler has subscribed to."""
    with connect(f"ws://{site.host}:{site.port}/waiting") as client:
        assert client.recv(10) == "subscribed"
        for number in range(3):
            assert post(site, "waited", {"n": number}) == 1
            assert json.loads(client.recv(10)) == {"n": number}
    wait_until(lambda: publish(site, "waited", "gone") == 0, "the handler has ended")
