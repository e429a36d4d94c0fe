# SPDX-License-Identifier: Apache-2.0
"""`connect`: to another node. In a worker, or in a program with a node of its own, that node is
connected; any other program is attached to the node, which serves it from then on.

Runs in the thread that asks, `connect_async` in an event loop, which goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from time import monotonic, sleep
from types import TracebackType

from . import _calls, _cookie, _nodes
from ._attach import AttachRefused, Wish, attach
from ._client import Client
from ._client_session import ClientSession
from ._distribution_errors import DistributionError
from ._operations import DEFAULT_TIMEOUT_MS, asynchronous, synchronous, twin
from ._process_wide import Current
from ._wire import ProtocolError
from .errors import NodeDown, NotConnected

CLOSE_SECONDS = 2.0
LOOK_SECONDS = 0.005
ENDED = "its connection has ended: connect again with hornbeam_erlang.connect()"

_connect_nodes = synchronous(_nodes.connect)
_disconnect_nodes = synchronous(_nodes.disconnect)


class Connection:
    """To another node; made by `connect`. With `with` it ends with the block.

    Attributes:
        node: the name of the node.
    """

    def __init__(self, node: str, client: Client | None) -> None:
        self.node = node
        self._client = client
        self._owner = os.getpid()
        self._is_closed = False

    def close(self) -> None:
        """Ends the connection; again has no effect, nor in a forked child.

        Of a program that is attached: calls that wait get NodeDown, later ones NotConnected. Of two
        nodes: as `disconnect`.
        """
        if os.getpid() != self._owner:
            return
        with Current.lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._client is not None:
                _leave(self._client)
                return
        _disconnect_nodes(self.node)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<connection to {self.node}{', closed' if self._is_closed else ''}>"


_current = Current(Connection.close)


def _leave(client: Client) -> None:
    """Ends the attachment; waits a little until the node knows."""
    deadline = monotonic() + CLOSE_SECONDS
    if client.leave(CLOSE_SECONDS):
        while not client.hub.is_lost and monotonic() < deadline:
            if not client.hub.threads.read_ready():
                sleep(LOOK_SECONDS)
    client.close(CLOSE_SECONDS)
    _current.value = None


def connect(
    node: str,
    cookie: str | None = None,
    *,
    port: int | None = None,
    threads: int = 4,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Connection:
    """Connects to another node.

    In a worker, in a program that has called `start`, and in one that is attached, the node of this
    process is connected to the other one; nothing happens when it is already. Any other program is
    attached: everything in hornbeam_erlang works with that node from then on.

    Args:
        node: its name, `name@host`. In a worker `rpc_allow` of its node may leave it out.
        cookie: of the other node. A worker's node needs it when it is not its own, and keeps it for
            that node; a program takes that of the variable HORNBEAM_COOKIE without it, else that of
            `~/.erlang.cookie`.
        port: for a program: where the node listens; without it EPMD of its host is asked.
        threads: for a program: how many run handlers that it registers, at once, >= 1.
        timeout_ms: milliseconds until there is a connection.

    Raises:
        NodeDown: there is none, the reason says why; perhaps the cookie is another one.
        NotConnected: the node does not take this program, or there is no cookie. CallTimeout.
        RemoteError: a worker's node may not connect it (`class_` is `refused`). TermError: the name
            is none.
    """
    deadline = monotonic() + timeout_ms / 1000
    if _calls.connection() is None:
        with _current.turn(f"connect({node!r})", timeout_ms / 1000):
            # Whoever had the turn before may have connected this process.
            if _calls.connection() is None:
                return _attach(node, cookie, port, threads, deadline)
        timeout_ms = max(1, int((deadline - monotonic()) * 1000))
    _connect_nodes(node, cookie, timeout_ms=timeout_ms)
    return Connection(node, None)


def _attach(
    node: str, cookie: str | None, port: int | None, threads: int, deadline: float
) -> Connection:
    if threads < 1:
        raise ValueError(f"connect: threads is {threads}, expected 1 or more")
    if _current.value is not None:
        _current.value.close()  # it has ended by itself
    operation = f"connect({node!r})"
    name = f"python-{os.getpid()}-{secrets.token_hex(4)}"
    secret = _secret(operation) if cookie is None else cookie
    wish = Wish(node, secret, "client", name, port=port, seconds=round(deadline - monotonic(), 2))
    try:
        client = Client(attach(wish, ClientSession), threads, node, ENDED)
    except AttachRefused as exc:
        raise NotConnected(operation, f"the node refuses: {exc.text}") from None
    except DistributionError as exc:
        raise NodeDown(node, str(exc)) from exc
    try:
        client.attach(max(0.0, deadline - monotonic()))
    except (ProtocolError, NotConnected) as exc:
        client.close(CLOSE_SECONDS)
        raise NodeDown(node, f"it does not speak as expected: {exc}") from exc
    except BaseException:
        client.close(CLOSE_SECONDS)
        raise
    connection = _current.value = Connection(node, client)
    return connection


def _secret(operation: str) -> str:
    try:
        return os.environ.get(_cookie.VARIABLE) or _cookie.read(_cookie.home_file())
    except _cookie.CookieError as exc:
        raise NotConnected(operation, f"give the cookie of the node: {exc}") from None


async def _connect_async(
    node: str,
    cookie: str | None = None,
    *,
    port: int | None = None,
    threads: int = 4,
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Connection:
    if _calls.connection() is not None:
        await _connect_nodes_async(node, cookie, timeout_ms=timeout_ms)
        return Connection(node, None)
    wanted = {"port": port, "threads": threads, "timeout_ms": timeout_ms}
    return await asyncio.to_thread(connect, node, cookie, **wanted)  # type: ignore[arg-type]


_connect_nodes_async = asynchronous(_nodes.connect)
connect_async = twin(_connect_async, connect)
