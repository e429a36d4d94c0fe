# SPDX-License-Identifier: Apache-2.0
"""Fan-out to WebSockets as it is done beside uvicorn: Redis pub/sub, one connection per process.

`/topic` greets with `subscribed` and then sends what is published; what `/publish` receives is
published. HTTP is that of bench_asgi.
"""

import asyncio
import os
from contextlib import suppress
from functools import cache

import bench_asgi
import redis.asyncio
from bench_asgi import Receive, Scope, Send

TOPIC = "topic"


class Subscribers:
    """The queues of this process's sockets, fed by one task that reads from Redis."""

    def __init__(self) -> None:
        port = int(os.environ["BENCH_REDIS_PORT"])
        self.client = redis.asyncio.Redis(port=port, decode_responses=True)
        self.queues: set[asyncio.Queue[str]] = set()
        self.subscribed = asyncio.Event()
        self.reader = asyncio.create_task(self.read())

    async def read(self) -> None:
        async with self.client.pubsub() as topic:
            await topic.subscribe(TOPIC)
            async for message in topic.listen():
                if message["type"] == "subscribe":
                    self.subscribed.set()
                    continue
                for queue in self.queues:
                    queue.put_nowait(message["data"])


@cache
def subscribers() -> Subscribers:
    return Subscribers()


async def subscriber(send: Send) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    subscribers().queues.add(queue)
    await subscribers().subscribed.wait()
    text = "subscribed"
    # The socket may be closed when there is something to send.
    with suppress(OSError):
        while True:
            await send({"type": "websocket.send", "text": text})
            text = await queue.get()
    subscribers().queues.discard(queue)


async def publisher(receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await subscribers().client.publish(TOPIC, message["text"])


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return await bench_asgi.application(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/publish":
        return await publisher(receive)
    await subscriber(send)
