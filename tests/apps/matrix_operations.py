# SPDX-License-Identifier: Apache-2.0
"""The operations of `apps.matrix`, each written once for threads and for event loops.

An operation is a generator of steps: a step is the name of a public function with its arguments, or
NOW, before the step that the outcome is about. What a step returns is sent back, and what the
generator returns is the result of the operation. Runs in the workers; tests read the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

UNSENDABLE: Final = object()
SLOW_MS = 700
NOW: Final = "now"

Step: TypeAlias = str | tuple[Any, ...]
Steps: TypeAlias = Generator[Step, Any, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an operation.

    Attributes:
        outcome: what it is to come to: a row of the table in tests/live/test_matrix.py.
        pids: the process ids of both workers.
        key: a text that no other attempt has.
    """

    outcome: str
    pids: list[int]
    key: str

    def value(self, value: Any) -> Any:
        """`value`, or one that cannot be sent where that is the outcome."""
        return UNSENDABLE if self.outcome == "unsendable" else value

    def life(self) -> dict[str, int]:
        """`ttl_ms`, which is refused where that is the outcome."""
        return {"ttl_ms": 0 if self.outcome == "refused" else 60_000}

    def other(self) -> int:
        """The worker that this one is not: what kills a handler must not kill who waits."""
        return next(pid for pid in self.pids if pid != os.getpid())


@dataclass(frozen=True, slots=True)
class Operation:
    """A row.

    Attributes:
        names: the public functions that it tries.
        steps: makes its steps.
        is_slow: whether whom it asks is slow of itself where the outcome is a timeout; else the
            node is kept from answering.
    """

    names: tuple[str, ...]
    steps: Callable[[Attempt], Steps]
    is_slow: bool = False


OPERATIONS: dict[str, Operation] = {}


def operation(
    *names: str, is_slow: bool = False
) -> Callable[[Callable[[Attempt], Steps]], Callable[[Attempt], Steps]]:
    def entered(steps: Callable[[Attempt], Steps]) -> Callable[[Attempt], Steps]:
        OPERATIONS[steps.__name__] = Operation(names, steps, is_slow)
        return steps

    return entered


# Functions and handlers: the outcome is the name of what they reach.


def action(attempt: Attempt) -> tuple[Any, ...]:
    """What is called and with what. What is cancelled is as slow as what times out."""
    if attempt.outcome in ("timeout", "cancelled"):
        return "timeout", SLOW_MS
    return (attempt.outcome, 1, 2) if attempt.outcome == "ok" else (attempt.outcome,)


def function(attempt: Attempt) -> tuple[Any, ...]:
    """The same in Erlang, where every value can be sent."""
    return ("ok", UNSENDABLE) if attempt.outcome == "unsendable" else action(attempt)


@operation("call", is_slow=True)
def call(attempt: Attempt) -> Steps:
    yield NOW
    return (yield "call", *function(attempt))


@operation("cast", is_slow=True)
def cast(attempt: Attempt) -> Steps:
    return (yield "cast", *function(attempt))


def remote(attempt: Attempt) -> tuple[Any, ...]:
    """The same by module and function; what is refused is no name."""
    if attempt.outcome in ("timeout", "cancelled"):
        return "timer", "sleep", [SLOW_MS], 50 if attempt.outcome == "timeout" else 5000
    if attempt.outcome in ("killed", "crash"):
        return "hornbeam_functions", "run", [attempt.outcome, []]
    return "" if attempt.outcome == "refused" else "lists", "append", [[1], [attempt.value(2)]]


@operation("rpc_call", "node", "nodes", "ping", is_slow=True)
def rpc(attempt: Attempt) -> Steps:
    own = yield ("node",)
    yield NOW
    found = yield "rpc_call", own, *remote(attempt)
    return [found, (yield ("nodes",)), (yield "ping", own)]


@operation("rpc_cast", is_slow=True)
def rpc_cast(attempt: Attempt) -> Steps:
    own = yield ("node",)
    yield NOW
    return (yield "rpc_cast", own, *remote(attempt)[:3])


@operation("execute", is_slow=True)
def execute(attempt: Attempt) -> Steps:
    yield NOW
    return (yield "execute", f"calls-{attempt.other()}", *action(attempt))


@operation("execute_async", "await_result", is_slow=True)
def task(attempt: Attempt) -> Steps:
    task_id = yield "execute_async", f"calls-{attempt.other()}", *action(attempt)
    yield NOW
    first = yield "await_result", task_id
    return [first, (yield "await_result", task_id) == first]


@operation("stream", is_slow=True)
def stream(attempt: Attempt) -> Steps:
    yield NOW
    return (yield "stream", f"items-{attempt.other()}", *action(attempt))


@operation("stream_async", is_slow=True)
def stream_async(attempt: Attempt) -> Steps:
    yield NOW
    return (yield "stream_async", f"items-{attempt.other()}", *action(attempt))


@operation("register_hook", "unregister_hook")
def hook(attempt: Attempt) -> Steps:
    path = attempt.key
    yield NOW
    yield "register_hook", path, lambda action, *args: [action, *args]
    found = yield "execute", path, "act", attempt.value(1)
    yield "unregister_hook", path
    return found


# Shared state.


@operation("state_get")
def state_get(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, "there"
    yield NOW
    return (yield "state_get", attempt.value(attempt.key))


@operation("state_set")
def state_set(attempt: Attempt) -> Steps:
    yield NOW
    yield ("state_set", attempt.key, attempt.value("new"), attempt.life())
    return (yield "state_get", attempt.key)


@operation("state_delete")
def state_delete(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, "there"
    yield NOW
    yield "state_delete", attempt.value(attempt.key)
    return (yield "state_get", attempt.key)


def counter(attempt: Attempt) -> Any:
    """What cannot be added to is refused."""
    return "no number" if attempt.outcome == "refused" else 5


@operation("state_incr")
def state_incr(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, counter(attempt)
    yield NOW
    return (yield "state_incr", attempt.value(attempt.key), 2)


@operation("state_decr")
def state_decr(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, counter(attempt)
    yield NOW
    return (yield "state_decr", attempt.value(attempt.key), 2)


@operation("state_add")
def state_add(attempt: Attempt) -> Steps:
    yield NOW
    first = yield "state_add", attempt.key, attempt.value("new"), attempt.life()
    return [first, (yield "state_add", attempt.key, "newer")]


@operation("state_cas")
def state_cas(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, 5
    yield NOW
    first = yield "state_cas", attempt.key, 5, attempt.value(6), attempt.life()
    return [first, (yield "state_cas", attempt.key, 5, 7)]


@operation("state_update")
def state_update(attempt: Attempt) -> Steps:
    yield "state_set", attempt.key, 5
    yield NOW
    first = yield "state_update", attempt.key, 5, attempt.value(6), attempt.life()
    return [first, (yield "state_update", attempt.key, 5, 7)]


@operation("state_get_multi", "state_set_multi", "state_delete_multi")
def state_multi(attempt: Attempt) -> Steps:
    key = attempt.key
    yield NOW
    yield "state_set_multi", {key: attempt.value(1), key + "b": 2}, attempt.life()
    found = yield "state_get_multi", [key, key + "b", key + "c"]
    return [list(found.values()), (yield "state_delete_multi", [key, key + "c"])]


@operation("state_keys", "state_scan", "state_clear")
def state_walk(attempt: Attempt) -> Steps:
    key = attempt.key
    yield "state_set_multi", {key + "a": 1, key + "b": 2}
    yield NOW
    prefix = "refused", 1
    found = yield "state_keys", prefix if attempt.outcome == "refused" else attempt.value(key)
    page = yield "state_scan", key, 1
    left = [name.removeprefix(key) for name in found]
    return [left, [value for _, value in page], (yield "state_clear", key)]


@operation("state_info")
def state_info(attempt: Attempt) -> Steps:
    yield NOW
    return sorted((yield ("state_info",)))


@operation("pipeline")
def pipeline(attempt: Attempt) -> Steps:
    yield NOW
    key = attempt.key
    added = "incr", key, "one" if attempt.outcome == "refused" else 1
    return (yield "pipeline", [("set", key, attempt.value(1)), added, ("get", key)])


# Caches.


@operation("cached")
def cached(attempt: Attempt) -> Steps:
    yield NOW
    first = yield "cached", attempt.key, attempt.value("computed")
    return [first, (yield "cached", attempt.key, "computed again")]


@operation("cache_clear", "cache_stats")
def cache(attempt: Attempt) -> Steps:
    yield "cached", attempt.key, "computed"
    yield NOW
    cleared = yield "cache_clear", attempt.value(attempt.key)
    return [cleared, sorted((yield ("cache_stats",)))]


# Publish and subscribe.


@operation("publish", "subscribe", "unsubscribe", "receive_pubsub", "lost_messages")
def pubsub(attempt: Attempt) -> Steps:
    topic = attempt.key
    if attempt.outcome == "timeout":
        yield NOW  # publish has a time of its own
    yield "subscribe", topic
    yield NOW
    count = yield "publish", topic, attempt.value("news")
    message = yield "receive_pubsub", 20.0
    lost = yield ("lost_messages",)
    yield "unsubscribe", topic
    return [count, message, lost]


@operation("subscription")
def subscription(attempt: Attempt) -> Steps:
    yield NOW
    return (yield "subscription", attempt.key, attempt.value("news"))
