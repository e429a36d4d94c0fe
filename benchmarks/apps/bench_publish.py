# SPDX-License-Identifier: Apache-2.0
"""A message to subscribers in the event loop of one worker, until the last of them has it: by
hornbeam, and by Redis' publish and subscribe (redis-py, a connection for each subscriber).

`/operations?count` measures one and a hundred subscribers, each store in turns. Times are
microseconds of one message.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import bench_asgi
from bench_asgi import Receive, Scope, Send
from bench_state import node, processor

from hornbeam_erlang import aio

MESSAGE = "0123456789" * 12 + "01234567"
SUBSCRIBERS = (1, 100)
TOPIC = "topic"

Publish = Callable[[], Awaitable[object]]
Messages = AsyncIterator[object]


class Round:
    """Counts who has the message."""

    def __init__(self, subscribers: int) -> None:
        self.subscribers = subscribers
        self.left = 0
        self.done = asyncio.Event()

    def begin(self) -> None:
        self.left = self.subscribers
        self.done.clear()

    async def read(self, messages: Messages) -> None:
        async for _ in messages:
            self.left -= 1
            if not self.left:
                self.done.set()


async def hornbeam(subscribers: int, running: AsyncExitStack) -> tuple[Publish, list[Messages]]:
    found = []
    for _ in range(subscribers):
        subscription = await running.enter_async_context(await aio.subscription(TOPIC))
        found.append(aiter(subscription))
    return lambda: aio.publish(TOPIC, MESSAGE), found


async def redis(
    where: dict[str, Any], subscribers: int, running: AsyncExitStack
) -> tuple[Publish, list[Messages]]:
    from redis.asyncio import Redis

    options: dict[str, Any] = {"decode_responses": True, "max_connections": subscribers + 1}
    client = await running.enter_async_context(Redis(**options, **where))
    found: list[Messages] = []
    for _ in range(subscribers):
        pubsub = await running.enter_async_context(client.pubsub())
        await pubsub.subscribe(TOPIC)
        await pubsub.get_message(timeout=10)  # that it has subscribed
        found.append(pubsub.listen())
    return lambda: client.publish(TOPIC, MESSAGE), found


@asynccontextmanager
async def readers(found: Round, all_messages: list[Messages]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(found.read(messages)) for messages in all_messages]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def timed(publish: Publish, found: Round, count: int, server: int) -> dict[str, float]:
    """Microseconds of one of `count` messages, by the clock and of the processors."""

    async def send(times: int) -> None:
        for _ in range(times):
            found.begin()
            await publish()
            await asyncio.wait_for(found.done.wait(), 10)

    pids = (os.getpid(), server)
    await send(max(1, count // 20))
    used, begin = processor(pids), perf_counter()
    await send(count)
    took, used = perf_counter() - begin, processor(pids) - used
    return {"clock": took / count * 1e6, "processors": used / count * 1e6}


async def measured(store: str, subscribers: int, count: int) -> dict[str, float]:
    found, server = Round(subscribers), int(os.environ["BENCH_REDIS_PID"])
    async with AsyncExitStack() as running:
        if store == "hornbeam":
            server = node()
            publish, messages = await hornbeam(subscribers, running)
        elif store == "redis, TCP":
            port = {"port": int(os.environ["BENCH_REDIS_PORT"])}
            publish, messages = await redis(port, subscribers, running)
        else:
            path = {"unix_socket_path": os.environ["BENCH_REDIS_SOCKET"]}
            publish, messages = await redis(path, subscribers, running)
        async with readers(found, messages):
            return await timed(publish, found, count, server)


async def operations(count: int) -> dict[str, dict[str, dict[str, float]]]:
    stores = ("hornbeam", "redis, TCP", "redis, Unix")
    return {
        f"publish to {number}": {
            store: await measured(store, number, max(1, count // number)) for store in stores
        }
        for number in SUBSCRIBERS
    }


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] != "/operations":
        return await bench_asgi.application(scope, receive, send)
    body = json.dumps(await operations(int(scope["query_string"]))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
