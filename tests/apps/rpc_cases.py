# SPDX-License-Identifier: Apache-2.0
"""Calls of another node from every kind of code: `/place?node&dead`, where the answer is what a
list of operations came to, as JSON. `wsgi` and `asgi` are the applications.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any
from urllib.parse import unquote

import hornbeam_erlang
from hornbeam_erlang import aio, monitor_nodes, rpc_cast

Found = list[Any]


def outcome(operation: Callable[[], Any]) -> Any:
    """What came back, or the names of the exception's classes that applications catch."""
    try:
        return operation()
    except Exception as exc:
        return [kind.__name__ for kind in type(exc).__mro__ if kind.__name__ in CAUGHT]


CAUGHT = ("CallTimeout", "NodeDown", "RemoteError", "TimeoutError", "ConnectionError")


def operations(node: str, dead: str) -> list[tuple[str, tuple[Any, ...]]]:
    """Functions of hornbeam_erlang and their arguments."""
    key = threading.get_ident()
    return [
        ("rpc_call", (node, "lists", "reverse", [[1, "a", None]])),
        ("rpc_call", (node, "maps", "find", ["a", {"a": b"\xff"}])),
        ("rpc_call", (node, "timer", "sleep", [5000], 50)),
        ("rpc_call", (dead, "lists", "reverse", [[]])),
        ("rpc_call", (node, "erlang", "error", ["because"])),
        ("rpc_call", (node, "persistent_term", "put", [key, "x" * 100_000])),
        ("rpc_call", (node, "persistent_term", "get", [key])),
        ("rpc_multicall", ([node], "erlang", "length", [[1, 2]])),
        ("nodes", ()),
        ("ping", (node,)),
        ("ping", (dead,)),
    ]


def shown(node: str, found: Found) -> Found:
    """Without what differs between places: the name of the node, lengths of long texts."""
    short = [len(each) if isinstance(each, str) and len(each) > 1000 else each for each in found]
    return json.loads(json.dumps(short, default=list).replace(node, "NODE"))  # type: ignore[no-any-return]


def plain(node: str, dead: str) -> Found:
    """In the calling thread."""
    found = []
    for name, arguments in operations(node, dead):
        found.append(outcome(lambda: getattr(hornbeam_erlang, name)(*arguments)))  # noqa: B023
    return shown(node, decoded(found))


def decoded(found: Found) -> Found:
    return [("bytes" if each == ("ok", b"\xff") else each) for each in found]


def in_thread(node: str, dead: str) -> Found:
    """In a thread that is none of the worker's."""
    found: Found = []
    thread = threading.Thread(target=lambda: found.extend(plain(node, dead)))
    thread.start()
    thread.join(30)
    return found


async def awaited(node: str, dead: str) -> Found:
    """All at once."""

    async def one(name: str, arguments: tuple[Any, ...]) -> Any:
        operation: Callable[..., Awaitable[Any]] = getattr(aio, name)
        try:
            return await operation(*arguments)
        except Exception as exc:
            raised = exc
        return outcome(lambda: reraise(raised))

    calls = operations(node, dead)
    stored = await one(*calls[5])  # it is read by the one after it
    found = await asyncio.gather(*(one(*call) for call in calls[:5] + calls[6:]))
    return shown(node, decoded([*found[:5], stored, *found[5:]]))


def reraise(exc: Exception) -> Any:
    raise exc


async def background(node: str, dead: str) -> Found:
    """In a task that the request has started."""
    return await asyncio.create_task(awaited(node, dead))


async def blocking(node: str, dead: str) -> Found:
    """In the thread of the loop, which waits: what the first document shows."""
    return plain(node, dead)


async def to_thread(node: str, dead: str) -> Found:
    return await asyncio.to_thread(plain, node, dead)


def events(node: str, dead: str) -> Found:
    """A node that is disconnected and connected again, as a subscriber is told of it."""
    told: Found = []
    with monitor_nodes() as found:
        hornbeam_erlang.disconnect(node)
        hornbeam_erlang.connect(node)
        while not is_back(told, node):
            event = found.receive(20)
            told.append(event and [event.topic, *event.message])
    return shown(node, [each for each in told if each[2] == node])


def is_back(told: Found, node: str) -> bool:
    """Other nodes may come and go, too: Erlang leaves no two halves of a cluster that overlap."""
    return bool(told) and told[-1][1:3] == ["nodeup", node]


async def events_awaited(node: str, dead: str) -> Found:
    told: Found = []
    async with await aio.monitor_nodes() as found:
        await aio.disconnect(node)
        await aio.connect(node)
        async for event in found:
            told.append([found.topic, *event])
            if is_back(told, node):
                break
    return shown(node, [each for each in told if each[2] == node])


def cast(node: str, dead: str) -> Found:
    """Casts that arrive, and one that cannot."""
    rpc_cast(dead, "persistent_term", "put", ["cast", 0])
    rpc_cast(node, "persistent_term", "put", ["cast", 1])
    return []


SYNC = {"plain": plain, "thread": in_thread, "events": events, "cast": cast}
ASYNC: dict[str, Callable[[str, str], Coroutine[Any, Any, Found]]] = {
    "awaited": awaited,
    "background": background,
    "blocking": blocking,
    "to_thread": to_thread,
    "events_awaited": events_awaited,
}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    node, _, dead = unquote(environ["QUERY_STRING"]).partition("&")
    found = SYNC[environ["PATH_INFO"][1:]](node, dead)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    node, _, dead = unquote(scope["query_string"].decode()).partition("&")
    found = await ASYNC[scope["path"][1:]](node, dead)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})
