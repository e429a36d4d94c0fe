# SPDX-License-Identifier: Apache-2.0
"""A node of this program's own: `start` and what it returns.

Runs in the thread that asks. The emulator is a child process, and this process a client of it over
two pipes; when they close, because this process stops the node, ends, or is killed, the node ends.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import _calls
from ._client import Client
from ._client_transport import ClientTransport
from ._node_name import Distribution, distribution
from ._node_process import NodeProcess
from ._process_wide import Current
from ._wire import ProtocolError
from .errors import NotConnected, StartFailed
from .terms import Atom

STOP_SECONDS = 5.0
WORDS = ("all", "none", "infinity")  # values of options that Erlang has as atoms
ENDED = "its node has ended: start another one with hornbeam_erlang.start()"


class Node:
    """A node that belongs to this program; made by `start`. With `with` it is stopped at the end of
    the block.

    Attributes:
        pid: of the emulator, as the operating system knows it.
        name: `name@host`, as other nodes call it; None when none can connect.
        cookie: what they must know for that; None without a name.
    """

    def __init__(
        self,
        process: NodeProcess,
        client: Client,
        distribution: Distribution,
        given: dict[str, Any],
    ) -> None:
        self.name = distribution.name
        self.cookie = distribution.cookie
        self._process = process
        self._client = client
        self._given = given
        self._owner = os.getpid()
        self._is_stopped = False
        self.pid = process.pid

    @property
    def is_running(self) -> bool:
        """Whether this process is connected to it."""
        return os.getpid() == self._owner and not self._client.hub.is_lost

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stops the node and waits for its end; again has no effect, nor in a forked child.

        Calls that wait get NodeDown, later ones NotConnected.

        Args: timeout: seconds after which it is killed.
        """
        if os.getpid() != self._owner:
            return
        with Current.lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            if not self._client.leave(timeout):
                self._process.kill()
            self._process.end(timeout)
            self._client.close(timeout)
            if _current.value is self:
                _current.value = None

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<hornbeam node {self.name or 'without a name'}, process {self.pid}, {state}>"


_current = Current(Node.stop)


def start(
    *,
    name: str | None = None,
    cookie: str | None = None,
    interface: str | None = None,
    threads: int = 4,
    log: str | os.PathLike[str] | None = None,
    emulator_flags: Sequence[str] = (),
    **options: Any,
) -> Node:
    """Starts a node for this program and connects the program to it; everything in hornbeam_erlang
    works from then on. The node ends with the program, however that ends.

    While it runs, `start` with the same arguments returns the same node.

    Args:
        name: makes the node one of a cluster: `name` on loopback, or `name@host` with an address
            or a full host name. Without it there is no distribution.
        cookie: what other nodes must know to connect; without it that of the variable
            HORNBEAM_COOKIE, else a random one.
        interface: address on which other nodes connect; without it that in the name, every one for
            a host name.
        threads: how many run handlers that this program registers, at once, >= 1.
        log: file that the output of the node is added to; without it the logger `hornbeam.node`
            gets it.
        emulator_flags: for erl, for example `("+S", "1:1")`.
        options: options of the node, such as `state_max_entries=1000` or `rpc_allow="none"`;
            `math.inf` is `infinity`.

    Raises:
        StartFailed: there is no erl on PATH, an option is wrong, or the node has ended.
        RuntimeError: this process is connected to a node already.
        ValueError: an argument cannot be. TermError: an option has no Erlang term. OSError: the
            file `log` cannot be opened.
    """
    if threads < 1:
        raise ValueError(f"start: threads is {threads}, expected 1 or more")
    flags = tuple(emulator_flags)
    fixed = {"threads": threads, "log": log, "emulator_flags": flags}
    given = {"name": name, "cookie": cookie, "interface": interface, **fixed, **options}
    asked = distribution(name, cookie, interface)
    with Current.lock:
        if _current.value is not None and _current.value.is_running:
            return _again(_current.value, given)
        if _current.value is not None:
            _current.value.stop()
        if _calls.connection() is not None:
            raise RuntimeError("start: this process is connected to a node already")
        with asked.variables() as variables:
            flags = (*asked.flags(), *flags)
            process = NodeProcess(_sendable(options), flags, variables, log)
            client = _attach(process, threads, asked.name or "of this program")
        node = _current.value = Node(process, client, asked, given)
        return node


def _again(node: Node, given: dict[str, Any]) -> Node:
    if node._given == given:
        return node
    names = (name for name in {**given, **node._given} if given.get(name) != node._given.get(name))
    different = ", ".join(sorted(names))
    raise RuntimeError(f"start: a node runs already, with another {different}: stop it first")


def _sendable(options: dict[str, Any]) -> dict[str, Any]:
    return {name: _word(value) for name, value in options.items()}


def _word(value: Any) -> Any:
    if isinstance(value, float) and value == math.inf:
        return Atom("infinity")
    return Atom(value) if isinstance(value, str) and value in WORDS else value


def _attach(process: NodeProcess, threads: int, name: str) -> Client:
    client = Client(ClientTransport(process.read_fd, process.write_fd), threads, name, ENDED)
    try:
        client.attach()
    except BaseException as exc:
        client.leave(STOP_SECONDS)
        process.end(STOP_SECONDS)
        client.close(STOP_SECONDS)
        if isinstance(exc, NotConnected | ProtocolError):
            raise StartFailed(_why(process, client, exc)) from None
        raise
    return client


def _why(process: NodeProcess, client: Client, exc: Exception) -> str:
    if isinstance(exc, ProtocolError):
        return str(exc)
    refused = client.refused
    return refused if refused else process.explain()
