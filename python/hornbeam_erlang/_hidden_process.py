# SPDX-License-Identifier: Apache-2.0
"""A process of a Python node: a pid, a mailbox, links and monitors, as other nodes see them.

Its methods may be called from any thread; `aio` has those that wait for event loops. It is what
Erlang calls a process that traps exits: the end of what it is linked to is a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from ._hidden_mailbox import Mailbox
from ._hidden_waits import Operation, awaiting, blocking
from .terms import Atom, Pid, Ref

__all__ = ["AsyncProcess", "Process", "Target"]

Target: TypeAlias = "Pid | Ref | str | tuple[str, str]"
"""Whom a message is for: a process, an alias, a name on this node, a name on another node."""
ACTIVE: Final = 0  # a link; otherwise the number of the UNLINK_ID that waits for its answer
NORMAL: Final = Atom("normal")


class Signals(Protocol):
    """What a process needs of its node; see `Core`."""

    def is_alive(self, pid: Pid) -> bool: ...
    def send(self, sender: Pid, to: Target, message: object) -> Operation[None]: ...
    def link(self, process: Process, to: Pid) -> Operation[None]: ...
    def unlink(self, process: Process, to: Pid) -> None: ...
    def monitor(self, process: Process, target: Target) -> Operation[Ref]: ...
    def demonitor(self, process: Process, ref: Ref) -> None: ...
    def exit(self, sender: Pid, to: Pid, reason: object) -> Operation[None]: ...
    def end(self, process: Process, reason: object) -> None: ...


class AsyncProcess:
    """What waits of a process, for `await`."""

    __slots__ = ("_process",)

    def __init__(self, process: Process) -> None:
        self._process = process

    async def receive(self, timeout: float | None = 5.0) -> Any:
        """The next message; see `Process.receive`."""
        return await awaiting(self._process.mailbox.receive(), timeout, "receive")

    async def send(self, to: Target, message: object, timeout: float | None = 5.0) -> None:
        """Sends a message; see `Process.send`."""
        await awaiting(self._process.sending(to, message), timeout, "send")

    async def link(self, to: Pid, timeout: float | None = 5.0) -> None:
        """Links two processes; see `Process.link`."""
        await awaiting(self._process.linking(to), timeout, "link")

    async def monitor(self, target: Target, timeout: float | None = 5.0) -> Ref:
        """Monitors a process; see `Process.monitor`."""
        return await awaiting(self._process.monitoring(target), timeout, "monitor")

    async def exit(self, to: Pid, reason: object, timeout: float | None = 5.0) -> None:
        """Sends an exit signal; see `Process.exit`."""
        await awaiting(self._process.exiting(to, reason), timeout, "exit")


class Process:
    """A process of this node; made by `Node.process`.

    Attributes:
        pid: what others call it.
        aio: the same methods for `await`, where they wait.
    """

    def __init__(self, core: Signals, pid: Pid, mailbox_limit: int) -> None:
        self.pid = pid
        self.aio = AsyncProcess(self)
        self.mailbox = Mailbox(mailbox_limit)
        self.names: set[str] = set()
        self.links: dict[Pid, int] = {}
        self.monitors: dict[Ref, tuple[str, Pid | Atom]] = {}
        # Who monitors this process: what it called it.
        self.watchers: dict[Ref, tuple[Pid, Pid | Atom]] = {}
        # Takes messages instead of the mailbox, in the event loop of the node.
        self.on_message: Callable[[bytes], None] | None = None
        self._core = core

    def __repr__(self) -> str:
        names = "".join(f" {name}" for name in sorted(self.names))
        return f"<Process {self.pid.id}.{self.pid.serial}{names}>"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._core.is_alive(self.pid)

    def receive(self, timeout: float | None = 5.0) -> Any:
        """The next message, as a value.

        Beside what others send: `(Atom("DOWN"), Ref, Atom("process"), who, reason)` when what it
        monitors has ended, `(Atom("EXIT"), Pid, reason)` for links and exit signals,
        `(Atom("nodeup"), name)` and `(Atom("nodedown"), name)` after `Node.monitor_nodes`.

        Args:
            timeout: seconds to wait for it; None: for ever.

        Raises:
            CallTimeout: none came in time.
            NotConnected: the process has ended.
            TermError: the message cannot be a value of Python; it is gone.
        """
        return blocking(self.mailbox.receive(), timeout, "receive")

    def send(self, to: Target, message: object, timeout: float | None = 5.0) -> None:
        """Sends a message.

        Args:
            to: a Pid, an alias (Ref), a name on this node, or `(name, node)`.
            message: a value, see `hornbeam_erlang.codec`.
            timeout: seconds for connecting to the node, and for it to take what was sent before.

        Raises:
            NodeDown: the node cannot be reached. Nothing is said of a process that does not exist.
            CallTimeout: the node did not take it in time.
            TermError: the value has no term.
        """
        blocking(self.sending(to, message), timeout, "send")

    def link(self, to: Pid, timeout: float | None = 5.0) -> None:
        """Links this process with another; one end of it becomes a message or exit of the other.

        Raises:
            NodeDown, CallTimeout: as `send`.
        """
        blocking(self.linking(to), timeout, "link")

    def unlink(self, to: Pid) -> None:
        """Ends a link. No `EXIT` of it comes afterwards, unless it is in the mailbox already."""
        self._core.unlink(self, to)

    def monitor(self, target: Target, timeout: float | None = 5.0) -> Ref:
        """Monitors a process, or who has a name: a `DOWN` message tells when it has ended.

        Raises:
            NodeDown, CallTimeout: as `send`.
        """
        return blocking(self.monitoring(target), timeout, "monitor")

    def demonitor(self, ref: Ref) -> None:
        """Takes a monitor back; its `DOWN` may be in the mailbox already."""
        self._core.demonitor(self, ref)

    def exit(self, to: Pid, reason: object, timeout: float | None = 5.0) -> None:
        """Sends an exit signal, as exit/2 of Erlang: `Atom("kill")` ends any process.

        Raises:
            NodeDown, CallTimeout, TermError: as `send`.
        """
        blocking(self.exiting(to, reason), timeout, "exit")

    def close(self, reason: object = NORMAL) -> None:
        """Ends this process: who is linked to it, or monitors it, is told the reason."""
        self._core.end(self, reason)

    # -- the same, as operations -----------------------------------------------------------------

    def sending(self, to: Target, message: object) -> Operation[None]:
        return self._core.send(self.pid, to, message)

    def linking(self, to: Pid) -> Operation[None]:
        return self._core.link(self, to)

    def monitoring(self, target: Target) -> Operation[Ref]:
        return self._core.monitor(self, target)

    def exiting(self, to: Pid, reason: object) -> Operation[None]:
        return self._core.exit(self.pid, to, reason)
