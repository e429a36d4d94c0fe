# SPDX-License-Identifier: Apache-2.0
"""A chat room in every framework, with the client of the `websockets` library; in Django it is a
consumer of Channels with the layer in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from live.conftest import Start
from live.serving import Served

ALL = ["starlette", "fastapi", "litestar", "django_asgi"]
SECONDS = 30


@pytest.fixture(params=ALL)
def site(request: pytest.FixtureRequest, start_asgi: Start, site_folder: Path) -> Served:
    app = f"apps.{request.param}_site:application"
    return start_asgi(app, SITE_FOLDER=str(site_folder), PYTHONHASHSEED="0")


class Guests:
    """Guests of one room that no other test knows."""

    def __init__(self, site: Served, stack: ExitStack) -> None:
        self._base = f"ws://{site.host}:{site.port}/chat/{uuid4().hex}"
        self._stack = stack

    def enter(self, name: str) -> ClientConnection:
        url = f"{self._base}?name={name}"
        offers = [Subprotocol("chat"), Subprotocol("other")]
        # Without a limit, or a guest who does not listen would not hear that it is closed.
        connection = connect(url, subprotocols=offers, max_queue=None, proxy=None)
        return self._stack.enter_context(connection)


@pytest.fixture
def guests(site: Served) -> Iterator[Guests]:
    with ExitStack() as stack:
        yield Guests(site, stack)


def hear(guest: ClientConnection, text: str) -> None:
    assert guest.recv(SECONDS) == text


def test_everyone_hears(guests: Guests) -> None:
    """What one says all hear, in the same order; coming and going is told."""
    first = guests.enter("anna")
    assert first.subprotocol == "chat"
    hear(first, "anna is here")
    second = guests.enter("ben")
    for guest in (first, second):
        hear(guest, "ben is here")
    for number in range(20):
        speaker, name = ((first, "anna"), (second, "ben"))[number % 2]
        speaker.send(f"Zoë {number}")
        for guest in (first, second):
            hear(guest, f"{name}: Zoë {number}")
    second.close(4001, "enough")
    hear(first, "ben left with 4001")


def test_twenty_guests(guests: Guests) -> None:
    """Twenty sockets in one room hear each other."""
    names = [f"guest{number}" for number in range(20)]
    inside: list[ClientConnection] = []
    for name in names:
        inside.append(guests.enter(name))
        for guest in inside:
            hear(guest, f"{name} is here")
    inside[7].send("hello")
    for guest in inside:
        hear(guest, "guest7: hello")


def test_guest_who_vanishes(guests: Guests) -> None:
    """A guest whose connection breaks is gone: the others are told, and can still talk."""
    first, second = guests.enter("anna"), guests.enter("ben")
    hear(first, "anna is here")
    for guest in (first, second):
        hear(guest, "ben is here")
    second.socket.close()
    assert str(first.recv(SECONDS)).startswith("ben left with 100")
    first.send("alone")
    hear(first, "anna: alone")


def test_room_that_is_not_there(site: Served) -> None:
    """A path without a WebSocket is refused before the 101."""
    url = f"ws://{site.host}:{site.port}/nowhere"
    with pytest.raises(Exception, match="HTTP (403|404|500)"), connect(url, proxy=None):
        pass
