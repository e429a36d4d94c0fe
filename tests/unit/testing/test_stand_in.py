# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a node: what users' tests rely on, through the public functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import hornbeam_erlang as erlang
from hornbeam_erlang import aio, testing
from hornbeam_ml import cached_inference


@pytest.fixture
def node() -> Iterator[testing.Node]:
    with testing.node() as stand_in:
        yield stand_in


def test_state(node: testing.Node) -> None:
    """Keys and values as with a node: counters, exact types, order, times to live, pipelines."""
    assert erlang.state_incr("views") == 1
    assert erlang.state_incr("views", 10) == 11
    erlang.state_set("user:1", {"name": "Alice", "raw": b"x", "pair": (1, True)})
    assert erlang.state_get("user:1") == {"name": "Alice", "raw": b"x", "pair": (1, True)}
    assert erlang.state_get_multi(["user:1", "user:2"])["user:2"] is None
    assert erlang.state_keys("user:") == ["user:1"]
    assert erlang.state_add("views", 0) is False
    assert erlang.state_cas("views", 11, 12) is True
    erlang.state_set(True, "true")
    assert erlang.state_get(1) is None
    erlang.state_set("short", 1, ttl_ms=1)
    with erlang.pipeline() as batch:
        first = batch.incr("views")
        batch.incr("user:1")
    assert first.result() == 13
    assert isinstance(batch.results[1], erlang.TermError)
    assert erlang.state_clear("user:") == 1
    assert erlang.state_get("user:1", default="gone") == "gone"
    with pytest.raises(erlang.TermError):
        erlang.state_set("bad", object())
    assert node.state["views"] == 13


def test_functions(node: testing.Node) -> None:
    """`call` reaches what the test registers; failures and casts are seen."""
    node.register_function("add", lambda a, b: a + b)
    assert erlang.call("add", 1, 2) == 3
    with pytest.raises(erlang.NotRegistered):
        erlang.call("subtract", 1, 2)
    with pytest.raises(erlang.RemoteError):
        erlang.call("add", 1, "x")
    node.register_function("nested", lambda: erlang.call("add", 20, 22))
    assert erlang.call("nested") == 42
    erlang.cast("log", "login", {"user": 1})
    assert erlang.call("add", 0, 0) == 0
    assert node.casts == [("log", ["login", {"user": 1}])]


def test_pubsub(node: testing.Node) -> None:
    """Subscribers get what is published, more than the credit of a subscription too."""
    with erlang.subscription("a", prefix=True) as messages:
        assert erlang.publish("ab", [b"x", "x"]) == 1
        assert messages.receive() == ("ab", [b"x", "x"])
        for number in range(3000):
            erlang.publish("a", number)
        received = 0
        while messages.receive(timeout=0.2) is not None:
            received += 1
        assert received + messages.lost == 3000
    assert erlang.publish("ab", 1) == 0
    assert node.published[0] == ("ab", [b"x", "x"])


def greet(action: str, name: str) -> str:
    if action == "fail":
        raise OSError(name)
    return f"{action} {name}"


class Counting:
    def upto(self, limit: int) -> Iterator[int]:
        yield from range(limit)

    def nested(self, name: str) -> Any:
        return erlang.execute("greeter", "hello", name)


def test_hooks(node: testing.Node) -> None:
    """Handlers are executed, streamed and awaited as tasks; nested, and with their failures."""
    erlang.register_hook("greeter", greet)
    erlang.register_hook("counting", Counting)
    try:
        assert erlang.execute("greeter", "hello", "Ada") == "hello Ada"
        assert erlang.execute("counting", "nested", "Bob") == "hello Bob"
        assert list(erlang.stream("counting", "upto", 100)) == list(range(100))
        with pytest.raises(erlang.HandlerError, match="OSError"):
            erlang.execute("greeter", "fail", "x")
        task = erlang.execute_async("greeter", "hello", "task")
        assert erlang.await_result(task) == "hello task"
        assert erlang.await_result(task) == "hello task"
        with pytest.raises(erlang.NotRegistered):
            erlang.execute("nobody", "hello")
    finally:
        erlang.unregister_hook("greeter")
        erlang.unregister_hook("counting")


def test_async(node: testing.Node) -> None:
    """The functions of `aio` work in a loop of the test."""

    async def work() -> list[int]:
        return list(await asyncio.gather(*(aio.state_incr("n") for _ in range(50))))

    assert sorted(asyncio.run(work())) == list(range(1, 51))


def test_cache(node: testing.Node) -> None:
    """Results are computed once, also when threads ask at the same time."""
    runs = []
    started = threading.Event()
    go_on = threading.Event()

    def slow(text: str) -> str:
        runs.append(text)
        started.set()
        assert go_on.wait(30)
        return text.upper()

    results: list[str] = []
    ask = lambda: results.append(cached_inference(slow, "x", cache_key="k"))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert (results, runs) == (["X"] * 4, ["x"])
    assert erlang.cache_stats()["misses"] == 1


def test_each_stand_in_is_fresh() -> None:
    """Nothing is left of one when the next is made; outside there is no connection."""
    for _ in range(3):
        with testing.node() as node:
            assert erlang.state_incr("n") == 1
            with pytest.raises(RuntimeError, match="connected already"), testing.node():
                pass
            assert node.state == {"n": 1}
    with pytest.raises(erlang.NotConnected):
        erlang.state_get("n")


def test_other_nodes(node: testing.Node) -> None:
    """Nodes that the test adds are called, come and go, and fail as real ones do."""
    gpu = "gpu@ml"

    def dies(reason: str) -> None:
        raise erlang.NodeDown(gpu, reason)

    with erlang.monitor_nodes() as events:
        node.add_node(gpu, {("ml", "predict"): lambda x: ("ok", x), ("ml", "dies"): dies})
        assert (erlang.nodes(), erlang.ping(gpu), erlang.ping("a@b")) == ([gpu], True, False)
        assert erlang.rpc_call(gpu, "ml", "predict", [[1, b"x"]]) == ("ok", [1, b"x"])
        assert asyncio.run(aio.rpc_call(gpu, "ml", "predict", [1])) == ("ok", 1)
        with pytest.raises(erlang.NodeDown, match="out of memory"):
            erlang.rpc_call(gpu, "ml", "dies", ["out of memory"])
        with pytest.raises(erlang.RemoteError, match="undef"):
            erlang.rpc_call(gpu, "ml", "nothing", [])
        with pytest.raises(erlang.RemoteError, match="TypeError"):
            erlang.rpc_call(gpu, "ml", "predict", [1, 2])
        found = erlang.rpc_multicall([gpu, "a@b"], "ml", "predict", [1])
        assert found[gpu] == ("ok", 1)
        assert isinstance(found["a@b"], erlang.NodeDown)
        erlang.rpc_cast("logs@a", "logger", "log", ["info", "x"])
        assert erlang.node() == "nonode@nohost"
        assert node.rpc_casts == [("logs@a", "logger", "log", ["info", "x"])]
        assert erlang.publish("nodes", "somebody else's") == 0
        node.remove_node(gpu)
        with pytest.raises(erlang.NodeDown):
            erlang.connect(gpu)
        told = [published.message for _ in range(2) if (published := events.receive(10))]
    assert [(event.event, event.node) for event in told] == [("nodeup", gpu), ("nodedown", gpu)]


def test_node_events_by_callback(node: testing.Node) -> None:
    """A callback gets every event, also after one that it failed for; `close` ends it."""
    told: list[str] = []
    both = threading.Event()

    def failing(event: erlang.NodeEvent) -> None:
        told.append(event.event)
        if len(told) == 2:
            both.set()
        raise ValueError(event)

    events = erlang.monitor_nodes(failing)
    node.add_node("a@b")
    node.remove_node("a@b")
    assert both.wait(30)
    events.close()
    assert told == ["nodeup", "nodedown"]
