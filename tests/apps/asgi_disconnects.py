# SPDX-License-Identifier: Apache-2.0
"""Bare ASGI applications that see their client leave, each in another way; chosen by `asgi_cases`.

Runs in: the worker. Each tells the test what it sees through a gate.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from apps.asgi_types import App, Receive, Scope, Send, answer, argument, body, read, start
from apps.gate import LoopSide

# Seconds: longer than any grace that a server gives an application whose client has left.
LONG = 3600.0


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    """After the body receive() waits; it gives http.disconnect when the client has left."""
    side = await LoopSide.open(scope)
    await read(receive)
    pending = asyncio.ensure_future(receive())
    done, _ = await asyncio.wait([pending], timeout=0.2)
    side.tell("returned early" if done else "waits")
    side.tell((await pending)["type"])
    side.tell((await receive())["type"])  # and again, however often it asks


async def told_while_answering(scope: Scope, receive: Receive, send: Send) -> None:
    """The same with a response that has begun."""
    side = await LoopSide.open(scope)
    await read(receive)
    await send(start())
    await send(body(b"begun", more=True))
    side.tell("waits")
    side.tell((await receive())["type"])


async def told_after_answering(scope: Scope, receive: Receive, send: Send) -> None:
    """After the response receive() gives http.disconnect, though the client is still there."""
    side = await LoopSide.open(scope)
    await read(receive)
    await answer(send, b"answered")
    side.tell((await receive())["type"])


async def told_in_the_body(scope: Scope, receive: Receive, send: Send) -> None:
    """The client leaves within its upload: the body does not end as if it were whole."""
    side = await LoopSide.open(scope)
    message = await receive()
    side.tell("reads")
    while message["type"] == "http.request":
        if not message.get("more_body", False):
            return side.tell("whole")
        message = await receive()
    side.tell(message["type"])


async def sends_on(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends until send() raises; the argument says whether it waits for the disconnect first."""
    side = await LoopSide.open(scope)
    await send(start())
    await send(body(b"begun", more=True))
    side.tell("begun")
    if argument(scope) == "told":
        await read(receive)
        await receive()
    try:
        while True:
            await send(body(b"x" * 65536, more=True))
            await asyncio.sleep(0)
    except OSError:
        side.tell("OSError")
        raise


async def starts_late(scope: Scope, receive: Receive, send: Send) -> None:
    """The first send() after the client has left raises as well."""
    side = await LoopSide.open(scope)
    await read(receive)
    side.tell("waits")
    await receive()
    try:
        await send(start())
        await send(body(b"too late"))
    except OSError:
        side.tell("OSError")
    else:
        side.tell("sent")


async def ignores(scope: Scope, receive: Receive, _send: Send) -> None:
    """Never looks at receive(): its task is cancelled."""
    side = await LoopSide.open(scope)
    side.tell("sleeps")
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        side.tell("cancelled")
        raise


async def cleans_up(scope: Scope, receive: Receive, _send: Send) -> None:
    """Is cancelled, and needs a moment, an await included, before it lets go."""
    side = await LoopSide.open(scope)
    side.tell("sleeps")
    try:
        await asyncio.sleep(LONG)
    finally:
        await asyncio.sleep(0.05)
        side.tell("cleaned up")


async def looks(scope: Scope, receive: Receive, _send: Send) -> None:
    """Hears of the disconnect and then works on for longer than the grace: nobody cancels it."""
    side = await LoopSide.open(scope)
    await read(receive)
    side.tell("waits")
    await receive()
    try:
        await side.wait("told")
        side.tell("finished")
    except asyncio.CancelledError:
        side.tell("cancelled")
        raise


async def stubborn(scope: Scope, receive: Receive, _send: Send) -> None:
    """Swallows its first cancellation and comes to an end by itself a little later."""
    side = await LoopSide.open(scope)
    side.tell("sleeps")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(LONG)
    await asyncio.sleep(0.05)
    side.tell("ended")


DISCONNECTS: dict[str, App] = {
    "told": told,
    "told-while-answering": told_while_answering,
    "told-after-answering": told_after_answering,
    "told-in-the-body": told_in_the_body,
    "sends-on": sends_on,
    "starts-late": starts_late,
    "ignores": ignores,
    "cleans-up": cleans_up,
    "looks": looks,
    "stubborn": stubborn,
}
