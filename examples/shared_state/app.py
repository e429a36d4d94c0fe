# SPDX-License-Identifier: Apache-2.0
"""What is often done with Redis, on the node's shared state: counters, a cache, sessions, limits.

Every worker sees the same keys. `make run APP_DIR=examples/shared_state APP=app:application`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from hornbeam_erlang import (
    pipeline,
    state_add,
    state_decr,
    state_delete,
    state_get,
    state_get_multi,
    state_incr,
    state_keys,
    state_set,
    state_update,
)


def views(path: str) -> dict[str, Any]:
    """A counter for each page, and a value that is there or not."""
    count = state_incr(f"views:{path}")
    data = state_get("my_key")
    if data is None:
        data = {"computed": True}
        state_set("my_key", data)
    return {"views": count, "data": data}


def product(ident: str) -> dict[str, Any]:
    """A cache in front of something slow; an entry lives for a minute."""
    cached: dict[str, Any] | None = state_get(f"product:{ident}")
    if cached:
        return {**cached, "cached": True}
    found = {"id": ident, "name": f"Product {ident}"}  # the database would be asked here
    state_set(f"product:{ident}", found, ttl_ms=60_000)
    return {**found, "cached": False}


def login(session: str, name: str) -> dict[str, Any]:
    state_set(f"session:{session}", {"name": name, "since": time.time()}, ttl_ms=3_600_000)
    return {"sessions": len(state_keys("session:"))}


def whoami(session: str) -> dict[str, Any]:
    found = state_get(f"session:{session}")
    return {"name": found["name"] if found else None}


def logout(session: str) -> dict[str, Any]:
    state_delete(f"session:{session}")
    return {"sessions": len(state_keys("session:"))}


def limited(user: str, limit: str = "3") -> dict[str, Any]:
    """So many requests a minute: the first one starts the minute."""
    return {"allowed": state_incr(f"rate:{user}", ttl_ms=60_000) <= int(limit)}


def buy(article: str, stock: str) -> dict[str, Any]:
    """Takes one from the stock, which is never sold twice."""
    state_add(f"stock:{article}", int(stock))
    left = state_decr(f"stock:{article}")
    if left < 0:
        state_incr(f"stock:{article}")
        return {"sold": False}
    return {"sold": True, "left": left}


def register(user: str, name: str) -> dict[str, Any]:
    state_set(f"user:{user}", {"name": name})
    return {"users": state_keys("user:")}


def users(*idents: str) -> dict[str, Any]:
    """Several keys at once; who is not there is None."""
    return state_get_multi([f"user:{ident}" for ident in idents])


def tag(user: str, word: str) -> dict[str, Any]:
    """Reads, changes and writes; tries again when somebody else was faster."""
    key, tags = f"tags:{user}", state_get(f"tags:{user}")
    while True:
        done, tags = state_update(key, tags, sorted({*(tags or []), word}))
        if done:
            return {"tags": tags}


def track(path: str, status: int, milliseconds: float) -> None:
    """Three counters in one round trip."""
    with pipeline() as p:
        p.incr(f"metrics:requests:{path}")
        p.incr(f"metrics:status:{status}")
        p.incr(f"metrics:latency:{int(milliseconds // 100 * 100)}")


def metrics() -> dict[str, Any]:
    return state_get_multi(state_keys("metrics:"))


PAGES: dict[str, Callable[..., dict[str, Any]]] = {
    f"/{page.__name__}": page
    for page in (
        product, login, whoami, logout, limited, buy, register, users, tag, metrics,
    )
}  # fmt: skip


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/page?name=value&…` calls the function of that name; any other path counts its views."""
    path, begin = environ["PATH_INFO"], time.monotonic()
    values = [value for _, value in parse_qsl(environ["QUERY_STRING"])]
    page = PAGES.get(path)
    body = json.dumps(page(*values) if page else views(path)).encode()
    track(path, 200, (time.monotonic() - begin) * 1000)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
