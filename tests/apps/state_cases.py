# SPDX-License-Identifier: Apache-2.0
"""Cases of shared state, run inside a worker: `/name` runs the function of that name.

A case asserts; what it asserts is 200 `ok`, an AssertionError is 500. `/count?file&times` adds to a
counter and notes in the file, before it goes on, every value that it got.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import hornbeam_erlang as h
from hornbeam_erlang import Atom, TermError, aio
from hornbeam_erlang._pipeline import Batch

# Design: the Python type of a value never depends on its bytes.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 255, 256, 2**31, 2**63, 2**80, -(2**80), 1.0, 1.5, -0.0, 1e-20,
    1e300, "", "x", "zwölf", "\0", "1", b"", b"x", b"\xff", b"1", "undefined", "true",
    Atom("ok"), Atom("undefined_"[:-1]), [], [65, 66], [1, [2, [3]]], list(range(300)), (), (1,),
    ("a", b"a", 1, None), {}, {"k": 1}, {1: "a", "1": "b", b"1": "c", (1, 2): [], None: True},
    {"deep": [{"er": ({"x": b"y"},)}]}, "x" * 100_000, b"y" * 100_000,
]  # fmt: skip


def same(left: object, right: object) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right) and not {type(left), type(right)} <= {str, Atom}:
        return False
    if isinstance(left, list | tuple):
        assert isinstance(right, list | tuple)
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        assert isinstance(right, dict)
        by_repr = [sorted(d.items(), key=repr) for d in (left, right)]
        return same(*by_repr)
    return repr(left) == repr(right)


def is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline, "the condition was not met within 10 s"


def refusal(operation: Callable[[], object]) -> str:
    """The text of the TermError that `operation` raises."""
    try:
        operation()
    except TermError as exc:
        return str(exc)
    raise AssertionError("nothing was raised")


# Cases.


def values() -> None:
    """Every value comes back as it went in, alone, among others, and through a pipeline."""
    for value in VALUES:
        if value == "undefined" and isinstance(value, Atom):
            continue  # another way to write None
        h.state_set("values:key", value)
        assert same(h.state_get("values:key", "default"), value), repr(value)[:80]
    h.state_set_multi({("values", number): value for number, value in enumerate(VALUES[:28])})
    found = h.state_get_multi([("values", number) for number in range(28)])
    assert same(list(found.values()), VALUES[:28])
    with h.pipeline() as p:
        for value in VALUES[:28]:
            p.set("values:key", value)
            p.get("values:key")
    assert same(p.results[1::2], VALUES[:28])


def keys() -> None:
    """Any hashable value is a key of its own, but for numbers that are equal."""
    wanted = [value for value in VALUES if is_hashable(value) and type(value) is not float]
    wanted = [value for value in wanted if type(value) is not Atom] + [Atom("ok"), 1.5, 1e-20]
    for number, key in enumerate(wanted):
        h.state_set(("keys", key), number)
    for number, key in enumerate(wanted):
        assert h.state_get(("keys", key)) == number, key
    kept = [key for key in h.state_keys() if type(key) is tuple and key[0] == "keys"]
    assert sorted(map(repr, kept)) == sorted(repr(("keys", key)) for key in wanted)
    h.state_set(1, "one")
    h.state_set(True, "true")
    assert (h.state_get(1.0), h.state_get(True), h.state_get(1)) == ("one", "true", "one")
    assert h.state_delete_multi([*(("keys", key) for key in wanted), 1, True]) == len(wanted) + 2


def operations() -> None:
    """Every operation does what its documentation says."""
    h.state_clear("op:")
    assert h.state_get("op:a") is None
    assert h.state_get("op:a", default=()) == ()
    assert h.state_set("op:a", None) is None
    assert h.state_get("op:a", 7) is None
    assert h.state_delete("op:a") is None
    assert h.state_delete("op:a") is None
    assert [h.state_incr("op:n"), h.state_incr("op:n", 10), h.state_decr("op:n", 12)] == [1, 11, -1]
    assert (h.state_add("op:b", 1), h.state_add("op:b", 2)) == (True, False)
    assert (h.state_cas("op:b", True, 3), h.state_cas("op:b", 1.0, 3)) == (False, False)
    assert (h.state_cas("op:b", 1, 3), h.state_get("op:b")) == (True, 3)
    assert h.state_cas("op:new", None, [1])
    assert h.state_update("op:new", [2], [3]) == (False, [1])
    assert h.state_update("op:new", [1], [3]) == (True, [3])
    assert h.state_keys("op:") == ["op:b", "op:n", "op:new"]
    assert h.state_scan("op:", 2) == [("op:b", 3), ("op:n", -1)]
    assert h.state_scan("op:", limit=2, after="op:n") == [("op:new", [3])]
    assert h.state_get_multi(["op:b", "op:x"], default=0) == {"op:b": 3, "op:x": 0}
    assert h.state_get_multi([]) == {}
    assert h.state_delete_multi(["op:b", "op:x"]) == 1
    info = h.state_info()
    assert (info["entries"] or 0) >= 2
    assert (info["max_entries"], info["max_bytes"]) == (10_000_000, 2**30)
    assert h.state_clear("op:") == 2
    assert h.get is h.state_get
    assert h.set is h.state_set
    assert (h.delete, h.incr, h.decr) == (h.state_delete, h.state_incr, h.state_decr)


def times() -> None:
    """A key is gone when its time is over; a new value has a new time."""
    h.state_clear("time:")
    h.state_set("time:a", 1, ttl_ms=30)
    assert h.state_incr("time:n", ttl_ms=30) == 1
    h.state_set_multi({"time:b": 1, "time:c": 2}, ttl_ms=30)
    h.state_set("time:b", "stays")
    until(lambda: h.state_get("time:c") is None)
    until(lambda: h.state_keys("time:") == ["time:b"])
    assert h.state_add("time:a", 5, ttl_ms=86_400_000)
    assert h.state_incr("time:n") == 1


def errors() -> None:
    """What cannot be done raises what the documentation says and changes nothing."""
    h.state_set("error:text", "1")
    h.state_set("error:true", True)
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: h.state_incr("error:text"), "the value is no integer; nothing was changed"),
        (lambda: h.state_incr("error:true"), "the value is no integer; nothing was changed"),
        (lambda: h.state_incr("error:n", 1.0), "does not take such arguments"),  # type: ignore[arg-type]
        (lambda: h.state_set("error:n", 1, ttl_ms=0), "ttl_ms is a positive number"),
        (lambda: h.state_set("error:n", object()), "object"),
        (lambda: h.state_set("error:n", float("nan")), "nan"),
        (lambda: h.state_keys(1), "does not take such arguments"),  # type: ignore[arg-type]
        (lambda: h.state_scan("error:", 0), "does not take such arguments"),
    ]
    for operation, text in refused:
        assert text in refusal(operation)
    assert h.state_get_multi(["error:text", "error:true"]) == {
        "error:text": "1",
        "error:true": True,
    }
    assert h.state_keys("error:") == ["error:text", "error:true"]


def check_pipeline(p: Batch, queue: list[Any]) -> None:
    outcome = [type(entry) if isinstance(entry, Exception) else entry for entry in p.results]
    assert outcome == [None, TermError, 2, True, {"pipe:n": 2, "pipe:x": None}, "default"], outcome
    assert queue[2].result() == 2
    text = "state_incr: the value is no integer; nothing was changed"
    assert refusal(queue[1].result) == text


def fill_pipeline(p: Batch) -> list[Any]:
    return [
        p.set("pipe:text", "x"), p.incr("pipe:text"), p.incr("pipe:n", 2), p.add("pipe:a", []),
        p.get_multi(["pipe:n", "pipe:x"]), p.get("pipe:x", "default"),
    ]  # fmt: skip


def pipelines() -> None:
    """A pipeline gives results in order, and each operation its own error."""
    h.state_clear("pipe:")
    with h.pipeline() as p:
        queue = fill_pipeline(p)
    check_pipeline(p, queue)
    with h.pipeline() as p:
        pass
    assert p.results == []
    try:
        with h.pipeline() as p:
            p.set("pipe:never", 1)
            raise KeyError("given up")
    except KeyError:
        pass
    assert h.state_get("pipe:never") is None
    with h.pipeline() as p:
        for number in range(5000):
            p.incr("pipe:many")
            p.set(f"pipe:{number}", "x" * 20)
    assert p.results[::2] == list(range(1, 5001))
    assert h.state_clear("pipe:") == 5004


async def asynchronous() -> None:
    """The coroutines do the same, many at once; one that is cancelled hurts nobody."""
    await aio.state_clear("aio:")
    await aio.state_clear("pipe:")
    await aio.state_set("aio:a", b"x")
    assert await aio.get("aio:a") == b"x"
    values = await asyncio.gather(*(aio.incr("aio:n") for _ in range(1000)))
    assert sorted(values) == list(range(1, 1001))
    given_up = [asyncio.ensure_future(aio.state_keys("aio:")) for _ in range(20)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    outcomes = await asyncio.gather(*given_up, return_exceptions=True)
    assert all(o == ["aio:a", "aio:n"] or type(o) is asyncio.CancelledError for o in outcomes)
    async with aio.pipeline() as p:
        queue = fill_pipeline(p)
    check_pipeline(p, queue)
    refused = await asyncio.gather(aio.state_incr("aio:a"), return_exceptions=True)
    assert [type(outcome) for outcome in refused] == [TermError]


async def responsive() -> None:
    """An event loop goes on while it awaits the node: other tasks run in between."""
    keys = [f"loop:{number}" for number in range(2000)]
    await aio.state_set_multi(dict.fromkeys(keys, "x" * 100))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(others())
    for _ in range(5):
        assert len(await aio.state_get_multi(keys)) == 2000
    assert len(await aio.state_scan("loop:", 5000)) == 2000
    task.cancel()
    assert turns >= 6
    assert await aio.state_clear("loop:") == 2000


async def large() -> None:
    """Large values that are asked for at once all arrive, though no packet could hold them."""
    value = b"x" * (22 << 20)
    await aio.state_set("large:", value)
    found = await asyncio.gather(*(aio.state_get("large:") for _ in range(4)))
    assert [len(each) for each in found] == [len(value)] * 4
    await aio.state_delete("large:")


CASES = (values, keys, operations, times, errors, pipelines)
ASYNC_CASES = (asynchronous, responsive, large)


def run(name: str) -> None:
    for case in CASES:
        if case.__name__ == name:
            case()
    for coroutine in ASYNC_CASES:
        if coroutine.__name__ == name:
            asyncio.run(coroutine())


# Counting.


def count(path: str, times: int) -> None:
    """Adds to the counter `times` times; the file gets each value as soon as it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        for _ in range(times):
            os.write(descriptor, b"%d\n" % h.state_incr("counter"))
    finally:
        os.close(descriptor)


def counter() -> int:
    value: int = h.state_get("counter", 0)
    return value


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    name, query = environ["PATH_INFO"][1:], environ["QUERY_STRING"]
    text = "ok"
    if name == "count":
        path, times = query.split("&")
        count(path, int(times))
    elif name == "counter":
        text = str(counter())
    elif name.startswith("thread/"):
        with ThreadPoolExecutor(1) as plain:
            plain.submit(run, name.removeprefix("thread/")).result()
    else:
        run(name)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]


async def in_loop(name: str) -> None:
    for coroutine in ASYNC_CASES:
        if coroutine.__name__ == name:
            await coroutine()
    for case in CASES:
        if case.__name__ == name:
            case()


async def asgi(
    scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
) -> None:
    """The cases in the event loop of an ASGI worker; `/thread/name` in a thread beside it,
    `/task/name` in a task of its own; as WebSocket a text `ok` when the case is over."""
    assert scope["type"] in ("http", "websocket")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    *where, name = scope["path"].split("/")
    if where == ["", "thread"]:
        await asyncio.to_thread(run, name)
    elif where == ["", "task"]:
        await asyncio.create_task(in_loop(name))
    else:
        await in_loop(name)
    if scope["type"] == "websocket":
        await send({"type": "websocket.send", "text": "ok"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
