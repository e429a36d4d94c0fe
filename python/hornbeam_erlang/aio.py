# SPDX-License-Identifier: Apache-2.0
"""The functions of hornbeam_erlang that wait for the node, for `await`.

They do and raise the same as those of the same names there, in any asyncio event loop of any
thread, and the loop goes on meanwhile. A task that is cancelled gives its call up; the node may
have done it all the same.
"""

from __future__ import annotations

from . import _cache, _connect, _executions, _nodes, _pubsub, _rpc, _state
from ._operations import asynchronous, twin
from ._pipeline import AsyncPipeline

__all__ = [
    "await_result",
    "cache_clear",
    "cache_stats",
    "cached",
    "call",
    "connect",
    "decr",
    "delete",
    "disconnect",
    "execute",
    "execute_async",
    "get",
    "incr",
    "monitor_nodes",
    "node",
    "nodes",
    "ping",
    "pipeline",
    "publish",
    "receive_pubsub",
    "rpc_call",
    "rpc_multicall",
    "set",
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
    "subscribe",
    "subscription",
]

cache_clear = asynchronous(_cache.cache_clear)
cache_stats = asynchronous(_cache.cache_stats)
cached = twin(_cache.cached_async, _cache.cached)

publish = asynchronous(_pubsub.publish)
receive_pubsub = twin(_pubsub.receive_pubsub_async, _pubsub.receive_pubsub)
subscribe = twin(_pubsub.subscribe_async, _pubsub.subscribe)
subscription = twin(_pubsub.subscription_async, _pubsub.subscription)

stream = twin(_executions.stream_in_loop, _executions.stream)

state_add = asynchronous(_state.state_add)
state_cas = asynchronous(_state.state_cas)
state_clear = asynchronous(_state.state_clear)
state_decr = asynchronous(_state.state_decr)
state_delete = asynchronous(_state.state_delete)
state_delete_multi = asynchronous(_state.state_delete_multi)
state_get = asynchronous(_state.state_get)
state_get_multi = asynchronous(_state.state_get_multi)
state_incr = asynchronous(_state.state_incr)
state_info = asynchronous(_state.state_info)
state_keys = asynchronous(_state.state_keys)
state_scan = asynchronous(_state.state_scan)
state_set = asynchronous(_state.state_set)
state_set_multi = asynchronous(_state.state_set_multi)
state_update = asynchronous(_state.state_update)

call = asynchronous(_executions.call)
execute = asynchronous(_executions.execute)
execute_async = asynchronous(_executions.execute_async)
await_result = asynchronous(_executions.await_result)

rpc_call = asynchronous(_rpc.rpc_call)
rpc_multicall = asynchronous(_rpc.rpc_multicall)

connect = _connect.connect_async
disconnect = asynchronous(_nodes.disconnect)
monitor_nodes = twin(_nodes.monitor_nodes_async, _nodes.monitor_nodes)
node = asynchronous(_nodes.node)
nodes = asynchronous(_nodes.nodes)
ping = asynchronous(_nodes.ping)

get = state_get
set = state_set
delete = state_delete
incr = state_incr
decr = state_decr


def pipeline() -> AsyncPipeline:
    """As `hornbeam_erlang.pipeline`, for `async with`."""
    return AsyncPipeline()
