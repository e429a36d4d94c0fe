# SPDX-License-Identifier: Apache-2.0
"""ASGI applications that speak lifespan, each in another way: `lifespan_cases:name`. What happens
is appended to the file that LIFESPAN_LOG names, a line each.

Runs in: the worker's loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from apps.asgi_types import App, Receive, Scope, Send, answer, answer_json


def log(line: str) -> None:
    with Path(os.environ["LIFESPAN_LOG"]).open("a") as file:
        file.write(line + "\n")


def with_lifespan(lifespan: App, http: App) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (lifespan if scope["type"] == "lifespan" else http)(scope, receive, send)

    return app


async def shown(scope: Scope, _receive: Receive, send: Send) -> None:
    """The state, as Python writes it; the request adds a key that no other one may see."""
    state = scope.get("state")
    await answer(send, repr(state).encode())
    if state is not None:
        state["left behind"] = True
        state.get("shared", []).append("seen")


class Opaque:
    """An object that no codec knows."""

    def __repr__(self) -> str:
        return "<opaque>"


Step = Callable[[Scope, Send], Awaitable[None]]


async def complete(_scope: Scope, send: Send) -> None:
    await send({"type": "lifespan.startup.complete"})


def speaking(startup: Step, shutdown: str = "lifespan.shutdown.complete") -> App:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "lifespan.startup"}
        log(f"startup {scope['asgi']['version']} {scope['asgi']['spec_version']}")
        await startup(scope, send)
        assert await receive() == {"type": "lifespan.shutdown"}
        log("shutdown")
        await asyncio.sleep(0.05)
        await send({"type": shutdown, "message": "the pool leaks"})
        log("shut down")

    return lifespan


async def fill(scope: Scope, send: Send) -> None:
    """State of every kind, the loop that serves among it."""
    loop = asyncio.get_running_loop()
    scope["state"].update(shared=[], opaque=Opaque(), function=len)
    scope["state"]["loop"] = type(loop).__module__
    await complete(scope, send)


state = with_lifespan(speaking(fill), shown)


async def fail(_scope: Scope, send: Send) -> None:
    log("failed")
    await send({"type": "lifespan.startup.failed", "message": "the database is asleep"})


async def fails_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await fail(scope, send)


async def fails_and_raises(scope: Scope, receive: Receive, send: Send) -> None:
    """As Starlette does: says that it failed, then raises."""
    await receive()
    await fail(scope, send)
    raise LookupError("the database is asleep, says the traceback")


async def raises_lifespan(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    log("raises")
    raise LookupError("raised in the startup")


async def ignores_lifespan(_scope: Scope, _receive: Receive, _send: Send) -> None:
    log("returns")


async def hangs_lifespan(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    log("hangs")
    await asyncio.sleep(3600)


async def hello(scope: Scope, _receive: Receive, send: Send) -> None:
    assert scope["type"] == "http", "this application does not speak lifespan"
    await answer(send, b"hello")


failed = with_lifespan(fails_lifespan, hello)
failed_raising = with_lifespan(fails_and_raises, hello)
raises = with_lifespan(raises_lifespan, hello)
ignores = with_lifespan(ignores_lifespan, hello)
hangs = with_lifespan(hangs_lifespan, hello)
shutdown_failed = with_lifespan(speaking(complete, "lifespan.shutdown.failed"), hello)


async def early(_scope: Scope, receive: Receive, send: Send) -> None:
    """Completes its startup and returns, without waiting for the shutdown."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    log("returned")


returned = with_lifespan(early, hello)


async def wrong_order(_scope: Scope, receive: Receive, send: Send) -> None:
    """Sends messages that have no place here, then completes."""
    await receive()
    for kind in ("lifespan.shutdown.complete", "http.response.start"):
        try:
            await send({"type": kind})
        except Exception as raised:
            log(f"{type(raised).__name__}: {raised}")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    log("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


wrong = with_lifespan(wrong_order, hello)


class Ticker:
    """A task started in the lifespan, which runs between requests, and what it has counted."""

    def __init__(self) -> None:
        self.ticks = 0

    async def run(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.005)


@asynccontextmanager
async def ticking() -> AsyncIterator[dict[str, Any]]:
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    yield {"ticker": ticker, "task": task}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    log("ticker stopped")


async def background_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    async with ticking() as made:
        scope["state"].update(made)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def ticks(scope: Scope, _receive: Receive, send: Send) -> None:
    """What the ticker has counted, and whether it runs in the loop that serves."""
    same = scope["state"]["task"].get_loop() is asyncio.get_running_loop()
    await answer_json(send, [scope["state"]["ticker"].ticks, same, os.getpid()])


background = with_lifespan(background_lifespan, ticks)
