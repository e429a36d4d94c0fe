# SPDX-License-Identifier: Apache-2.0
"""The shared state and the cache of the stand-in for a node: dicts. Runs in its thread."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from . import codec


class Fault(Exception):
    """An answer that is a FAULT: its name and details, as PROTOCOL.md, section 4.3, has them."""

    def __init__(self, name: str, **details: Any) -> None:
        super().__init__(name)
        self.name = name
        self.details = details


def identity(key: Any) -> bytes:
    """What makes two keys the same: as in the node's table, `1` and `1.0` are, `1` and `True`
    are not."""
    if type(key) is float and key.is_integer():
        key = int(key)
    return codec.encode(key)


class State:
    """The services `state.*`; see `hornbeam_state_service` for what they take and answer."""

    def __init__(self) -> None:
        self.rows: dict[bytes, tuple[Any, Any, float]] = {}  # key, value, when its time is over

    def serve(self, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        if name == "pipeline":
            return [self._pipelined(*each) for each in arguments[0]]
        method: Callable[..., Any] = getattr(self, f"_{name}")
        return method(*arguments, **options)

    def _pipelined(self, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            return [self.serve(name, arguments, options)]
        except Fault as exc:
            return (exc.name, exc.details)

    def _find(self, key: Any) -> list[Any]:
        row = self.rows.get(identity(key))
        if row is None or row[2] <= monotonic():
            return []
        return [row[1]]

    def _get(self, key: Any) -> list[Any]:
        return self._find(key)

    def _set(self, key: Any, value: Any, ttl_ms: int | None = None) -> None:
        until = float("inf") if ttl_ms is None else monotonic() + ttl_ms / 1000
        self.rows[identity(key)] = (key, value, until)

    def _delete(self, key: Any) -> bool:
        found = bool(self._find(key))
        self.rows.pop(identity(key), None)
        return found

    def _incr(self, key: Any, delta: int, ttl_ms: int | None = None) -> int:
        found = self._find(key)
        if found and type(found[0]) is not int:
            raise Fault("bad_term", reason="the value is no integer; nothing was changed")
        value: int = (found[0] if found else 0) + delta
        if found and ttl_ms is None:
            stored, _, until = self.rows[identity(key)]
            self.rows[identity(key)] = (stored, value, until)
        else:
            self._set(key, value, ttl_ms)
        return value

    def _add(self, key: Any, value: Any, ttl_ms: int | None = None) -> bool:
        if self._find(key):
            return False
        self._set(key, value, ttl_ms)
        return True

    def _cas(self, key: Any, expected: Any, new: Any, ttl_ms: int | None = None) -> bool:
        done: bool = self._update(key, expected, new, ttl_ms)[0]
        return done

    def _update(self, key: Any, expected: Any, new: Any, ttl_ms: int | None = None) -> Any:
        found = self._find(key)
        value = found[0] if found else None
        if codec.encode(value) != codec.encode(expected):
            return (False, value)
        self._set(key, new, ttl_ms)
        return (True, new)

    def _get_multi(self, keys: list[Any]) -> list[list[Any]]:
        return [self._find(key) for key in keys]

    def _set_multi(self, pairs: list[tuple[Any, Any]], ttl_ms: int | None = None) -> None:
        for key, value in pairs:
            self._set(key, value, ttl_ms)

    def _delete_multi(self, keys: list[Any]) -> int:
        return sum(self._delete(key) for key in keys)

    def _with(self, prefix: Any) -> list[tuple[Any, Any]]:
        now = monotonic()
        rows = [(key, value) for key, value, until in self.rows.values() if until > now]
        if prefix is not None:
            kind = type(prefix)
            rows = [row for row in rows if type(row[0]) is kind and row[0].startswith(prefix)]
        return sorted(rows, key=lambda row: _order(row[0]))

    def _keys(self, prefix: Any) -> list[Any]:
        return [key for key, _ in self._with(prefix)]

    def _scan(self, prefix: Any, limit: int, **options: Any) -> list[tuple[Any, Any]]:
        rows = self._with(prefix)
        if "after" in options:
            rows = [row for row in rows if _order(row[0]) > _order(options["after"])]
        return rows[:limit]

    def _clear(self, prefix: Any) -> int:
        return self._delete_multi(self._keys(prefix))

    def _info(self) -> dict[str, Any]:
        rows = self._with(None)
        size = sum(len(codec.encode([key, value])) for key, value in rows)
        return {"entries": len(rows), "bytes": size, "max_entries": None, "max_bytes": None}


_ATOMS = {None: "undefined", False: "false", True: "true"}


def _order(key: Any) -> tuple[Any, ...]:
    """The node's order of keys: numbers, None, False and True, tuples, bytes, text."""
    if key is None or isinstance(key, bool):
        return (1, _ATOMS[key])
    if isinstance(key, (int, float)):
        return (0, key)
    if isinstance(key, tuple):
        return (2, len(key), [_order(each) for each in key])
    if isinstance(key, bytes):
        return (3, key)
    return (4, key) if isinstance(key, str) else (5, repr(key))


class Cache:
    """The services `cache.*`; see `hornbeam_cache_service`."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, float]] = {}
        self.claims: dict[int, str] = {}
        self.waiting: dict[str, list[Callable[[Any], None]]] = {}
        self.hits = self.misses = 0
        self._last = 0

    def get(self, key: str) -> list[Any]:
        row = self.rows.get(key)
        if row is None or row[1] <= monotonic():
            return []
        self.hits += 1
        return [row[0]]

    def claim(self, key: str, answer: Callable[[Any], None]) -> None:
        """Answers now, or when whoever computes `key` has stored or abandoned it."""
        found = self.get(key)
        if found:
            answer(("hit", found[0]))
        elif key in self.claims.values():
            self.waiting.setdefault(key, []).append(answer)
        else:
            self.misses += 1
            self._last += 1
            self.claims[self._last] = key
            answer(("compute", self._last))

    def store(self, token: int, value: Any, ttl_ms: int | None = None) -> None:
        key = self.claims.pop(token, None)
        if key is not None:
            until = float("inf") if ttl_ms is None else monotonic() + ttl_ms / 1000
            self.rows[key] = (value, until)
            for answer in self.waiting.pop(key, ()):
                self.hits += 1
                answer(("hit", value))

    def abandon(self, token: int) -> None:
        key = self.claims.pop(token, None)
        if key is not None:
            for answer in self.waiting.pop(key, ()):
                self.claim(key, answer)

    def clear(self, prefix: str) -> int:
        found = [key for key in self.rows if key.startswith(prefix)]
        for key in found:
            del self.rows[key]
        for token in [token for token, key in self.claims.items() if key.startswith(prefix)]:
            self.claims[token] = ""
        return len(found)

    def stats(self) -> dict[str, Any]:
        asked = self.hits + self.misses
        size = sum(len(codec.encode(value)) for value, _ in self.rows.values())
        rate = self.hits / asked if asked else 0.0
        figures = {"hits": self.hits, "misses": self.misses, "hit_rate": rate}
        return {**figures, "entries": len(self.rows), "bytes": size}
