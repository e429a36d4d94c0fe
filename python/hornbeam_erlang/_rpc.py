# SPDX-License-Identifier: Apache-2.0
"""Functions of other Erlang nodes: the operations behind `rpc_call`, `rpc_cast` and
`rpc_multicall`.

The node of this worker makes the calls, with Erlang's `erpc`. Runs in any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ._calls import GRACE_SECONDS, cast_service, failure
from ._operations import DEFAULT_TIMEOUT_MS, Request, unchanged
from ._wire import MAX_TIMEOUT
from .errors import HornbeamError

# What the node needs after the time of its calls is over, to answer for those that had none.
GRACE_MS = int(GRACE_SECONDS * 1000)


def rpc_call(
    node: str,
    module: str,
    function: str,
    args: Sequence[Any],
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Request[Any]:
    """Calls `module:function` on another Erlang node, or on this worker's own, and waits.

    Nodes that are not connected yet are connected. When the time is over, or the caller is gone,
    nobody waits any more; the function goes on. What it prints and logs, its node shows.

    Args:
        node: its name, `name@host`.
        module, function: their names. The node's option `rpc_allow` says which may be called.
        args: the function's arguments, values with an Erlang term.
        timeout_ms: milliseconds for all of it.

    Returns: what the function returned, as it is: `{ok, V}` is a tuple.

    Raises:
        CallTimeout: no answer in time. NodeDown: no connection to the node, none any more, or the
            own node has no name. RemoteError: the function raised (`class_` is error, exit or
            throw), or may not be called (`refused`). Overloaded: too many calls, or too many
            names that the node did not know. Cancelled, NotConnected: as they say. TermError: a
            value cannot be sent, a name is none.
    """
    what = f"rpc_call({node!r}, {module!r}, {function!r})"
    return Request(
        "rpc.call", [node, module, function, _list(args)], {}, unchanged, timeout_ms, what
    )


def rpc_multicall(
    nodes: Iterable[str],
    module: str,
    function: str,
    args: Sequence[Any],
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> Request[dict[str, Any]]:
    """Calls `module:function` on several nodes at once and waits for all of them.

    Args: nodes: their names, at most 10,000. Otherwise as `rpc_call`.

    Returns: by name, in the order given, what the function returned there, or the exception that
        `rpc_call` would have raised. It is not raised: look with `isinstance(value, Exception)`.

    Raises: NotConnected, TermError, Overloaded: as `rpc_call`, when nothing was called.
    """
    names = list(dict.fromkeys(nodes))
    if not 1 <= timeout_ms <= MAX_TIMEOUT - GRACE_MS:
        raise ValueError(
            f"rpc_multicall: timeout_ms is {timeout_ms}, expected 1..{MAX_TIMEOUT - GRACE_MS}"
        )
    return Request(
        "rpc.multicall",
        [names, module, function, _list(args), timeout_ms],
        {},
        partial(_by_node, names, f"{module!r}, {function!r}", timeout_ms),
        timeout_ms + GRACE_MS,
        f"rpc_multicall(..., {module!r}, {function!r})",
    )


def rpc_cast(node: str, module: str, function: str, args: Sequence[Any]) -> None:
    """Calls `module:function` on another Erlang node and does not wait, in no event loop either.

    Whether it arrives is not known; the own node logs it when it could not be sent, the other one
    when the function fails. Casts may overtake each other.

    Args: as `rpc_call`.
    Raises: NotConnected, TermError.
    """
    what = f"rpc_cast({node!r}, {module!r}, {function!r})"
    cast_service("rpc.cast", [node, module, function, _list(args)], {}, what)


def _list(args: Sequence[Any]) -> list[Any]:
    if not isinstance(args, (list, tuple)):
        # A str would be a list of its characters.
        kind = type(args).__name__
        raise TypeError(f"args: got {kind}, expected a list or tuple of the function's arguments")
    return list(args)


def _by_node(names: list[str], what: str, timeout_ms: int, found: list[Any]) -> dict[str, Any]:
    return {
        name: _value(name, what, timeout_ms, *each) for name, each in zip(names, found, strict=True)
    }


def _value(node: str, what: str, timeout_ms: int, kind: str, *rest: Any) -> Any:
    if kind == "ok":
        return rest[0]
    name, details = rest
    error: HornbeamError = failure(name, details, f"rpc_call({node!r}, {what})", timeout_ms)
    return error
