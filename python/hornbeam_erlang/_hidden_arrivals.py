# SPDX-License-Identifier: Apache-2.0
"""What other nodes tell a Python node, carried out on its tables.

Runs in the node's event loop (for what a node tells itself: in the thread that says it). Nothing
here waits, and no term of an application is decoded, but replies to old requests for their tag.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from . import _distribution_events as events
from . import codec
from ._distribution_connection import Encoded, Event
from ._hidden_core import NOCONNECTION, NOPROC, Core, Wire
from ._hidden_output import is_io_request, printed
from ._hidden_process import ACTIVE, Process
from ._hidden_terms import decoded
from .errors import TermError
from .terms import Atom, ImproperList, Pid, Ref

__all__ = ["Arrivals", "reference"]

log = logging.getLogger("hornbeam.distribution")
MAX_WATCHERS: Final = 100_000
"""Links, and monitors, that others may have to one process."""
LIMIT: Final = Encoded(codec.encode(Atom("system_limit")))
KILL: Final = codec.encode(Atom("kill"))
KILLED: Final = Encoded(codec.encode(Atom("killed")))
FULL: Final = Encoded(codec.encode(Atom("mailbox_full")))
_EXIT: Final = b"\x83h\x03w\x04EXIT"
_DOWN: Final = b"\x83h\x05w\x04DOWN"
_PROCESS: Final = b"w\x07process"
_IO_REPLY: Final = Atom("io_reply")


def reference(tag: object) -> Ref | None:
    """The reference in the tag of a call: the tag itself, or the tail of `[alias | Ref]`."""
    found = tag.tail if isinstance(tag, ImproperList) else tag
    return found if isinstance(found, Ref) else None


class Arrivals:
    """Carries out what arrives.

    Args:
        core: the tables.
        spawn: takes requests to start processes.
    """

    def __init__(self, core: Core, spawn: Callable[[Wire, events.SpawnRequest], None]) -> None:
        self._core = core
        self._spawn = spawn
        core.caller.on_message = self._to_caller
        self._handlers: dict[type, Callable[[str, Wire, Any], None]] = {
            events.Send: self._send,
            events.RegisteredSend: self._registered_send,
            events.AliasSend: self._alias_send,
            events.Link: self._link,
            events.Unlink: self._unlink,
            events.UnlinkAck: self._unlink_ack,
            events.Exit: self._exit,
            events.Exit2: self._exit2,
            events.Monitor: self._monitor,
            events.Demonitor: self._demonitor,
            events.MonitorExit: self._monitor_exit,
            events.SpawnRequest: self._spawn_request,
            events.SpawnReply: self._spawn_reply,
        }

    def handle(self, node: str, wire: Wire, event: Event) -> None:
        """Carries out one event of the node at the other end of a connection."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(node, wire, event)

    # -- messages --------------------------------------------------------------------------------

    def deliver(self, process: Process, message: bytes) -> None:
        """Gives a message to a process; one that does not receive is ended."""
        if process.on_message is not None:
            process.on_message(message)
        elif not process.mailbox.put(message):
            log.error(
                "%r ends: it has not received more than %d bytes", process, process.mailbox.limit
            )
            self._core.end(process, FULL)

    def _send(self, _node: str, _wire: Wire, event: events.Send) -> None:
        process = self._core.processes.get(event.to)
        if process is not None:
            self.deliver(process, event.payload)

    def _registered_send(self, _node: str, _wire: Wire, event: events.RegisteredSend) -> None:
        process = self._core.names.get(event.to)
        if process is not None:
            self.deliver(process, event.payload)

    def _alias_send(self, _node: str, _wire: Wire, event: events.AliasSend) -> None:
        pending = self._core.pending.pop(event.alias, None)
        if pending is not None:
            pending.resolve("reply", event.payload)

    def _to_caller(self, message: bytes) -> None:
        """To the process of requests itself: replies of nodes without aliases; what functions that
        were called print, since it is their group leader."""
        try:
            value = decoded(message)
        except TermError:
            return
        if is_io_request(value):
            pid, as_, answer = value[1], value[2], printed(value[3])
            sender = self._core.caller.pid
            self._core.tell(pid.node, lambda s: s.send(sender, pid, (_IO_REPLY, as_, answer)))
            return
        ref = reference(value[0]) if isinstance(value, tuple) and len(value) == 2 else None
        pending = self._core.pending.pop(ref, None) if ref is not None else None
        if pending is not None:
            pending.resolve("reply", message)

    # -- links and exit signals ------------------------------------------------------------------

    def _link(self, node: str, wire: Wire, event: events.Link) -> None:
        process = self._core.processes.get(event.to)
        if process is None:
            wire.write(wire.core.exit(event.to, event.sender, NOPROC))
        elif len(process.links) >= MAX_WATCHERS:
            wire.write(wire.core.exit(event.to, event.sender, LIMIT))
        elif event.sender.node == node:
            with self._core.lock:
                process.links.setdefault(event.sender, ACTIVE)

    def _unlink(self, _node: str, wire: Wire, event: events.Unlink) -> None:
        process = self._core.processes.get(event.to)
        with self._core.lock:
            if process is not None and process.links.get(event.sender) == ACTIVE:
                del process.links[event.sender]
            wire.write(wire.core.unlink_ack(event.id, event.to, event.sender))

    def _unlink_ack(self, _node: str, _wire: Wire, event: events.UnlinkAck) -> None:
        process = self._core.processes.get(event.to)
        with self._core.lock:
            if process is not None and process.links.get(event.sender) == event.id != ACTIVE:
                del process.links[event.sender]

    def _exit(self, _node: str, _wire: Wire, event: events.Exit) -> None:
        process = self._core.processes.get(event.to)
        if process is None:
            return
        with self._core.lock:
            state = process.links.pop(event.sender, None)
        if state == ACTIVE:
            self._tell_exit(process, event.sender, event.reason)

    def _exit2(self, _node: str, _wire: Wire, event: events.Exit2) -> None:
        process = self._core.processes.get(event.to)
        if process is None:
            return
        if event.reason == KILL:
            self._core.end(process, KILLED)
        else:
            self._tell_exit(process, event.sender, event.reason)

    def _tell_exit(self, process: Process, sender: Pid, reason: bytes) -> None:
        self.deliver(process, _EXIT + codec.encode(sender)[1:] + reason[1:])

    # -- monitors --------------------------------------------------------------------------------

    def _monitor(self, node: str, wire: Wire, event: events.Monitor) -> None:
        process = self._core.find(event.target)
        if process is None or len(process.watchers) >= MAX_WATCHERS:
            reason = NOPROC if process is None else LIMIT
            wire.write(wire.core.monitor_exit(event.target, event.sender, event.ref, reason))
        elif event.sender.node == node:
            with self._core.lock:
                process.watchers[event.ref] = (event.sender, event.target)

    def _demonitor(self, _node: str, _wire: Wire, event: events.Demonitor) -> None:
        process = self._core.find(event.target)
        if process is not None:
            with self._core.lock:
                process.watchers.pop(event.ref, None)

    def _monitor_exit(self, node: str, _wire: Wire, event: events.MonitorExit) -> None:
        pending = self._core.pending.pop(event.ref, None)
        if pending is not None:
            pending.resolve("down", event.reason)
            return
        process = self._core.processes.get(event.to)
        if process is None:
            return
        with self._core.lock:
            known = process.monitors.pop(event.ref, None)
        if known is not None:
            self._tell_down(process, event.ref, node, event.target, event.reason)

    def _tell_down(
        self, process: Process, ref: Ref, node: str, target: Pid | Atom, reason: bytes
    ) -> None:
        who = (target, Atom(node)) if isinstance(target, str) else target
        parts = (_DOWN, codec.encode(ref)[1:], _PROCESS, codec.encode(who)[1:], reason[1:])
        self.deliver(process, b"".join(parts))

    # -- processes to start ----------------------------------------------------------------------

    def _spawn_request(self, _node: str, wire: Wire, event: events.SpawnRequest) -> None:
        self._spawn(wire, event)

    def _spawn_reply(self, _node: str, _wire: Wire, event: events.SpawnReply) -> None:
        if isinstance(event.result, str):
            pending = self._core.pending.pop(event.ref, None)
            if pending is not None:
                pending.resolve("refused", codec.encode(event.result))

    # -- nodes -----------------------------------------------------------------------------------

    def node_up(self, node: str) -> None:
        """Tells the processes that want to know."""
        self._tell_node("nodeup", node)

    def node_down(self, node: str) -> None:
        """A connection is gone: all who hoped for something from its other end are told."""
        # A copy, in one step: requests come and go in other threads, which take no lock for it.
        for ref, pending in self._core.pending.copy().items():
            if pending.node == node and self._core.pending.pop(ref, None) is not None:
                pending.resolve("down", NOCONNECTION)
        with self._core.lock:
            processes = list(self._core.processes.values())
        for process in processes:
            self._lose(process, node)
        self._tell_node("nodedown", node)

    def _lose(self, process: Process, node: str) -> None:
        with self._core.lock:
            links = {to: state for to, state in process.links.items() if to.node == node}
            downs = {r: t for r, (n, t) in process.monitors.items() if n == node}
            for to in links:
                del process.links[to]
            for ref in downs:
                del process.monitors[ref]
            for ref in [r for r, (pid, _) in process.watchers.items() if pid.node == node]:
                del process.watchers[ref]
        for to, state in links.items():
            if state == ACTIVE:
                self._tell_exit(process, to, NOCONNECTION)
        for ref, target in downs.items():
            self._tell_down(process, ref, node, target, NOCONNECTION)

    def _tell_node(self, what: str, node: str) -> None:
        message = codec.encode((Atom(what), Atom(node)))
        for process in list(self._core.node_watchers):
            self.deliver(process, message)
