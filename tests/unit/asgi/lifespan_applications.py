# SPDX-License-Identifier: Apache-2.0
"""ASGI applications whose lifespans differ; each request is answered alike."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from unit.asgi.registry import Application, Event, Receive, Send, answer, answer_json

COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def with_lifespan(run: Callable[[Receive, Send], Awaitable[None]]) -> Application:
    async def application(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run(receive, send)
        else:
            await answer(send)

    return application


async def speaks(scope: Event, receive: Receive, send: Send) -> None:
    state = scope.get("state", {})
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        state["kept"] = ["startup"]
        state["loop"] = asyncio.get_running_loop()
        await send(COMPLETE)
        assert (await receive())["type"] == "lifespan.shutdown"
        print("shutdown after", state["kept"], file=sys.stderr)
        await send(STOPPED)
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.1)
    own = [key for key in state if key not in ("kept", "loop")]
    state["left"] = "over"
    state.setdefault("kept", []).append("request")
    same = state.get("loop") is asyncio.get_running_loop()
    await answer_json(send, {"kept": state["kept"], "own": own, "same_loop": same})


@with_lifespan
async def raises(receive: Receive, send: Send) -> None:
    raise ValueError("no lifespan here")


@with_lifespan
async def returns(receive: Receive, send: Send) -> None:
    return


@with_lifespan
async def fails(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


@with_lifespan
async def fails_and_raises(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
    raise LookupError("no database")


@with_lifespan
async def hangs(receive: Receive, send: Send) -> None:
    await asyncio.sleep(60)


@with_lifespan
async def confused(receive: Receive, send: Send) -> None:
    await send({"type": "lifespan.shutdown.complete"})


def with_shutdown(run: Callable[[Send], Awaitable[None]]) -> Application:
    @with_lifespan
    async def lifespan(receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await run(send)

    return lifespan


@with_shutdown
async def shutdown_fails(send: Send) -> None:
    await send({"type": "lifespan.shutdown.failed", "message": "still busy"})


@with_shutdown
async def shutdown_raises(send: Send) -> None:
    raise ZeroDivisionError("in the shutdown")


@with_shutdown
async def shutdown_hangs(send: Send) -> None:
    await asyncio.sleep(60)


class Ticker:
    """Counts while nobody asks."""

    def __init__(self) -> None:
        self.count = 0
        self.task: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(0.005)
                self.count += 1
        except asyncio.CancelledError:
            print("ticker cancelled", file=sys.stderr)
            raise

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await answer(send, str(self.count).encode())
            return
        await receive()
        self.task = asyncio.create_task(self.run())
        await send(COMPLETE)
        await receive()
        await send(STOPPED)


ticks = Ticker()
