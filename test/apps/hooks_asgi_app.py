# SPDX-License-Identifier: Apache-2.0
"""Async handlers, and an ASGI application that executes handlers as hooks_app does."""

import asyncio
import json
import os
from pathlib import Path
from urllib.parse import unquote

import hornbeam_erlang
from hornbeam_erlang import aio, execute, hook, stream


class Service:
    """Its coroutines run on the loop of the application, its plain methods in a thread."""

    def __init__(self):
        self.loop = None

    async def on_loop(self):
        """Whether this is the loop that serves requests."""
        return asyncio.get_running_loop() is LOOPS[0]

    def add(self, a, b=1):
        return a + b

    async def later(self, value):
        await asyncio.sleep(0.01)
        return value

    async def nest(self, depth):
        return 0 if depth == 0 else 1 + await aio.execute("async", "nest", depth - 1)

    def nest_sync(self, depth):
        return 0 if depth == 0 else 1 + execute("async", "nest_sync", depth - 1)

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)
        return "slept"

    async def fail(self, text):
        raise KeyError(text)

    def die(self):
        os.kill(os.getpid(), 9)

    async def numbers(self, count):
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    def sync_numbers(self, count):
        yield from range(count)

    async def some_then_fail(self):
        yield 1
        raise ValueError("two")

    async def bad_item(self):
        yield object()

    async def watched(self, path):
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            Path(path).write_text("closed", encoding="ascii")


LOOPS = []
hook("async", Service)


async def read(path, action, args, kwargs):
    return [item async for item in aio.stream(path, action, *args, **kwargs)]


async def first(path, action, args, kwargs):
    items = hornbeam_erlang.stream_async(path, action, *args, **kwargs)
    async for item in items:
        if item == 2:
            await items.aclose()
            return item
    return None


async def task(path, action, args, kwargs):
    return await aio.await_result(await aio.execute_async(path, action, *args, **kwargs))


async def in_thread(path, action, args, kwargs):
    return await asyncio.to_thread(lambda: list(stream(path, action, *args, **kwargs)))


OPERATIONS = {
    "execute": lambda path, action, args, kwargs: aio.execute(path, action, *args, **kwargs),
    "task": task,
    "stream": read,
    "first": first,
    "thread": in_thread,
    "call": lambda name, *args: aio.call(name, *args),
}


async def application(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    LOOPS[:] = [asyncio.get_running_loop()]
    operation = OPERATIONS[scope["path"].strip("/")]
    arguments = json.loads(unquote(scope["query_string"].decode()) or "[]")
    timeout_ms = int(dict(scope["headers"]).get(b"x-timeout", b"20000"))
    try:
        with hornbeam_erlang.call_timeout(timeout_ms):
            answer = {"ok": await operation(*arguments)}
    except hornbeam_erlang.HornbeamError as exc:
        answer = {"error": type(exc).__name__, "text": str(exc)}
    body = json.dumps(answer).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
