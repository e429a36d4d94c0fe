# SPDX-License-Identifier: Apache-2.0
"""The connections of a Python node: made, accepted, kept, lost.

Runs in the node's event loop; `connect` may be called from any thread. Between two nodes there is
one connection: of two that are made at once the one from the greater name stays, as among Erlang
nodes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol

from ._distribution_connection import Connection, Event, identity
from ._distribution_errors import Refused
from ._distribution_framing import Limits
from ._distribution_greetings import Identity
from ._distribution_handshake import ConnectionRequest
from ._hidden_core import Core, Wire
from ._hidden_epmd import look_up
from ._hidden_link import Link
from .errors import NodeDown, Overloaded

__all__ = ["Peers", "PeersOwner"]

log = logging.getLogger("hornbeam.distribution")
SETUP: Final = 7.0
"""Seconds that a connection may take until the handshake is over."""
MAX_UNGREETED: Final = 128
"""Connections that others have opened without having proved that they know the cookie."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0


class PeersOwner(Protocol):
    """Who is told, in the event loop."""

    def handle(self, node: str, wire: Wire, event: Event) -> None:
        """A node says something."""

    def node_up(self, node: str) -> None:
        """There is a connection to a node."""

    def node_down(self, node: str) -> None:
        """There is none any more."""


class Peers:
    """Connections of one node.

    Args:
        loop: the node's event loop.
        cookie: the secret of the cluster.
        net_ticktime: seconds of silence after which a node counts as gone.
        limits: what a peer may make this node keep.
        tls: contexts for connecting and for accepting; None: no TLS.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cookie: str,
        net_ticktime: float,
        limits: Limits,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
    ) -> None:
        self.net_ticktime = net_ticktime
        self.links: dict[str, Link] = {}
        self.addresses: dict[str, tuple[str, int]] = {}
        self.kept: set[str] = set()
        self._loop = loop
        self._cookie = cookie
        self._limits = limits
        self._tls = tls
        self._attempts: dict[str, asyncio.Task[Link]] = {}
        self._outgoing: dict[str, Link] = {}
        self._ungreeted: dict[Link, None] = {}  # a set that knows the oldest
        self._arrived: dict[str, asyncio.Future[Link]] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    def begin(self, core: Core, arrivals: PeersOwner, creation: int) -> None:
        """Takes what is known once the node has its creation."""
        self._core = core
        self._arrivals = arrivals
        self._identity: Identity = identity(core.name, creation)

    # -- connecting ------------------------------------------------------------------------------

    def connect(self, node: str) -> Future[Wire]:
        """The connection to a node, made if there is none; from any thread.

        Of the future: NodeDown, DistributionError as its cause.
        """
        return asyncio.run_coroutine_threadsafe(self.reach(node), self._loop)

    async def reach(self, node: str) -> Wire:
        """The connection to a node, made if there is none."""
        link = self.links.get(node)
        if link is not None:
            return link
        if self._closing:
            raise NodeDown(node, "this node has stopped")
        attempt = self._attempts.get(node)
        if attempt is None:
            attempt = self._attempts[node] = self._loop.create_task(self._attempt(node))
            attempt.add_done_callback(lambda task: self._attempted(node, task))
        # Shielded: others may wait for the same.
        return await asyncio.shield(attempt)

    def _attempted(self, node: str, task: asyncio.Task[Link]) -> None:
        del self._attempts[node]
        if not task.cancelled():
            task.exception()  # read: whoever waited may be gone

    async def _attempt(self, node: str) -> Link:
        try:
            async with asyncio.timeout(SETUP):
                host, port = self.addresses.get(node) or await look_up(node)
                return await self._open(node, host, port)
        except TimeoutError as exc:
            raise NodeDown(node, f"no connection within {SETUP:g} s") from exc
        except NodeDown:
            raise
        except (OSError, UnicodeError) as exc:  # UnicodeError: no host can be called so
            why = getattr(exc, "strerror", None) or exc
            raise NodeDown(node, f"it cannot be reached: {why}") from exc

    async def _open(self, node: str, host: str, port: int) -> Link:
        core = Connection.connect(
            self._identity, self._cookie, node, limits=self._limits, tls=self._tls is not None
        )
        link = self._outgoing[node] = Link(self, core, self._loop)
        link.peer = node
        try:
            if self._tls is None:
                await self._loop.create_connection(lambda: link, host, port)
            else:
                await self._loop.create_connection(
                    lambda: link, host, port, ssl=self._tls[0], server_hostname=host
                )
            return await link.ready
        except NodeDown as exc:
            if isinstance(exc.__cause__, Refused) and exc.__cause__.status == "nok":
                return await self._from_there(node)
            raise
        finally:
            self._outgoing.pop(node, None)
            if self.links.get(node) is not link:
                link.close("the connection was not finished")

    async def _from_there(self, node: str) -> Link:
        """The connection that the other node is making at the same time."""
        link = self.links.get(node)
        if link is not None:
            return link
        arrived = self._arrived.setdefault(node, self._loop.create_future())
        try:
            return await arrived
        finally:
            # Given up or not: the next one who waits, waits for another connection.
            if self._arrived.get(node) is arrived:
                del self._arrived[node]

    # -- accepting -------------------------------------------------------------------------------

    def accepted(self) -> Link:
        """The protocol of a connection that somebody has opened."""
        core = Connection.accept(
            self._identity, self._cookie, limits=self._limits, tls=self._tls is not None
        )
        link = Link(self, core, self._loop)
        self._ungreeted[link] = None
        if len(self._ungreeted) > MAX_UNGREETED:
            oldest = next(iter(self._ungreeted))
            del self._ungreeted[oldest]
            self._loop.call_soon(oldest.close, str(Overloaded("handshakes", MAX_UNGREETED)))
        self._loop.call_later(SETUP, self._check_greeted, link)
        return link

    def _check_greeted(self, link: Link) -> None:
        if link in self._ungreeted:
            link.close(f"no handshake within {SETUP:g} s")

    def requested(self, link: Link, request: ConnectionRequest) -> str:
        node = request.peer.name
        if self._closing or node == self._core.name:
            return "not_allowed"
        if node in self.links:
            return "alive"
        if node not in self._outgoing:
            return "ok"
        if node > self._core.name:
            self._give_way(node)
            return "ok_simultaneous"
        return "nok"

    def _give_way(self, node: str) -> None:
        """The other node's connection is the one that stays; who waits for ours gets it."""
        link = self._outgoing.pop(node)
        failed = NodeDown(node, "the other node connects at the same time")
        failed.__cause__ = Refused("nok", failed.reason)
        if not link.ready.done():
            link.ready.set_exception(failed)
        link.close(failed.reason)

    # -- up and down -----------------------------------------------------------------------------

    def up(self, link: Link) -> None:
        node = link.peer
        self._ungreeted.pop(link, None)
        old = self.links.pop(node, None)
        if old is not None:
            # The peer has said that this one is broken.
            self._lost(node, "the node has connected anew")
            old.close("the node has connected anew")
        self.links[node] = link
        self._core.wires[node] = link
        waiting = self._arrived.pop(node, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(link)
        log.info("connected to %s", node)
        self._arrivals.node_up(node)

    def arrived(self, link: Link, event: Event) -> None:
        self._arrivals.handle(link.peer, link, event)

    def down(self, link: Link, reason: str) -> None:
        node = link.peer
        if link in self._ungreeted:
            del self._ungreeted[link]
            # Anybody can open a connection: only one with a name is worth a line.
            level = logging.WARNING if node else logging.DEBUG
            log.log(level, "a connection from %s failed: %s", node or "an unknown node", reason)
        elif self.links.get(node) is link:
            del self.links[node]
            self._lost(node, reason)

    def _lost(self, node: str, reason: str) -> None:
        self._core.wires.pop(node, None)
        level = logging.INFO if self._closing or node not in self.kept else logging.WARNING
        log.log(level, "the connection to %s is lost: %s", node, reason)
        self._arrivals.node_down(node)
        if node in self.kept and not self._closing:
            self.keep(node)

    # -- connections that are kept ---------------------------------------------------------------

    def keep(self, node: str) -> None:
        """Connects to a node now, and again whenever the connection is lost."""
        self.kept.add(node)
        if node not in self._keepers:
            task = self._keepers[node] = self._loop.create_task(self._keep(node))
            task.add_done_callback(lambda task: self._kept(node, task))

    def _kept(self, node: str, task: asyncio.Task[None]) -> None:
        del self._keepers[node]
        # Lost again before it was noticed that there was a connection.
        if not task.cancelled() and task.exception() is None and self._is_missing(node):
            self.keep(node)

    def _is_missing(self, node: str) -> bool:
        return node in self.kept and node not in self.links and not self._closing

    async def _keep(self, node: str) -> None:
        pause = FIRST_PAUSE
        while self._is_missing(node):
            try:
                await self.reach(node)
            except NodeDown as exc:
                log.info("%s; trying again in about %g s", exc, pause)
                # Not all nodes at once, after the one they all were connected to comes back.
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, LONGEST_PAUSE)

    def drop(self, node: str) -> bool:
        """Ends the connection to a node; whether there was one."""
        self.kept.discard(node)
        link = self.links.get(node)
        if link is None:
            return False
        link.finish("it was disconnected")
        return True

    def sockets(self) -> list[TransportSocket]:
        """Those of all connections, also of those that are being made."""
        links = {*self.links.values(), *self._outgoing.values(), *self._ungreeted}
        return [link.socket for link in links if link.socket is not None]

    async def close(self) -> None:
        """Ends all connections, once what was written has been sent."""
        self._closing = True
        for task in [*self._keepers.values(), *self._attempts.values()]:
            task.cancel()
        links = list(self.links.values())
        for link in links:
            link.finish("this node has stopped")
        for link in list(self._ungreeted):
            link.close("this node has stopped")
        await until(lambda: not self.links, 1.0)
        for link in links:
            link.close("this node has stopped")
        await until(lambda: not self.links and not self._ungreeted, 1.0)


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for a condition, at most so long."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
