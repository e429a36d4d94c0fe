# SPDX-License-Identifier: Apache-2.0
"""The node's shared state: operations on it (`Request`s), and the pipeline.

Runs in any thread. `hornbeam_state_service` is the other side; every worker of the node and its
Erlang code see the same keys. A key is any hashable value with an Erlang term; `1`, `1.0` are one
key as in a dict, `True` and `1` are two, `"x"` and `b"x"` are two.

Every operation raises NotConnected (this process is no worker of a node), CallTimeout (no answer
within 5 s, or what `call_timeout` says; the node may have done it all the same) and TermError (a
key or value has no Erlang term). Those that write raise Overloaded when an entry would exceed
`state_max_entries` or `state_max_bytes`: nothing was changed then.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from ._operations import Request, unchanged

Key: TypeAlias = Hashable
Prefix: TypeAlias = str | bytes | None


class _Start:
    """Where a scan begins that comes after no key."""

    def __repr__(self) -> str:
        return "START"


START: Final = _Start()
_NO_OPTIONS: Final[dict[str, Any]] = {}


def _ttl(ttl_ms: int | None) -> dict[str, Any]:
    return _NO_OPTIONS if ttl_ms is None else {"ttl_ms": ttl_ms}


def state_get(key: Key, default: Any = None) -> Request[Any]:
    """The value of `key`, `default` when it is not there or its time is over."""
    return Request("state.get", [key], _NO_OPTIONS, lambda found: found[0] if found else default)


def state_set(key: Key, value: Any, *, ttl_ms: int | None = None) -> Request[None]:
    """Sets `key`.

    Args: ttl_ms: milliseconds it lives from now on, >= 1. Without it the key stays, whatever time
        it had before.
    """
    return Request("state.set", [key, value], _ttl(ttl_ms), unchanged)


def state_delete(key: Key) -> Request[None]:
    """Deletes `key`; no error when it is not there."""
    return Request("state.delete", [key], _NO_OPTIONS, _nothing)


def state_incr(key: Key, delta: int = 1, *, ttl_ms: int | None = None) -> Request[int]:
    """Adds `delta` to an integer in one step and returns what it is then.

    A key that is not there counts from 0.

    Args: ttl_ms: milliseconds the key lives if this call creates it, >= 1; else it keeps its time.

    Raises: TermError: the value is no integer (True is none); nothing was changed.
    """
    return Request("state.incr", [key, delta], _ttl(ttl_ms), unchanged)


def state_decr(key: Key, delta: int = 1, *, ttl_ms: int | None = None) -> Request[int]:
    """As `state_incr` with `-delta`."""
    return Request("state.incr", [key, -delta], _ttl(ttl_ms), unchanged)


def state_add(key: Key, value: Any, *, ttl_ms: int | None = None) -> Request[bool]:
    """Sets `key` if it is not there, in one step. Returns: whether it was set."""
    return Request("state.add", [key, value], _ttl(ttl_ms), unchanged)


def state_cas(key: Key, expected: Any, new: Any, *, ttl_ms: int | None = None) -> Request[bool]:
    """Sets `key` to `new` if its value is `expected`, in one step.

    `expected` is compared exactly: 1 is not 1.0, text is not bytes. None stands for a key that is
    not there, too.

    Args: ttl_ms: milliseconds it lives from now on, >= 1; without it the key keeps its time.

    Returns: whether it was set.
    """
    return Request("state.cas", [key, expected, new], _ttl(ttl_ms), unchanged)


def state_update(
    key: Key, expected: Any, new: Any, *, ttl_ms: int | None = None
) -> Request[tuple[bool, Any]]:
    """As `state_cas`, for loops that read, change and write.

    Returns: whether it was set, and the value that the key has now: when it was not set, the one to
        try again with.
    """
    return Request("state.update", [key, expected, new], _ttl(ttl_ms), unchanged)


def state_get_multi(keys: Iterable[Key], default: Any = None) -> Request[dict[Any, Any]]:
    """The values of `keys` in one round trip; `default` for those that are not there.

    Each value is true for its own moment, not all for the same.
    """
    wanted = list(keys)

    def read(found: list[list[Any]]) -> dict[Any, Any]:
        return {
            key: value[0] if value else default for key, value in zip(wanted, found, strict=True)
        }

    return Request("state.get_multi", [wanted], _NO_OPTIONS, read)


def state_set_multi(values: Mapping[Any, Any], *, ttl_ms: int | None = None) -> Request[None]:
    """Sets every key of `values` in one round trip, each as `state_set` does.

    Raises: Overloaded: those before the one that did not fit are set.
    """
    return Request("state.set_multi", [list(values.items())], _ttl(ttl_ms), unchanged)


def state_delete_multi(keys: Iterable[Key]) -> Request[int]:
    """Deletes `keys` in one round trip. Returns: how many of them were there."""
    return Request("state.delete_multi", [list(keys)], _NO_OPTIONS, unchanged)


def state_keys(prefix: Prefix = None) -> Request[list[Any]]:
    """Every key, or the text keys (byte keys) that begin with a text (bytes), in order.

    Takes time for the keys it finds, however many others there are. Numbers come before None, True,
    False and atoms, these before tuples and bytes, these before text. For more keys than one answer
    may hold (32 MiB) there is `state_scan`.
    """
    return Request("state.keys", [prefix], _NO_OPTIONS, unchanged)


def state_scan(
    prefix: Prefix = None, limit: int = 100, after: Any = START
) -> Request[list[tuple[Any, Any]]]:
    """Keys with their values, in the order of `state_keys`.

    Args:
        prefix: as in `state_keys`.
        limit: how many at most, >= 1.
        after: only keys after this one; the last key of one answer gives the next.
    """
    options = {} if after is START else {"after": after}
    return Request("state.scan", [prefix, limit], options, unchanged)


def state_clear(prefix: Prefix) -> Request[int]:
    """Deletes the keys that begin with `prefix`, every key when it is None. Returns: how many."""
    return Request("state.clear", [prefix], _NO_OPTIONS, unchanged)


def state_info() -> Request[dict[str, int | None]]:
    """`entries` and `bytes` that the state has, `max_entries` and `max_bytes` that it may have.

    Entries whose time is over count until they are removed, a second or two later. Bytes are those
    of keys and values as Erlang terms, and 128 for each entry. None is no bound.
    """
    return Request("state.info", [], _NO_OPTIONS, unchanged)


def _nothing(result: Any) -> None:
    return None
