# SPDX-License-Identifier: Apache-2.0
"""What the documents that describe hornbeam show, one case for each of their examples, as people
write it: `/case` runs the function of that name.

A case asserts; what it asserts is 200 `ok`, an AssertionError is 500. Those for ASGI are in
`documented_asgi`. tests/live/test_documented.py has the Erlang side and the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import hornbeam_erlang
from hornbeam_erlang import (
    await_result,
    call,
    cast,
    decr,
    delete,
    execute,
    execute_async,
    get,
    hook,
    incr,
    publish,
    receive_pubsub,
    register_hook,
    set,
    state_decr,
    state_delete,
    state_get,
    state_get_multi,
    state_incr,
    state_keys,
    state_set,
    stream,
    subscribe,
    unhook,
    unregister_hook,
    unsubscribe,
)  # fmt: skip
from hornbeam_ml import cache_stats, cached_inference

CASES: dict[str, Callable[[], None]] = {}


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES[function.__name__] = function
    return function


def fresh(name: str) -> str:
    """A key, path or topic that no other run of a case has."""
    return f"{name}:{uuid4().hex}"


def failure(run: Callable[[], object]) -> str:
    """The text of what `run` raises, which is a RuntimeError."""
    try:
        run()
    except RuntimeError as exc:
        return str(exc)
    raise AssertionError("nothing was raised")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    CASES[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


# Shared state.


@case
def basic_operations() -> None:
    key = fresh("user")
    state_set(key, {"name": "Alice", "email": "alice@example.com"})
    user = state_get(key)
    assert user["name"] == "Alice"
    state_delete(key)
    assert state_get(key) is None


@case
def atomic_counters() -> None:
    page, score, quota = fresh("page_views"), fresh("score"), fresh("quota")
    assert state_incr(page) == 1
    assert state_incr(page, 10) == 11
    state_incr(score, 10)
    state_set(quota, 1)
    assert state_decr(quota, 1) == 0
    remaining = state_decr(quota)
    assert remaining < 0


@case
def rate_limit() -> None:
    user = fresh("user")

    def is_allowed(limit: int = 100) -> bool:
        key = f"rate:{user}:{time.strftime('%H')}"
        count = state_incr(key)
        if count == 1:
            state_set(f"{key}:ttl", 60)
        return count <= limit

    assert [is_allowed(2) for _ in range(3)] == [True, True, False]
    assert is_allowed()


@case
def batch_operations() -> None:
    prefix = fresh("user") + ":"
    one, two, three = (f"{prefix}{number}" for number in (1, 2, 3))
    state_set(one, {"name": "A"})
    state_set(two, {"name": "B"})
    users = state_get_multi([one, two, three])
    assert users == {one: {"name": "A"}, two: {"name": "B"}, three: None}
    assert sorted(state_keys(prefix)) == [one, two]
    assert {one, two} <= {*state_keys()}


@case
def cache_in_front_of_a_database() -> None:
    asked = []

    def product(ident: str) -> dict[str, str]:
        cached: dict[str, str] | None = state_get(f"product:{ident}")
        if cached:
            return cached
        asked.append(ident)
        state_set(f"product:{ident}", {"id": ident})
        return {"id": ident}

    ident = fresh("product")
    assert product(ident) == product(ident) == {"id": ident}
    assert asked == [ident]


@case
def sessions() -> None:
    ident = fresh("session")
    state_set(f"session:{ident}", {"user": 1})
    assert state_get(f"session:{ident}") == {"user": 1}


@case
def metrics() -> None:
    prefix, path, status, latency = fresh("metrics"), "/", 200, 234
    state_incr(f"{prefix}:requests:{path}")
    state_incr(f"{prefix}:status:{status}")
    bucket = latency // 100 * 100
    assert state_incr(f"{prefix}:latency:{bucket}") == 1
    assert state_keys(prefix) == sorted(
        f"{prefix}:{name}" for name in ("latency:200", "requests:/", "status:200")
    )


@case
def missing_keys() -> None:
    key = fresh("maybe_exists")
    value = state_get(key)
    if value is None:
        state_set(key, "computed")
    assert state_get(key) == "computed"


@case
def shortcuts() -> None:
    key, counter = fresh("key"), fresh("counter")
    set(key, "value")
    assert get(key) == "value"
    delete(key)
    assert get(key) is None
    assert (incr(counter), decr(counter)) == (1, 0)


# Publish and subscribe.


@case
def publish_and_subscribe() -> None:
    topic = fresh("notifications")
    subscribe(topic)
    subscribe(fresh("user:123:events"))
    count = publish(topic, {"type": "alert", "message": "Server restart in 5 minutes"})
    assert count == 1
    assert receive_pubsub(timeout=20)["type"] == "alert"
    unsubscribe(topic)


@case
def broadcast_updates() -> None:
    key = fresh("product")
    subscribe(key)
    state_set(key, {"price": 1})
    publish(key, {"type": "updated", "product_id": key, "data": {"price": 1}})
    assert receive_pubsub(timeout=20)["data"] == state_get(key)


# Registered functions; the Erlang side is in the test.


@case
def call_functions() -> None:
    assert call("add", 1, 2) == 3
    assert call("get_user", "alice") == "ALICE"
    assert call("validate_token", "good") == 7
    assert "invalid_token" in failure(lambda: call("validate_token", "bad"))


@case
def cast_functions() -> None:
    key = fresh("logged")
    cast("log_event", "user_login", {"key": key})
    deadline = time.monotonic() + 20
    while state_get(key) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert state_get(key) == "user_login"


@case
def authentication() -> None:
    def current_user(session_id: str) -> Any:
        try:
            return call("verify_session", session_id).get("user")
        except Exception:
            return None

    assert current_user("known") == "alice"
    assert current_user("unknown") is None


@case
def feature_flags() -> None:
    flags = {name: call("feature_enabled", name, 7) for name in ("new_ui", "beta")}
    assert flags == {"new_ui": True, "beta": False}


# Hooks.


def similarity(a: str, b: str) -> float:
    return len({*a} & {*b}) / len({*a} | {*b})


def function_handler(action: str, *args: Any, **kwargs: Any) -> Any:
    if action == "encode":
        return [ord(character) for character in args[0]]
    if action == "similarity":
        return similarity(args[0], args[1])
    raise ValueError(f"there is no action {action}")


class EmbeddingService:
    def __init__(self) -> None:
        self.calls = 0

    def encode(self, text: str) -> list[int]:
        self.calls += 1
        return [ord(character) for character in text]

    def similarity(self, a: str, b: str) -> float:
        return similarity(a, b)


def embeddings(handler: Any) -> None:
    path = fresh("embeddings")
    register_hook(path, handler)
    assert execute(path, "encode", "ab") == [97, 98]
    assert execute(path, "similarity", "ab", "bc") == 1 / 3
    assert "no_such_action" in failure(lambda: execute(path, "no_such_action"))
    unregister_hook(path)
    assert path in failure(lambda: execute(path, "encode", "ab"))


@case
def function_as_handler() -> None:
    embeddings(function_handler)


@case
def class_as_handler() -> None:
    embeddings(EmbeddingService)


@case
def instance_as_handler() -> None:
    embeddings(EmbeddingService())


@case
def handler_aliases() -> None:
    path = fresh("aliased")
    hook(path, function_handler)
    assert execute(path, "encode", "a") == [97]
    unhook(path)


class Model:
    def train(self, dataset: list[int]) -> int:
        return sum(dataset)

    def generate(self, prompt: str) -> Iterator[str]:
        yield from prompt


@case
def tasks() -> None:
    path = fresh("ml")
    register_hook(path, Model)
    task_id = execute_async(path, "train", [1, 2, 3])
    assert isinstance(task_id, str)
    assert await_result(task_id, timeout_ms=60000) == 6
    assert await_result(task_id) == 6


@case
def streams() -> None:
    path = fresh("llm")
    register_hook(path, Model)
    assert "".join(stream(path, "generate", "hello")) == "hello"


# Inference.


class Encoder:
    def __init__(self) -> None:
        self.calls = 0

    def encode(self, text: str) -> list[int]:
        self.calls += 1
        return [ord(character) for character in text]


@case
def inference() -> None:
    model, text = Encoder(), fresh("text")
    before = cache_stats()
    first = cached_inference(model.encode, text)
    assert cached_inference(model.encode, text) == first == model.encode(text)
    assert model.calls == 2
    own = cached_inference(model.encode, "ab", cache_key=fresh("embed:v2"), cache_prefix="docs")
    assert own == [97, 98]
    stats = cache_stats()
    assert stats["hits"] > before["hits"]
    assert stats["misses"] >= before["misses"] + 2
    assert 0 <= stats["hit_rate"] <= 1
    assert f"{stats['hit_rate']:.1%}".endswith("%")


@case
def views_and_data() -> None:
    path, key = fresh("/"), fresh("my_key")
    views = state_incr(f"views:{path}")
    data = state_get(key)
    if data is None:
        data = {"dear": True}
        state_set(key, data)
    assert f"Views: {views}" == "Views: 1"


@case
def subscribers_notified() -> None:
    count = publish(fresh("updates"), {"type": "new_item", "id": 123})
    assert json.dumps({"subscribers_notified": count}) == '{"subscribers_notified": 0}'


@case
def every_name_is_there() -> None:
    for name in ("rpc_call", "rpc_cast", "nodes", "node"):
        assert callable(getattr(hornbeam_erlang, name))
    assert "@" in hornbeam_erlang.node()
    assert hornbeam_erlang.nodes() == []
