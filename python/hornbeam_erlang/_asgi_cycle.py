# SPDX-License-Identifier: Apache-2.0
"""What an HTTP request and a WebSocket have in common: one run of the application over one
exchange, which ends the exchange whatever the application does.

Runs in the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from ._asgi_change import Change
from ._asgi_scope import Scope
from ._asgi_task import LazyTask
from ._served import ORIGIN
from ._tracebacks import application_part, format_exception
from ._wire import ABORT, cut_text
from ._wsgi_headers import BadResponse
from ._wsgi_response import LengthMismatch, NoResponse

if TYPE_CHECKING:
    from ._asgi_connection import Connection

Event: TypeAlias = dict[str, Any]

# Failures of the response rather than of the code: their message says all.
_NAMED: tuple[tuple[type[BaseException], bytes], ...] = (
    (BadResponse, b"bad_response"),
    (NoResponse, b"no_response"),
    (LengthMismatch, b"length_mismatch"),
)


class ClientDisconnected(ConnectionAbortedError):
    """The client has left, so what was sent goes nowhere. (ASGI: an OSError.)"""


class Cycle(LazyTask):
    """One run of the application; the task it runs in.

    Attributes:
        application: the ASGI callable.
        scope: what it is called with.
        connection: to the node.
        ident: id of the exchange.
        gone: why nobody waits for the answer any more: reason of CANCEL, empty while there is none.
        knows: whether the application has been told so; not set before there is a reason.
        target: method and path, for the log.
        waiters: what those wait for who wait for something to happen to the exchange.
    """

    __slots__ = (
        "application",
        "connection",
        "gone",
        "ident",
        "knows",
        "scope",
        "target",
        "waiters",
    )

    application: Callable[..., Any]
    scope: Scope
    connection: Connection
    ident: int
    gone: bytes
    knows: bool
    target: tuple[bytes, bytes]
    waiters: tuple[Change, ...]

    async def receive(self) -> Event:
        """ASGI's `receive`."""
        raise NotImplementedError

    async def send(self, event: Event) -> None:
        """ASGI's `send`."""
        raise NotImplementedError

    def first_step(self) -> Any:
        """Calls the application, in the context and the task of the request."""
        ORIGIN.set(self.ident)
        run = self.application(self.scope, self.receive, self.send)
        # The application may drop its scope, and an idle WebSocket should not keep it.
        del self.scope
        self.coroutine = run if type(run) is CoroutineType else _awaiting(run)
        return self.coroutine.send(None)

    # What happens to the exchange.

    def changed(self) -> None:
        """Wakes whoever waits: credit, a body, a message or the end has arrived."""
        waiters, self.waiters = self.waiters, ()
        for change in waiters:
            change.happen()

    def arrived(self) -> None:
        """`changed` because of what the node has sent; called while no task is current."""
        waiters, self.waiters = self.waiters, ()
        for change in waiters:
            change.happen_at_once(self)

    def change(self) -> Change:
        """What is awaited until `changed` or `arrived` is called."""
        # No coroutine of its own, and no list: every idle WebSocket waits here.
        change = Change(self.connection.loop)
        if self.waiters:
            # Whoever gave up waiting has left what it waited for.
            self.waiters = (*(each for each in self.waiters if not each.done()), change)
        else:
            self.waiters = (change,)
        return change

    def cancelled_by_node(self, reason: bytes) -> None:
        """CANCEL has arrived."""
        self.gone = reason or b"client_gone"
        self.knows = False
        self.changed()

    def wants_grace(self, reason: bytes) -> bool:
        """Whether the application may find out by itself that it is cancelled for `reason`."""
        return reason == b"client_gone"

    def left(self) -> ClientDisconnected:
        """What `send` raises when the client has left."""
        self.knows = True
        return ClientDisconnected(f"the client has left: {self.gone.decode('latin-1')}")

    # How the application ends.

    def is_closed(self) -> bool:
        """Whether the exchange has been closed."""
        return self.ident not in self.connection.session.exchanges

    def returned(self) -> None:
        """The application has returned."""
        if self.connection.ended(self):
            self.finish()
            self.changed()

    def finish(self) -> None:
        """Closes the exchange of an application that has returned."""
        raise NotImplementedError

    def raised(self, exc: BaseException) -> None:
        """The application has raised `exc`."""
        is_open = self.connection.ended(self)
        expected = self.gone and isinstance(exc, (ClientDisconnected, asyncio.CancelledError))
        name, text = (b"cancelled", "") if self.gone else (b"app_error", "")
        if not expected:
            for kind, special in _NAMED:
                if isinstance(exc, kind):
                    name, text = special, str(exc)
            self.log(exc, text)
        if is_open:
            self.abort(name, text or format_exception(exc))

    def abort(self, name: bytes, text: str) -> None:
        """Closes the exchange without a clean end."""
        self.connection.send((ABORT, self.ident, name, cut_text(text)), len(text))
        self.changed()

    def log(self, exc: BaseException, text: str = "") -> None:
        """Logs what went wrong, once; `text` says it without a traceback."""
        method, target = (part.decode("latin-1") for part in self.target)
        log = logging.getLogger("hornbeam.asgi")
        if text:
            log.error("%s %s: %s", method, target, text)
            return
        info = (type(exc), exc, application_part(exc.__traceback__))
        log.error("%s %s raised", method, target, exc_info=info)


async def _awaiting(run: Any) -> None:
    if not hasattr(run, "__await__"):
        text = f"the application returned a value of type {type(run).__name__}, nothing to await"
        raise TypeError(f"{text}; is it a WSGI application? That is worker_class wsgi")
    await run


def out_of_order(event: Event, expected: str) -> RuntimeError:
    """What `send` raises for an event that is not legal now."""
    return RuntimeError(f"expected {expected}, got {shortened(event)}")


def shortened(event: Any) -> str:
    """`event` as Python writes it, cut."""
    text = repr(event)
    return text if len(text) <= 200 else text[:197] + "..."


def event_type(event: Any) -> str:
    """The type of an event; raises as `send` is to for what is no event."""
    try:
        kind = event["type"]
    except (TypeError, KeyError):
        kind = None
    if not isinstance(kind, str):
        raise RuntimeError(f"expected a dict with the key 'type', got {shortened(event)}")
    return kind
