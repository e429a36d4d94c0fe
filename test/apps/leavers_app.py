# SPDX-License-Identifier: Apache-2.0
"""An ASGI application for clients that leave: each path keeps it in another phase.

Runs in: the worker's loop.
"""

import asyncio
import gc
import os

START = {"type": "http.response.start", "status": 200, "headers": []}
ACCEPT = {"type": "websocket.accept"}


async def hello(receive, send):
    await answer(send, b"hello")


async def answer(send, data):
    await send(START)
    await send({"type": "http.response.body", "body": data})


async def length(receive, send):
    """Reads the body to its end, or to the disconnect."""
    size, message = 0, {"more_body": True}
    while message.get("more_body", False):
        message = await receive()
        size += len(message.get("body", b""))
    if message["type"] == "http.request":
        await answer(send, b"%d" % size)


async def sleeps(receive, send):
    """Waits for longer than any client, and does not look."""
    await asyncio.sleep(3600)


async def polls(receive, send):
    """Waits for the disconnect."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def streams(receive, send):
    """Sends until send() raises."""
    await send(START)
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


async def trickles(receive, send):
    """Server-sent events, a few a second."""
    await send(START)
    while True:
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.sleep(0.05)


async def after(receive, send):
    """Works on after its answer."""
    await answer(send, b"hello")
    await asyncio.sleep(0.02)


async def figures(receive, send):
    """Tasks of the loop, objects of the collector, open descriptors."""
    gc.collect()
    counts = (len(asyncio.all_tasks()), len(gc.get_objects()), len(os.listdir("/proc/self/fd")))
    await answer(send, b"%d %d %d" % counts)


async def undecided(receive, send):
    """Never accepts."""
    await asyncio.sleep(3600)


async def echoes(receive, send):
    await send(ACCEPT)
    await receive()
    while (message := await receive())["type"] != "websocket.disconnect":
        data = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **data})


async def floods(receive, send):
    await send(ACCEPT)
    while True:
        await send({"type": "websocket.send", "bytes": b"x" * 65536})


async def deaf(receive, send):
    await send(ACCEPT)
    await asyncio.sleep(3600)


HTTP = {
    "/hello": hello,
    "/length": length,
    "/sleeps": sleeps,
    "/polls": polls,
    "/streams": streams,
    "/trickles": trickles,
    "/after": after,
    "/figures": figures,
}
WEBSOCKET = {"/undecided": undecided, "/echoes": echoes, "/floods": floods, "/deaf": deaf}


async def application(scope, receive, send):
    cases = {"http": HTTP, "websocket": WEBSOCKET}[scope["type"]]
    await cases[scope["path"]](receive, send)
