# SPDX-License-Identifier: Apache-2.0
"""Unit tests of applications without a node: what `hornbeam_erlang` offers works against a stand-in
in memory.

    def test_counts_views():
        with hornbeam_erlang.testing.node() as node:
            node.register_function("price", lambda item: {"item": item, "cents": 300})
            assert shop.view("book") == {"views": 1, "cents": 300}
            assert node.state == {"views:book": 1}

State, cache, publish and subscribe, functions, hooks, streams and tasks behave as with a node of
one worker, other nodes are those that the test adds; what needs HTTP is not there. The calls are
real ones, over a connection in memory, so values are refused, and come back, as they would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import _calls, _worker
from ._attendant import Attendant
from ._hub import Hub
from ._serving import work
from ._testing_cluster import Functions
from ._testing_node import MemoryNode
from ._wire import BOOT, HELLO, VERSION_MAX, Message, ProtocolError

__all__ = ["Node", "node"]

HEARTBEAT_MS = 3_600_000
WINDOW = 65536


class Node:
    """The stand-in, as a test sees it; made by `node`."""

    def __init__(self, memory: MemoryNode) -> None:
        self._memory = memory

    def register_function(self, name: str, function: Callable[..., Any]) -> None:
        """What `hornbeam:register_function` does: `call(name, *args)` returns `function(*args)`.

        An exception that it raises is `RemoteError` for the caller.
        """
        self._memory.functions[name] = function

    def unregister_function(self, name: str) -> None:
        """Takes it away; no error when there is none."""
        self._memory.functions.pop(name, None)

    def add_node(self, name: str, functions: Functions | None = None) -> None:
        """Another node, which `nodes` has from now on; or other functions for one that is there.

        Args:
            name: `name@host`; `nonode@nohost` is the stand-in itself.
            functions: what `rpc_call(name, module, function, args)` calls, as `function(*args)`, by
                module and function. What they raise is RemoteError for the caller; `NodeDown` and
                `CallTimeout` are what they are, for a node that dies or takes too long.
        """
        self._memory.set_node(name, dict(functions or {}))

    def remove_node(self, name: str) -> None:
        """The node is down from now on; no error when there is none."""
        self._memory.set_node(name, None)

    @property
    def rpc_casts(self) -> list[tuple[str, str, str, list[Any]]]:
        """Node, module, function and arguments of every `rpc_cast` so far, in order."""
        return list(self._memory.cluster.casts)

    @property
    def state(self) -> dict[Any, Any]:
        """A copy of the shared state; keys whose time is over are not in it."""
        return dict(self._memory.state.serve("scan", [None, len(self._memory.state.rows)], {}))

    @property
    def published(self) -> list[tuple[str, Any]]:
        """Topics and messages of every `publish` so far, in order."""
        return list(self._memory.published)

    @property
    def casts(self) -> list[tuple[str, list[Any]]]:
        """Names and arguments of every `cast` so far, in order."""
        return list(self._memory.casts)


@contextmanager
def node() -> Iterator[Node]:
    """Connects this process to a fresh stand-in until the end of the block.

    Raises: RuntimeError: this process is connected already, to a node or to another stand-in.
    """
    if _calls.connection() is not None:
        raise RuntimeError("testing.node: this process is connected already")
    memory = MemoryNode()
    hub = Hub(memory.transport, _failed)
    _greet(hub)
    attendant = Attendant(hub, memory.transport, HEARTBEAT_MS)
    attendant.start()
    _worker.connect(hub)
    _worker.ready(hub)
    server = threading.Thread(target=work, args=(hub, _no_requests), daemon=True)
    server.start()
    try:
        yield Node(memory)
    finally:
        _calls.connect(None, _calls.ADVICE)
        memory.stop()
        server.join(10)
        attendant.stop()


def _greet(hub: Hub) -> None:
    """The handshake, both sides of which are here."""
    session = hub.session
    session.response_window = session.request_window = WINDOW
    session.send((HELLO, 1, VERSION_MAX, {}))
    session.receive((HELLO, 1, VERSION_MAX, {}))
    session.receive((BOOT, {}))


def _failed(hub: Hub, exc: ProtocolError) -> Any:
    raise exc


def _no_requests(message: Message) -> None:
    raise RuntimeError("the stand-in for a node serves no HTTP")
