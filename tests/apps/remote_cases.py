# SPDX-License-Identifier: Apache-2.0
"""Applications and a module of handlers for workers on other machines. The same file is loaded on
both sides; the environment variable REMOTE_CASES tells them apart."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from hornbeam_erlang import (
    aio,
    call_timeout,
    errors,
    execute,
    execute_async,
    hook,
    publish,
    state_get,
    state_incr,
    state_set,
    stream,
    subscription,
)

SIDE = os.environ.get("REMOTE_CASES", "near")
OTHER = {"near": "far", "far": "near"}[SIDE]


def handler(action: str, *args: Any) -> Any:
    """`who`, `down` (calls the other side until the depth is 0), `items`, `sleep`, `bytes`."""
    if action == "who":
        return [SIDE, os.getpid()]
    if action == "down":
        (depth,) = args
        deeper = execute(OTHER, "down", depth - 1) if depth else []
        return [SIDE, *deeper]
    if action == "items":
        return (n * n for n in range(args[0]))
    if action == "sleep":
        Path(os.environ["REMOTE_STARTED"]).touch()
        time.sleep(args[0])
        return SIDE
    if action == "echo":
        return args[0]
    raise ValueError(action)


hook(SIDE, handler)


def heard() -> Any:
    """What a subscriber on this side gets of a message that this side publishes."""
    with subscription("remote") as messages:
        publish("remote", {"from": SIDE, "n": 1})
        message = next(iter(messages))
        return message


def attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except errors.HornbeamError as exc:
        return type(exc).__name__


def labelled(value: Any) -> Any:
    return attempt(lambda: execute("far", "who", labels={"gpu": value}))


def slow(seconds: float) -> Any:
    with call_timeout(20000):
        return attempt(lambda: execute("far", "sleep", seconds))


def state() -> Any:
    state_set("remote", {"b": b"\x00\xff", "n": 2**80})
    value = state_get("remote")
    assert value == {"b": b"\x00\xff", "n": 2**80}
    return state_incr("remote-count")


def sleep(seconds: float) -> str:
    state_incr("remote-started")
    time.sleep(seconds)
    return SIDE


def lazy() -> int:
    time.sleep(0.2)
    return os.getpid()


PLACES: dict[str, Callable[[str], Any]] = {
    "who": lambda query: [SIDE, os.getpid()],
    "sleep": lambda query: sleep(float(query)),
    "lazy": lambda query: lazy(),
    "started": lambda query: state_get("remote-started") or 0,
    "state": lambda query: state(),
    "heard": lambda query: heard(),
    "down": lambda query: execute(OTHER, "down", int(query)),
    "items": lambda query: list(stream(OTHER, "items", int(query))),
    "far": lambda query: attempt(lambda: execute("far", "who")),
    "gpu": labelled,
    "slow": lambda query: slow(float(query)),
    "task": lambda query: len(execute_async("far", "who")) > 0,
    "big": lambda query: len(execute(OTHER, "echo", b"x" * int(query))),
}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    place = environ["PATH_INFO"].lstrip("/")
    if place == "file":
        file = tempfile.TemporaryFile()  # the server closes it
        file.write(b"line\n" * 50000)
        file.seek(0)
        start_response("200 OK", [("Content-Type", "text/plain")])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return wrapped
    if place == "named":
        start_response("200 OK", [("Content-Type", "text/plain")])
        wrapped = environ["wsgi.file_wrapper"](open(__file__, "rb"))
        return wrapped
    if place == "body":
        body = json.dumps(len(environ["wsgi.input"].read())).encode()
    else:
        body = json.dumps(PLACES[place](environ["QUERY_STRING"])).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


Message = dict[str, Any]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["type"] == "http":
        await asyncio.sleep(0.001)
        count = await aio.state_incr("remote-asgi")
        body = json.dumps([SIDE, count, sorted(scope["extensions"])]).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        raise RuntimeError("no lifespan")


async def websocket(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": SIDE})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})
