# SPDX-License-Identifier: Apache-2.0
"""The event loop of a Python node, in a thread of its own: it listens, registers, and stops.

`start` and `stop` are called by whoever owns the node; everything else runs in that thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from weakref import WeakSet

from ._distribution_connection import Event
from ._distribution_errors import DistributionError
from ._distribution_framing import Limits
from ._hidden_arrivals import Arrivals
from ._hidden_core import Core, Wire
from ._hidden_epmd import Registered, register
from ._hidden_functions import Functions
from ._hidden_loopback import Loopback
from ._hidden_peers import FIRST_PAUSE, LONGEST_PAUSE, Peers
from ._hidden_tls import TLS
from .errors import HornbeamError, NotConnected

__all__ = ["Engine", "Settings"]

log = logging.getLogger("hornbeam.distribution")
START: Final = 20.0
"""Seconds that listening and registering may take together."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node was asked to be; see `Node`."""

    name: str
    cookie: str = field(repr=False)
    listen: bool
    host: str | None
    port: int
    epmd: bool
    net_ticktime: float
    tls: TLS | None
    threads: int
    limits: Limits


class Engine:
    """A running node.

    Attributes:
        core, peers, functions, loop: its parts, once `start` has returned.
        port: where it listens; 0: nowhere.
        owner: the process that has its thread; a forked child has not.
    """

    core: Core
    functions: Functions

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.port = 0
        self.owner = os.getpid()
        contexts = None if settings.tls is None else settings.tls.contexts()
        self._contexts = contexts
        self.loop = asyncio.new_event_loop()  # last of what may fail: it has descriptors
        self.peers = Peers(
            self.loop, settings.cookie, settings.net_ticktime, settings.limits, contexts
        )
        self._thread = threading.Thread(
            target=self._run, name=f"hornbeam-node-{settings.name}", daemon=True
        )
        self._server: asyncio.Server | None = None
        self._registered: Registered | None = None
        self._keeper: asyncio.Task[None] | None = None

    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def disown(self) -> None:
        """In a forked child: its copies of the sockets would keep connections, and the name, from
        ending with the parent. Their numbers stay taken until those who hold them let go."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for each in self._sockets():
            if each.fileno() >= 0:
                os.dup2(nothing, each.fileno(), inheritable=False)
        os.close(nothing)

    def _sockets(self) -> list[TransportSocket]:
        server = () if self._server is None else self._server.sockets
        registered = () if self._registered is None else (self._registered.socket,)
        return [*server, *registered, *self.peers.sockets()]

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def start(self) -> None:
        """Listens and registers.

        Raises:
            NotConnected: no EPMD, the name is taken, or the port is not free.
        """
        _engines.add(self)
        self._thread.start()
        try:
            self.do(self._begin(), START)
        except DistributionError as exc:
            self.stop(1.0)
            raise NotConnected(f"node {self._settings.name}", exc.reason) from exc
        except OSError as exc:
            self.stop(1.0)
            if isinstance(exc, HornbeamError):
                raise
            where = f"{self._settings.host or self._host()}:{self._settings.port}"
            raise NotConnected(
                f"node {self._settings.name}", f"cannot listen on {where}: {exc}"
            ) from exc
        except BaseException:
            self.stop(1.0)
            raise

    def do(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """Runs a coroutine in the loop, for another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Calls a function in the loop."""
        self.loop.call_soon_threadsafe(function, *args)

    def _host(self) -> str:
        return self._settings.name.partition("@")[2]

    async def _begin(self) -> None:
        settings = self._settings
        creation = secrets.randbelow((1 << 32) - 4) + 4
        if settings.listen:
            await self._listen()
        if settings.listen and settings.epmd:
            self._registered = await register(self._local_name(), self.port, start=True)
            creation = self._registered.creation
            self._keeper = self.loop.create_task(self._stay_registered())
        self.core = Core(settings.name, creation, self.peers.connect)
        self.functions = Functions(self.core, self.loop, settings.threads)
        self._arrivals = Arrivals(self.core, self.functions.spawn)
        loopback = Loopback(settings.name, creation, self._handle)
        self.core.wires[settings.name] = loopback
        self.peers.begin(self.core, self._arrivals, creation)
        if self._server is not None:
            await self._server.start_serving()

    def _local_name(self) -> str:
        return self._settings.name.partition("@")[0]

    def _handle(self, node: str, wire: Wire, event: Event) -> None:
        self._arrivals.handle(node, wire, event)

    async def _listen(self) -> None:
        # One family, hence one port: that of inet_tcp_dist, unless the address is of the other.
        host = self._settings.host or self._host()
        # Not served before the node has its creation, which EPMD gives for the port.
        self._server = await self.loop.create_server(
            lambda: self.peers.accepted(),
            host,
            self._settings.port,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            ssl=None if self._contexts is None else self._contexts[1],
            start_serving=False,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stay_registered(self) -> None:
        """Registers again when EPMD was restarted, so that others still find this node."""
        pause = FIRST_PAUSE
        while self._registered is not None:
            await self._registered.lost()
            log.warning("EPMD is gone; %s registers again", self._settings.name)
            while True:
                try:
                    self._registered = await register(self._local_name(), self.port, start=False)
                    break
                except OSError as exc:  # DistributionError: another node has the name meanwhile
                    log.warning("%s is not registered: %s", self._settings.name, exc)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
            pause = FIRST_PAUSE

    def stop(self, seconds: float) -> None:
        """Ends all processes and connections, then the loop and its thread."""
        if not self._thread.is_alive():
            return
        try:
            with contextlib.suppress(TimeoutError):
                self.do(self._end(), seconds)
        finally:
            self.soon(self.loop.stop)
            self._thread.join(seconds)

    async def _end(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        if self._server is not None:
            self._server.close()
        if hasattr(self, "core"):
            self.core.end_all()
            self.functions.close()
        await self.peers.close()
        if self._registered is not None:
            self._registered.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


_engines: WeakSet[Engine] = WeakSet()


def _in_forked_child() -> None:
    for engine in tuple(_engines):
        engine.disown()
    _engines.clear()


os.register_at_fork(after_in_child=_in_forked_child)
