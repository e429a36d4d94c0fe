# SPDX-License-Identifier: Apache-2.0
"""The connection of a node to itself: what its processes say to each other goes the same way as
what they say to other nodes, without a socket.

Runs in the thread that says it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from ._distribution_connection import Connection, Event, identity
from ._distribution_signals import Signals

__all__ = ["Loopback"]


class Loopback:
    """A Wire whose other end is the node itself.

    Args:
        name, creation: of the node.
        handle: takes what is said.
    """

    def __init__(
        self, name: str, creation: int, handle: Callable[[str, Loopback, Event], None]
    ) -> None:
        here = identity(name, creation)
        left, right = Connection.connect(here, "", name), Connection.accept(here, "")
        right.receive(left.data_to_send())
        left.receive(right.answer("ok"))
        right.receive(left.data_to_send())
        left.receive(right.data_to_send())
        self._name = name
        self._left = left
        self._right = right
        self._handle = handle
        self._lock = threading.Lock()

    @property
    def core(self) -> Signals:
        return self._left

    def write(self, data: bytes) -> None:
        with self._lock:
            events = self._right.receive(data)
        for event in events:
            self._handle(self._name, self, event)

    def room(self) -> Future[None] | None:
        return None
