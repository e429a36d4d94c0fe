# SPDX-License-Identifier: Apache-2.0
"""Starts the application for each exchange, and hands on what arrives for those that wait.

Runs in the loop's thread, for every request and every message of a WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from ._asgi_connection import Connection
from ._asgi_cycle import Cycle
from ._asgi_http import HTTPCycle
from ._asgi_scope import Scope, ScopeMaker
from ._asgi_websocket import WebSocketCycle
from ._flow import Window
from ._wire import RETURN, Message


class Requests:
    """The exchanges of one application.

    Args:
        application: the ASGI callable.

    Attributes: scopes: makes what it is called with.
    """

    def __init__(
        self, connection: Connection, application: Callable[..., Any], scopes: ScopeMaker
    ) -> None:
        self.scopes = scopes
        self._connection = connection
        self._hub = connection.hub
        self._session = connection.session
        self._application = application
        self._base: Context = copy_context()

    def open(self, message: Message) -> None:
        """Calls the application for OPEN `message`."""
        if self._may_start(message[1]):
            self._run(HTTPCycle(self._connection, message), self.scopes.http(message), message[1])

    def websocket(self, message: Message) -> None:
        """Calls the application for WEBSOCKET `message`."""
        if self._may_start(message[1]):
            cycle = WebSocketCycle(self._connection, message)
            self._run(cycle, self.scopes.websocket(message), message[1])

    def _may_start(self, ident: int) -> bool:
        session = self._session
        if session.flows or session.sockets:
            flow: Window | None = session.flows.get(ident) or session.sockets.get(ident)
            if flow is not None and flow.cancelled:
                self._connection.send((RETURN, [ident]))
                return False
        return self._hub.begin(ident)

    def _run(self, cycle: Cycle, scope: Scope, ident: int) -> None:
        connection = self._connection
        connection.starting = ident
        cycle.application, cycle.scope = self._application, scope
        connection.runner.run(cycle, self._base.copy())
        if not cycle.has_ended:
            connection.cycles[ident] = cycle

    def arrived(self, message: Message) -> None:
        """Lets the application know of BODY, CREDIT, TEXT, BINARY or CLOSE."""
        cycle = self._connection.cycles.get(message[1])
        if cycle is not None:
            cycle.arrived()
