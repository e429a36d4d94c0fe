# SPDX-License-Identifier: Apache-2.0
"""The Erlang nodes that this worker's node is connected to: the operations behind `node`, `nodes`,
`connect`, `disconnect` and `ping`, and the subscription to those that come and go.

Runs in any thread, the twins in any event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from ._operations import DEFAULT_TIMEOUT_MS, Request, unchanged
from ._pubsub import MAILBOX_LIMIT, Subscription, open_subscription, open_subscription_async
from ._rpc import GRACE_MS
from ._topics import Channel

CHANNEL: Channel = ("internal", "nodes")


class NodeEvent(NamedTuple):
    """A node was connected, or is not any more.

    Attributes:
        event: which of the two.
        node: its name.
        hidden: whether it is a hidden node, such as a Python program that has joined.
        reason: of `nodedown`, as Erlang says it: `connection_closed`, `net_tick_timeout`,
            `disconnect`; empty for `nodeup`.
    """

    event: Literal["nodeup", "nodedown"]
    node: str
    hidden: bool
    reason: str


def node() -> Request[str]:
    """The name of this worker's node; `nonode@nohost` when it has none.

    Raises: NotConnected, CallTimeout.
    """
    return Request("nodes.self", [], {}, unchanged)


def nodes(*, hidden: bool = False) -> Request[list[str]]:
    """The names of the nodes that this worker's node is connected to, itself not among them.

    Args: hidden: hidden nodes, too: Python programs, tools.

    Raises: NotConnected, CallTimeout.
    """
    return Request("nodes.list", [hidden], {}, unchanged)


def connect(
    node: str, cookie: str | None = None, *, timeout_ms: int = DEFAULT_TIMEOUT_MS
) -> Request[None]:
    """Connects this worker's node to another one; nothing happens when it is connected already.

    Args:
        node: its name, `name@host`; the node's option `rpc_allow` may leave it out.
        cookie: the one that the other node has, when it is not the same; kept for that node.
        timeout_ms: milliseconds until there is a connection.

    Raises: NodeDown: there is none, the reason says why. CallTimeout, NotConnected. RemoteError:
        the node may not be connected (`class_` is `refused`). TermError: the name is none.
    """
    what = f"connect({node!r})"
    return Request("nodes.connect", [node, cookie], {}, unchanged, timeout_ms, what)


def disconnect(node: str, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> Request[bool]:
    """Ends the connection to another node, for all of this node; calls that wait for it fail.

    It comes back as soon as one of the two has something for the other.

    Returns: whether there was one.
    Raises: as `connect`.
    """
    what = f"disconnect({node!r})"
    return Request("nodes.disconnect", [node], {}, unchanged, timeout_ms, what)


def ping(node: str, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> Request[bool]:
    """Whether a node answers within `timeout_ms` milliseconds; connects it when it does.

    Raises: NodeDown: the own node has no name. NotConnected, RemoteError, TermError: as `connect`.
    """
    what, patience = f"ping({node!r})", timeout_ms + GRACE_MS
    return Request("nodes.ping", [node, timeout_ms], {}, unchanged, patience, what)


def monitor_nodes(
    callback: Callable[[NodeEvent], object] | None = None, *, limit: int = MAILBOX_LIMIT
) -> Subscription[NodeEvent]:
    """Subscribes to nodes that come and go, hidden ones included, until the subscription is closed.

        with monitor_nodes() as events:
            for event in events:
                print(event.event, event.node)

    Everything after the return is told: ask `nodes` afterwards and none is missed.

    Args:
        callback: called with each event, in a thread of its own, instead of iterating.
        limit: events kept for a reader that does not read, >= 1; the oldest make room.

    Raises: ValueError, CallTimeout, NotConnected.
    """
    events = open_subscription(CHANNEL, "monitor_nodes()", limit, _event)
    if callback is not None:
        events.each(callback)
    return events


async def monitor_nodes_async(
    callback: Callable[[NodeEvent], object] | None = None, *, limit: int = MAILBOX_LIMIT
) -> Subscription[NodeEvent]:
    """`monitor_nodes`, awaited."""
    events = await open_subscription_async(CHANNEL, "monitor_nodes()", limit, _event)
    if callback is not None:
        events.each(callback)
    return events


def _event(value: Any) -> NodeEvent:
    return NodeEvent(*value)
