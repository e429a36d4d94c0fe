# SPDX-License-Identifier: Apache-2.0
"""A Python program as a node of an Erlang cluster: `with Node("python") as node: …`.

The node's event loop has a thread of its own; every method may be called from any thread, and
`Node.aio` has those that wait for event loops. Other nodes see a hidden node: it is in their
`nodes(hidden)`, and is connected to those that it, or they, want to talk to. Needs no worker and
no hornbeam node.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import _nodes
from ._distribution_errors import DistributionError
from ._distribution_framing import Limits
from ._distribution_signals import Encoded
from ._hidden_aio import AsyncNode
from ._hidden_calls import call, cast, rpc_call, rpc_cast
from ._hidden_core import MAILBOX, Wire
from ._hidden_engine import Engine, Settings
from ._hidden_names import find_cookie, full_name
from ._hidden_process import Process, Target
from ._hidden_servers import Handler, serve
from ._hidden_tls import TLS
from ._hidden_waits import Operation, blocking
from ._operations import synchronous
from .errors import CallTimeout, NodeDown, NotConnected
from .terms import Pid

__all__ = [
    "TLS",
    "AsyncNode",
    "DistributionError",
    "Encoded",
    "Limits",
    "Node",
    "Process",
    "Target",
]

T = TypeVar("T")


class Node:
    """A node.

    Args:
        name: `name@host`, or the name alone: the host is then this one's, without its domain.
        cookie: the secret of the cluster; None: the environment variable HORNBEAM_COOKIE, else
            `cookie_file`.
        cookie_file: a file with it, which only its owner may read; True: `~/.erlang.cookie`.
        listen: whether others can connect to this node; if not, EPMD is not told of it either.
        host: address to listen on; None: the one that the host of `name` has.
        port: to listen on; 0: any that is free.
        epmd: whether EPMD is told (and started, if there is none); without it others need `port`.
        net_ticktime: seconds of silence after which a node counts as gone; that of all nodes
            should be the same (Erlang's default is 60).
        tls: certificates: all connections are TLS then.
        threads: how many functions that other nodes call may run at a time (`allow`).
        limits: what another node can make this one keep.

    Attributes:
        name: with its host.
        aio: the methods that wait, for `await`.

    Raises:
        ValueError: a name or cookie that no node can have.
        NotConnected: no cookie was given.
    """

    def __init__(
        self,
        name: str,
        *,
        cookie: str | None = None,
        cookie_file: str | Path | bool = False,
        listen: bool = True,
        host: str | None = None,
        port: int = 0,
        epmd: bool = True,
        net_ticktime: float = 60.0,
        tls: TLS | None = None,
        threads: int = 8,
        limits: Limits | None = None,
    ) -> None:
        if not net_ticktime > 0:
            raise ValueError(f"net_ticktime is a number of seconds above 0, not {net_ticktime!r}")
        self.name = full_name(name)
        secret = find_cookie(cookie, cookie_file)
        self._settings = Settings(
            self.name, secret, listen, host, port, epmd, net_ticktime, tls, threads,
            limits or Limits(),
        )  # fmt: skip
        self._engine: Engine | None = None
        self.aio = AsyncNode(self)

    def __repr__(self) -> str:
        return f"<Node {self.name}{'' if self._engine else ', stopped'}>"

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> Node:
        """Starts the node, which is usable from then on.

        Raises:
            NotConnected: no EPMD, its name is taken, or its port is not free.
            OSError: a file of `tls` cannot be used.
        """
        if self._engine is None:
            engine = Engine(self._settings)
            engine.start()
            self._engine = engine
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Stops the node: its processes end, its connections close. It can be started again.

        Args:
            timeout: seconds for what was sent to leave.
        """
        if self._engine is not None and self._engine.is_own_thread():
            raise RuntimeError("stop would wait for the node's event loop in it; use Node.aio.stop")
        engine, self._engine = self._engine, None
        if engine is not None and engine.owner == os.getpid():
            engine.stop(timeout)

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Node:
        await self.aio.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aio.stop()

    def _running(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise NotConnected(f"node {self.name}", "it was not started: use 'with' or start()")
        if engine.owner != os.getpid():
            raise NotConnected(f"node {self.name}", "a forked child has no part in it: make one")
        return engine

    def _wait(self, operation: Operation[T], seconds: float | None, what: str) -> T:
        if self._running().is_own_thread():
            operation.close()
            raise RuntimeError(f"{what} would block the node's event loop; use Node.aio in it")
        return blocking(operation, seconds, what)

    @property
    def port(self) -> int:
        """Where it listens; 0: nowhere."""
        return self._running().port

    @property
    def creation(self) -> int:
        """Which incarnation of its name it is, u32."""
        return self.pid.creation

    @property
    def pid(self) -> Pid:
        """The process that `send`, `call` and the like come from."""
        return self._running().core.caller.pid

    # -- other nodes -----------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """Names of the nodes that this one is connected to."""
        return list(self._running().peers.links)

    def connect(
        self,
        node: str,
        *,
        address: tuple[str, int] | None = None,
        keep: bool = False,
        timeout: float | None = 7.0,
    ) -> None:
        """Connects to a node; not needed for `send` and `call`, which do it themselves.

        Args:
            node: its name, with host.
            address: where it listens, for a node without EPMD; remembered.
            keep: whether to connect again whenever the connection is lost, with growing pauses
                (0.1 to 10 s). Then nothing is raised when the node is not there yet.
            timeout: seconds.

        Raises:
            NodeDown: it cannot be reached, or refuses: the reason, and as its cause what the node
                has said (DistributionError). Another cookie is the usual reason.
            CallTimeout: it took too long.
        """
        self._wait(self.connecting(node, address, keep), timeout, f"connect to {node}")

    def disconnect(self, node: str) -> bool:
        """Ends the connection to a node; whether there was one."""
        engine = self._running()
        there = node in engine.peers.links
        engine.soon(engine.peers.drop, node)
        return there

    def ping(self, node: str, timeout: float | None = 7.0) -> bool:
        """Whether a node answers, as net_adm:ping."""
        return self._wait(self.pinging(node), timeout, f"ping {node}")

    def monitor_nodes(self, process: Process, on: bool = True) -> None:
        """Whether a process gets `nodeup` and `nodedown` messages, see `Process.receive`.

        Raises:
            NotConnected: the process has ended.
        """
        self._running().core.watch_nodes(process, on)

    # -- processes -------------------------------------------------------------------------------

    def process(self, name: str | None = None, *, mailbox_limit: int = MAILBOX) -> Process:
        """A new process, for receiving messages; `with` ends it.

        Args:
            name: to register it under; None: it has a pid only.
            mailbox_limit: bytes of messages it may leave unreceived, before it ends with reason
                `mailbox_full`.

        Raises:
            ValueError: the name is taken.
        """
        return self._running().core.spawn(name, mailbox_limit)

    def register(self, name: str, process: Process) -> None:
        """Gives a process a further name.

        Raises:
            ValueError: it is taken.
            NotConnected: the process has ended.
        """
        self._running().core.register(name, process)

    def unregister(self, name: str) -> None:
        """Takes a name away. Raises NotRegistered."""
        self._running().core.unregister(name)

    def whereis(self, name: str) -> Pid | None:
        """The pid of who has a name on this node."""
        process = self._running().core.names.get(name)
        return None if process is None else process.pid

    def serve(
        self,
        name: str,
        call: Handler | None = None,
        *,
        cast: Handler | None = None,
        info: Handler | None = None,
    ) -> Process:
        """Starts a process that answers gen_server:call, under a name.

        Args:
            name: of the process.
            call: gets a request, returns the reply. A call that raises fails for its caller with
                reason `{python_error, Type, Message, Traceback}`; the server goes on.
            cast, info: get requests without a reply, and other messages.

        Plain functions get one message at a time, in a thread of the server; with coroutine
        functions up to 256 are worked on at a time. `close` of the process ends it.

        Raises:
            ValueError: the name is taken, or there is no function.
        """
        engine = self._running()
        return serve(engine.core, engine.loop, name, call, cast, info)

    def allow(self, module: str, function: str, target: Callable[..., Any]) -> None:
        """Lets other nodes call a function by `rpc` and `erpc`, as Module:Function.

        Nothing else can be called: there is no way from a name to what Python could import.

        Args:
            target: gets the arguments; a plain function runs in one of `threads` threads, a
                coroutine function in the node's event loop.
        """
        self._running().functions.allow(module, function, target)

    # -- requests --------------------------------------------------------------------------------

    def send(self, to: Target, message: object, timeout: float | None = 5.0) -> None:
        """Sends a message, see `Process.send`."""
        self._wait(self.sending(to, message), timeout, "send")

    def call(self, target: Target, request: object, timeout: float | None = 5.0) -> Any:
        """gen_server:call: the reply of a process.

        Args:
            target: a Pid, or `(name, node)`.
            timeout: seconds; None: for ever. A reply that comes later is dropped.

        Raises:
            NotRegistered: there is no such process.
            NodeDown: the node cannot be reached, or was lost before the reply.
            CallTimeout: there was no reply in time.
            RemoteError: the process ended before it replied: class `exit` and the reason.
            HandlerError: it is a server of a Python node, whose function raised.
        """
        return self._wait(self.calling(target, request), timeout, f"call {target}")

    def cast(self, target: Target, request: object, timeout: float | None = 5.0) -> None:
        """gen_server:cast: a request without a reply. Raises what `send` raises."""
        self._wait(self.casting(target, request), timeout, f"cast {target}")

    def rpc_call(
        self,
        node: str,
        module: str,
        function: str,
        args: Sequence[object] = (),
        timeout: float | None = 5.0,
    ) -> Any:
        """erpc:call: what a function of another node returns, as it is.

        Raises:
            RemoteError: it failed: class, reason, stack.
            NodeDown, CallTimeout: as `call`; the function may go on all the same.
        """
        what = f"rpc_call {module}:{function}"
        return self._wait(self.rpc_calling(node, module, function, args), timeout, what)

    def rpc_cast(
        self,
        node: str,
        module: str,
        function: str,
        args: Sequence[object] = (),
        timeout: float | None = 5.0,
    ) -> None:
        """erpc:cast: starts a function of another node; its failure is not told."""
        what = f"rpc_cast {module}:{function}"
        self._wait(self.rpc_casting(node, module, function, args), timeout, what)

    # -- the same, as operations (`_hidden_waits`) -------------------------------------------------

    def connecting(self, node: str, address: tuple[str, int] | None, keep: bool) -> Operation[None]:
        engine = self._running()
        full = full_name(node)
        if address is not None:
            engine.peers.addresses[full] = address
        if keep:
            engine.soon(engine.peers.keep, full)
        try:
            yield from engine.core.reach(full)
        except (NodeDown, CallTimeout):
            if not keep:
                raise

    def pinging(self, node: str) -> Operation[bool]:
        try:
            wire: Wire = yield from self._running().core.reach(full_name(node))
        except NodeDown:
            return False
        return wire is not None

    def sending(self, to: Target, message: object) -> Operation[None]:
        core = self._running().core
        return core.send(core.caller.pid, to, message)

    def calling(self, target: Target, request: object) -> Operation[Any]:
        return call(self._running().core, target, request)

    def casting(self, target: Target, request: object) -> Operation[None]:
        return cast(self._running().core, target, request)

    def rpc_calling(
        self, node: str, module: str, function: str, args: Sequence[object]
    ) -> Operation[Any]:
        return rpc_call(self._running().core, node, module, function, args)

    def rpc_casting(
        self, node: str, module: str, function: str, args: Sequence[object]
    ) -> Operation[None]:
        return rpc_cast(self._running().core, node, module, function, args)


class _CallableModule(types.ModuleType):
    """This module has the name of the function `hornbeam_erlang.node()`, and takes its place in
    the package when it is imported: it can therefore be called as that function."""

    __call__ = staticmethod(synchronous(_nodes.node))


sys.modules[__name__].__class__ = _CallableModule
