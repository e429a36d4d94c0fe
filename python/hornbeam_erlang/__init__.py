# SPDX-License-Identifier: Apache-2.0
"""What Python code asks of the hornbeam node it runs under. Every function may be called from any
thread.

Outside a worker the functions raise `NotConnected`; run the application with `hornbeam
module:callable`.
"""

from __future__ import annotations

from typing import Any

from . import _cache, _pubsub, _state, codec
from ._cache import cached
from ._calls import call_service, cast_service
from ._mailbox import Published
from ._operations import DEFAULT_TIMEOUT_MS, synchronous
from ._pipeline import pipeline
from ._pubsub import (
    Subscription,
    lost_messages,
    receive_pubsub,
    subscribe,
    subscription,
    unsubscribe,
)
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
    TermError,
)
from .terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

__all__ = [
    "Atom",
    "BitString",
    "CallTimeout",
    "Cancelled",
    "Fun",
    "HandlerError",
    "HornbeamError",
    "ImproperList",
    "NodeDown",
    "NotConnected",
    "NotRegistered",
    "Overloaded",
    "Pid",
    "Port",
    "Published",
    "Ref",
    "RemoteError",
    "Subscription",
    "TermError",
    "__version__",
    "cache_clear",
    "cache_stats",
    "cached",
    "call",
    "cast",
    "codec",
    "decr",
    "delete",
    "get",
    "incr",
    "lost_messages",
    "pipeline",
    "publish",
    "receive_pubsub",
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
    "subscribe",
    "subscription",
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

get = state_get
set = state_set
delete = state_delete
incr = state_incr
decr = state_decr


def call(name: str, *args: Any) -> Any:
    """Calls an Erlang function registered with `hornbeam:register_function` and waits for its
    result.

    Args:
        name: the name it was registered under.
        args: its arguments, values with an Erlang term.

    Returns: what it returned; `V` for `{ok, V}`.

    Raises:
        NotRegistered: nothing has that name. RemoteError: the function failed or returned `{error,
            Reason}`.
        CallTimeout: no result within 5 s. NotConnected: this process is no worker of a node.
        TermError: an argument or the result has no counterpart on the other side.
    """
    return call_service("call", [name, list(args)], {}, DEFAULT_TIMEOUT_MS, f"call({name!r})")


def cast(name: str, *args: Any) -> None:
    """Calls a registered Erlang function and does not wait; its result and its failure are the
    node's.

    Raises: NotConnected, TermError.
    """
    cast_service("call", [name, list(args)], {}, f"cast({name!r})")
