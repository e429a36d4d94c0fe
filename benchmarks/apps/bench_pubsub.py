# SPDX-License-Identifier: Apache-2.0
"""Fan-out to WebSockets by hornbeam's publish and subscribe; the paths are those of bench_redis.

`joined` lets the clients join the topic, so that messages reach them inside the node; with
`subscribed` each socket's handler subscribes and sends, as bench_redis does.
"""

from collections.abc import Awaitable, Callable

import bench_asgi
from bench_asgi import Receive, Scope, Send

from hornbeam_erlang import aio

TOPIC = "topic"
GREETING = {"type": "websocket.send", "text": "subscribed"}

Subscriber = Callable[[Receive, Send], Awaitable[None]]


async def join(receive: Receive, send: Send) -> None:
    await send({"type": "hornbeam.topics.join", "topic": TOPIC})
    await send(GREETING)
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def subscribe(_receive: Receive, send: Send) -> None:
    async with await aio.subscription(TOPIC) as messages:
        await send(GREETING)
        async for text in messages:
            await send({"type": "websocket.send", "text": text})


async def publisher(receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await aio.publish(TOPIC, message["text"])


async def serve(subscriber: Subscriber, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return await bench_asgi.application(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/publish":
        return await publisher(receive)
    await subscriber(receive, send)


async def joined(scope: Scope, receive: Receive, send: Send) -> None:
    await serve(join, scope, receive, send)


async def subscribed(scope: Scope, receive: Receive, send: Send) -> None:
    await serve(subscribe, scope, receive, send)
