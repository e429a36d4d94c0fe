# SPDX-License-Identifier: Apache-2.0
"""What a Python node knows: its processes and names, who is linked and monitored, which calls wait.

Runs in any thread; tables are changed under one lock, which is held for no wait and no decoding.
What arrives from other nodes is in `_hidden_arrivals`, calls are in `_hidden_calls`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Protocol

from . import codec
from ._distribution_connection import Encoded
from ._distribution_signals import Signals
from ._hidden_identifiers import Identifiers
from ._hidden_process import ACTIVE, NORMAL, Process, Target
from ._hidden_terms import decoded, encoded
from ._hidden_waits import Operation
from .errors import NodeDown, NotConnected, NotRegistered
from .terms import Atom, Pid, Ref

__all__ = ["Core", "Pending", "Wire"]

NOPROC: Final = Encoded(codec.encode(Atom("noproc")))
NOCONNECTION: Final = Encoded(codec.encode(Atom("noconnection")))
MAILBOX: Final = 64 * 1024 * 1024
"""Bytes of messages that a process may leave unreceived."""


class Wire(Protocol):
    """A connection to a node, or to oneself."""

    @property
    def core(self) -> Signals:
        """Makes bytes of what is to be said."""

    def write(self, data: bytes) -> None:
        """Sends them."""

    def room(self) -> Future[None] | None:
        """What to wait for before more is sent; None: nothing."""


class Pending:
    """A request that waits for the other side.

    Attributes:
        node: where it went.
        future: ("reply", message) or ("down", reason): external terms.
    """

    __slots__ = ("future", "node")

    def __init__(self, node: str) -> None:
        self.node = node
        self.future: Future[tuple[str, bytes]] = Future()

    def resolve(self, kind: str, term: bytes) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result((kind, term))


class Core:
    """The tables of a node.

    Args:
        name: of the node.
        creation: u32.
        connect: gives a connection to a node that there is none to.

    Attributes:
        wires: connections by the name of the node at their other end, its own among them.
        pending: requests by their reference.
        caller: the process that requests come from.
    """

    def __init__(self, name: str, creation: int, connect: Callable[[str], Future[Wire]]) -> None:
        self.name = name
        self.identifiers = Identifiers(name, creation)
        self.wires: dict[str, Wire] = {}
        self.pending: dict[Ref, Pending] = {}
        self.processes: dict[Pid, Process] = {}
        self.names: dict[str, Process] = {}
        self.node_watchers: set[Process] = set()
        self.lock = threading.RLock()
        self._connect = connect
        self._unlinks = 0
        self.caller = self.spawn()

    # -- processes -------------------------------------------------------------------------------

    def spawn(self, name: str | None = None, mailbox_limit: int = MAILBOX) -> Process:
        """A new process, registered if it has a name. Raises ValueError: the name is taken."""
        process = Process(self, self.identifiers.pid(), mailbox_limit)
        with self.lock:
            self.processes[process.pid] = process
            try:
                if name is not None:
                    self.register(name, process)
            except BaseException:
                del self.processes[process.pid]
                raise
        return process

    def register(self, name: str, process: Process) -> None:
        """Gives a process a name. Raises ValueError: another one has it. NotConnected: the process
        has ended."""
        Atom(name)
        with self.lock:
            if name in self.names:
                raise ValueError(f"the name {name!r} is taken by {self.names[name]!r}")
            self._check_alive(process, "register")
            self.names[name] = process
            process.names.add(name)

    def _check_alive(self, process: Process, what: str) -> None:
        """What is noted for a process goes when it ends: one that has ended is given nothing."""
        if process.pid not in self.processes:
            raise NotConnected(what, "the process has ended")

    def watch_nodes(self, process: Process, on: bool) -> None:
        """Whether a process is told of nodes that come and go. Raises NotConnected: it has
        ended."""
        with self.lock:
            if on:
                self._check_alive(process, "monitor_nodes")
                self.node_watchers.add(process)
            else:
                self.node_watchers.discard(process)

    def unregister(self, name: str) -> None:
        """Takes a name away. Raises NotRegistered."""
        with self.lock:
            process = self.names.pop(name, None)
            if process is None:
                raise NotRegistered(name)
            process.names.discard(name)

    def is_alive(self, pid: Pid) -> bool:
        return pid in self.processes

    def find(self, who: Pid | Atom) -> Process | None:
        """The process of a pid or a name."""
        return self.names.get(who) if isinstance(who, str) else self.processes.get(who)

    def end(self, process: Process, reason: object) -> None:
        """Ends a process; all who are linked to it or monitor it are told."""
        why = encoded(reason)
        with self.lock:
            if self.processes.pop(process.pid, None) is None:
                return
            self.node_watchers.discard(process)
            for name in process.names:
                del self.names[name]
            links = [to for to, state in process.links.items() if state == ACTIVE]
            watchers, monitors = list(process.watchers.items()), list(process.monitors.items())
        process.mailbox.close(f"the process has ended: {decoded(why)!r}")
        for to in links:
            self.tell(to.node, lambda signals, to=to: signals.exit(process.pid, to, why))
        for ref, (watcher, target) in watchers:
            self._tell_end(target, watcher, ref, why)
        for ref, (node, target) in monitors:
            self.tell(node, lambda s, t=target, r=ref: s.demonitor(process.pid, t, r))

    def _tell_end(self, target: Pid | Atom, watcher: Pid, ref: Ref, why: Encoded) -> None:
        self.tell(watcher.node, lambda signals: signals.monitor_exit(target, watcher, ref, why))

    def tell(self, node: str, make: Callable[..., bytes]) -> None:
        """Says something to a node if it is connected; without waiting for room."""
        wire = self.wires.get(node)
        if wire is not None:
            wire.write(make(wire.core))

    # -- operations ------------------------------------------------------------------------------

    def reach(self, node: str) -> Operation[Wire]:
        """The connection to a node, made if there is none, once it has room.

        Raises:
            NodeDown: it cannot be reached.
        """
        wire = self.wires.get(node)
        if wire is None:
            wire = yield self._connect(node)
        room = wire.room()
        if room is not None:
            try:
                yield room
            finally:
                room.cancel()
            self.check(node, wire)
        return wire

    def check(self, node: str, wire: Wire) -> None:
        """After something was noted for the end of a connection: is it still there?"""
        if self.wires.get(node) is not wire:
            raise NodeDown(node, "the connection was lost")

    def node_of(self, target: Target) -> str:
        """The node where somebody is."""
        if isinstance(target, str):
            return self.name
        if isinstance(target, tuple):
            return target[1]
        return str(target.node)

    def send(self, sender: Pid, to: Target, message: object) -> Operation[None]:
        """Sends a message."""
        term = encoded(message)
        wire = yield from self.reach(self.node_of(to))
        wire.write(addressed(wire.core, sender, to, term))

    def link(self, process: Process, to: Pid) -> Operation[None]:
        """Links two processes."""
        wire = yield from self.reach(to.node)
        with self.lock:
            self._check_alive(process, "link")
            if process.links.get(to) == ACTIVE:
                return
            process.links[to] = ACTIVE
            wire.write(wire.core.link(process.pid, to))
        if self.wires.get(to.node) is not wire:
            with self.lock:
                is_news = process.links.pop(to, None) is not None
            if is_news:  # else the process has an `EXIT` of it
                raise NodeDown(to.node, "the connection was lost")

    def unlink(self, process: Process, to: Pid) -> None:
        """Ends a link."""
        with self.lock:
            if process.links.get(to) != ACTIVE:
                return
            self._unlinks += 1
            number = process.links[to] = self._unlinks
            self.tell(to.node, lambda signals: signals.unlink(number, process.pid, to))

    def monitor(self, process: Process, target: Target) -> Operation[Ref]:
        """Monitors a process or a name."""
        node, who = self.node_of(target), monitored(target)
        wire = yield from self.reach(node)
        ref = self.identifiers.ref()
        with self.lock:
            self._check_alive(process, "monitor")
            process.monitors[ref] = (node, who)
            wire.write(wire.core.monitor(process.pid, who, ref))
        if self.wires.get(node) is not wire:
            with self.lock:
                is_news = process.monitors.pop(ref, None) is not None
            if is_news:  # else the process has a `DOWN` of it
                raise NodeDown(node, "the connection was lost")
        return ref

    def demonitor(self, process: Process, ref: Ref) -> None:
        """Takes a monitor back."""
        with self.lock:
            found = process.monitors.pop(ref, None)
            if found is not None:
                self.tell(found[0], lambda signals: signals.demonitor(process.pid, found[1], ref))

    def exit(self, sender: Pid, to: Pid, reason: object) -> Operation[None]:
        """Sends an exit signal."""
        why = encoded(reason)
        wire = yield from self.reach(to.node)
        wire.write(wire.core.exit2(sender, to, why))

    def end_all(self) -> None:
        """Ends every process, when the node stops."""
        for process in list(self.processes.values()):
            self.end(process, NORMAL)


def monitored(target: Target) -> Pid | Atom:
    """What is monitored, for its own node."""
    if isinstance(target, Ref):
        raise TypeError("an alias cannot be monitored; monitor the process")
    if isinstance(target, tuple):
        return Atom(target[0])
    return Atom(target) if isinstance(target, str) else target


def addressed(signals: Signals, sender: Pid, to: Target, term: Encoded) -> bytes:
    """A message to whoever `to` is."""
    if isinstance(to, Pid):
        return signals.send(sender, to, term)
    if isinstance(to, Ref):
        return signals.alias_send(sender, to, term)
    return signals.register_send(sender, to if isinstance(to, str) else to[0], term)
