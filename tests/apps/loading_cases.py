# SPDX-License-Identifier: Apache-2.0
"""Applications that set things up on the node while they are imported, and while they start up.

`/` answers what came of it as JSON. `wsgi` and `asgi` are the applications; `failing` is one whose
startup fails while calls of its are open.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import hornbeam_erlang as h
from hornbeam_erlang import aio

FOUND: dict[str, Any] = {}


class Own:
    def act(self, value: int) -> list[int]:
        return [value, os.getpid()]


def in_thread() -> None:
    FOUND["thread"] = h.state_incr("loaded in a thread")


h.hook("own", Own)
FOUND["imported"] = h.state_incr("imported")
h.state_set("set up", {"at": "import"})
with h.pipeline() as _pipeline:
    _pipeline.incr("piped")
FOUND["call"] = h.call("twice", 21)
FOUND["cached"] = h.cached("loading", lambda: "computed")
h.cast("noted", "imported")
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
# Somebody who listens from the import on, in a thread of its own.
subscription = h.subscription("news")
FOUND["published"] = h.publish(f"nobody-{os.getpid()}", "x")


def told() -> Any:
    """What the subscription of the import has been told by now."""
    published = subscription.receive(10)
    return None if published is None else published.message


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    h.publish("news", "hello")
    found = {**FOUND, "own": h.execute("own", "act", 1)[0], "told": told()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


async def listen() -> None:
    """Started by the startup, goes on between requests."""
    async with await aio.subscription("background") as background:
        FOUND["listening"].set()
        async for message in background:
            FOUND["background"] = message
            FOUND["heard"].set()


async def startup(state: dict[str, Any]) -> None:
    FOUND["started"] = await aio.state_incr("started")
    FOUND["blocking"] = h.state_get("set up")
    FOUND["async call"] = await aio.call("twice", 4)
    FOUND["listening"], FOUND["heard"] = asyncio.Event(), asyncio.Event()
    state["task"] = asyncio.create_task(listen())
    await FOUND["listening"].wait()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await startup(scope["state"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        scope["state"]["task"].cancel()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await aio.publish("background", "tick")
    await FOUND["heard"].wait()
    events = ("listening", "heard")
    found = {key: value for key, value in FOUND.items() if key not in events}
    found["own"] = (await aio.execute("own", "act", 1))[0]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    waiting = asyncio.create_task(aio.call("slow"))
    await asyncio.sleep(0)
    message = f"not today: {h.state_get('set up')}, {waiting.done()}"
    await send({"type": "lifespan.startup.failed", "message": message})
