# SPDX-License-Identifier: Apache-2.0
"""The socket of one connection to another node, around the protocol without sockets.

An asyncio protocol: it runs in the node's event loop, but for `write` and what it needs, which any
thread may call. Signs of life are sent and missed here.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio.trsock import TransportSocket
from concurrent.futures import Future
from typing import Final, Protocol

from ._distribution_connection import Connection, Event, Tick
from ._distribution_errors import DistributionError
from ._distribution_handshake import Connected, ConnectionRequest
from .errors import NodeDown

__all__ = ["Link", "LinkOwner"]

HIGH_WATER: Final = 4 * 1024 * 1024
"""Bytes that wait for a peer before senders wait, too."""
ABANDONED: Final = 256 * 1024 * 1024
"""Bytes that wait for a peer which still asks for more: it is given up."""
TICKS: Final = 4  # times in a tick time that life is looked at


class LinkOwner(Protocol):
    """Whom a link tells what happens; all in the node's event loop."""

    net_ticktime: float

    def requested(self, link: Link, request: ConnectionRequest) -> str:
        """The answer to a node that wants to connect."""

    def up(self, link: Link) -> None:
        """The handshake is over."""

    def arrived(self, link: Link, event: Event) -> None:
        """The peer says something."""

    def down(self, link: Link, reason: str) -> None:
        """The connection is gone, or was never there."""


class Link(asyncio.Protocol):
    """One connection.

    Args:
        owner: who is told.
        core: the protocol.
        loop: the node's event loop.

    Attributes:
        peer: the name of the other node, empty until it is known.
        ready: this link, once the handshake is over; NodeDown or DistributionError if it fails.
    """

    def __init__(self, owner: LinkOwner, core: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self.peer = ""
        self.ready: asyncio.Future[Link] = loop.create_future()
        self.error: DistributionError | None = None
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._size = 0  # bytes in `_waiting`
        self._paused = False
        self._room: list[Future[None]] = []
        self._alive = self._spoken = False
        self._silent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = ""

    # -- any thread ------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends bytes, in the order of the calls; dropped once the connection is gone."""
        if not data:
            return
        with self._lock:
            first = not self._waiting
            self._waiting.append(data)
            self._size += len(data)
        if first:
            self._call_soon()

    def _call_soon(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop is closed, and the node with it
            self._waiting.clear()

    def room(self) -> Future[None] | None:
        """What to wait for before more is sent; None: nothing."""
        with self._lock:
            if self._closed or not self._paused and self._size < HIGH_WATER:
                return None
            future: Future[None] = Future()
            # Those who have given up are forgotten, so that a peer that never reads costs no more.
            self._room = [*(waiting for waiting in self._room if not waiting.done()), future]
            return future

    # -- the event loop --------------------------------------------------------------------------

    def _flush(self) -> None:
        with self._lock:
            data, self._waiting = self._waiting, []
            self._size = 0
        if self._transport is None or self._transport.is_closing():
            return
        self._spoken = True
        self._transport.write(b"".join(data))
        if self._transport.get_write_buffer_size() > ABANDONED:
            self.close(f"it does not read: more than {ABANDONED} bytes wait for it")
        elif not self._paused:
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            waiting, self._room = self._room, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._let_go()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._closed:  # while it was being made
            transport.abort()
            return
        transport.set_write_buffer_limits(HIGH_WATER)
        transport.write(self.core.data_to_send())

    def data_received(self, data: bytes) -> None:
        self._alive = True
        try:
            for event in self.core.receive(data):
                self._handle(event)
        except DistributionError as exc:
            self.error = exc
            self.close(str(exc))
        else:
            if not self.core.connected and self._transport is not None:
                self._transport.write(self.core.data_to_send())

    def _handle(self, event: Event) -> None:
        if isinstance(event, Tick):
            return
        if isinstance(event, ConnectionRequest):
            self.peer = event.peer.name
            status = self._owner.requested(self, event)
            self.write_now(self.core.answer(status))
            if status in ("nok", "not_allowed"):
                self.finish(f"its connection was answered {status}")
        elif isinstance(event, Connected):
            self._connected(event)
        elif not self._closed:
            self._owner.arrived(self, event)

    def _connected(self, event: Connected) -> None:
        self.peer = event.peer.name
        self.write_now(self.core.data_to_send())
        self._watch()
        self._owner.up(self)
        if not self.ready.done():
            self.ready.set_result(self)

    @property
    def socket(self) -> TransportSocket | None:
        """Its socket, once there is one."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def write_now(self, data: bytes) -> None:
        """Sends bytes without a turn of the loop between."""
        if self._transport is not None:
            self._transport.write(data)

    def eof_received(self) -> None:
        try:
            self.core.eof()
        except DistributionError as exc:
            self.error = exc

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._closed or str(self.error or exc or "the connection was closed")
        self._closed = reason
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()
        if not self.ready.done():
            failed = NodeDown(self.peer, reason)
            failed.__cause__ = self.error
            self.ready.set_exception(failed)
            self.ready.exception()  # read: whoever waited for it may be gone
        self._owner.down(self, reason)

    def close(self, reason: str) -> None:
        """Ends the connection at once; what waits to be sent is dropped."""
        if not self._closed:
            self._closed = reason
            if self._transport is not None:
                self._transport.abort()

    def finish(self, reason: str) -> None:
        """Ends the connection when what was written has been sent."""
        if not self._closed:
            self._flush()
            self._closed = reason
            if self._transport is not None:
                self._transport.close()

    # -- signs of life ---------------------------------------------------------------------------

    def _watch(self) -> None:
        self._timer = self._loop.call_later(self._owner.net_ticktime / TICKS, self._look)

    def _look(self) -> None:
        """Four times in a tick time: says something if nothing was said, counts silence."""
        if not self._spoken:
            self.write_now(self.core.tick())
        self._spoken = False
        self._silent = 0 if self._alive else self._silent + 1
        self._alive = False
        if self._silent >= TICKS:
            self.close("net_tick_timeout: it gave no sign of life")
        else:
            self._watch()
