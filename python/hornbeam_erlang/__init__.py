# SPDX-License-Identifier: Apache-2.0
"""What Python code asks of the hornbeam node it runs under. Every function may be called from any
thread.

Outside a worker the functions raise `NotConnected`; run the application with `hornbeam
module:callable`, or call `start` first. All that ask the node raise `CallTimeout` when it does not
answer in time, 5 s unless they say otherwise (the work may have been done all the same), and
`TermError` for a value that has no Erlang term; those that write to the shared state raise
`Overloaded` when it is full, and have changed nothing then. `hornbeam_erlang.aio` has the same
functions for `await`.
"""

from __future__ import annotations

from typing import Any

from . import _sources

# isort: split
from . import _cache, _executions, _nodes, _pubsub, _rpc, _state, codec
from ._cache import cached
from ._calls import cast_service
from ._connect import Connection, connect
from ._embedded import Node, start
from ._executions import stream, stream_async
from ._hooks import register_hook, unregister_hook
from ._mailbox import Published
from ._nodes import NodeEvent, monitor_nodes
from ._operations import synchronous
from ._pipeline import pipeline
from ._pubsub import (
    Subscription,
    lost_messages,
    receive_pubsub,
    subscribe,
    subscription,
    unsubscribe,
)
from ._rpc import rpc_cast
from ._timeouts import call_timeout
from ._version import __version__
from .errors import (
    CallTimeout,
    Cancelled,
    HandlerError,
    HornbeamError,
    NodeDown,
    NotConnected,
    NotRegistered,
    Overloaded,
    RemoteError,
    StartFailed,
    TermError,
)
from .terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

_sources.check()

__all__ = [
    "Atom",
    "BitString",
    "CallTimeout",
    "Cancelled",
    "Connection",
    "Fun",
    "HandlerError",
    "HornbeamError",
    "ImproperList",
    "Node",
    "NodeDown",
    "NodeEvent",
    "NotConnected",
    "NotRegistered",
    "Overloaded",
    "Pid",
    "Port",
    "Published",
    "Ref",
    "RemoteError",
    "StartFailed",
    "Subscription",
    "TermError",
    "__version__",
    "await_result",
    "cache_clear",
    "cache_stats",
    "cached",
    "call",
    "call_timeout",
    "cast",
    "codec",
    "connect",
    "decr",
    "delete",
    "disconnect",
    "execute",
    "execute_async",
    "get",
    "hook",
    "incr",
    "lost_messages",
    "monitor_nodes",
    "node",
    "nodes",
    "ping",
    "pipeline",
    "publish",
    "receive_pubsub",
    "register_hook",
    "rpc_call",
    "rpc_cast",
    "rpc_multicall",
    "set",
    "start",
    "state_add",
    "state_cas",
    "state_clear",
    "state_decr",
    "state_delete",
    "state_delete_multi",
    "state_get",
    "state_get_multi",
    "state_incr",
    "state_info",
    "state_keys",
    "state_scan",
    "state_set",
    "state_set_multi",
    "state_update",
    "stream",
    "stream_async",
    "subscribe",
    "subscription",
    "unhook",
    "unregister_hook",
    "unsubscribe",
]

cache_clear = synchronous(_cache.cache_clear)
cache_stats = synchronous(_cache.cache_stats)

publish = synchronous(_pubsub.publish)

state_add = synchronous(_state.state_add)
state_cas = synchronous(_state.state_cas)
state_clear = synchronous(_state.state_clear)
state_decr = synchronous(_state.state_decr)
state_delete = synchronous(_state.state_delete)
state_delete_multi = synchronous(_state.state_delete_multi)
state_get = synchronous(_state.state_get)
state_get_multi = synchronous(_state.state_get_multi)
state_incr = synchronous(_state.state_incr)
state_info = synchronous(_state.state_info)
state_keys = synchronous(_state.state_keys)
state_scan = synchronous(_state.state_scan)
state_set = synchronous(_state.state_set)
state_set_multi = synchronous(_state.state_set_multi)
state_update = synchronous(_state.state_update)

call = synchronous(_executions.call)
execute = synchronous(_executions.execute)
execute_async = synchronous(_executions.execute_async)
await_result = synchronous(_executions.await_result)

rpc_call = synchronous(_rpc.rpc_call)
rpc_multicall = synchronous(_rpc.rpc_multicall)

disconnect = synchronous(_nodes.disconnect)
node = synchronous(_nodes.node)
nodes = synchronous(_nodes.nodes)
ping = synchronous(_nodes.ping)

hook = register_hook
unhook = unregister_hook
get = state_get
set = state_set
delete = state_delete
incr = state_incr
decr = state_decr


def cast(name: str, *args: Any) -> None:
    """Calls a registered Erlang function and does not wait; its result and its failure are the
    node's.

    Raises: NotConnected, TermError.
    """
    cast_service("call", [name, list(args)], {}, f"cast({name!r})")
