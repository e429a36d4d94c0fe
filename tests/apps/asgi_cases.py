# SPDX-License-Identifier: Apache-2.0
"""Bare ASGI applications for HTTP, each of which does one thing that the specification speaks of;
`/name/argument` chooses.

Runs in: the worker, of hornbeam or of the server it is compared with.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from apps.asgi_disconnects import DISCONNECTS
from apps.asgi_extensions import EXTENSIONS
from apps.asgi_loops import LOOPS
from apps.asgi_orders import ORDERS
from apps.asgi_types import (
    TEXT,
    App,
    Receive,
    Scope,
    Send,
    answer,
    answer_json,
    argument,
    body,
    read,
    start,
)
from apps.gate import LoopSide


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def shown(scope: Scope, _receive: Receive, send: Send) -> None:
    """The scope: of each key the type and the value, as Python writes them."""
    scope = {**scope, "headers": [tuple(pair) for pair in scope["headers"]]}
    await answer_json(send, {key: [type(v).__name__, repr(v)] for key, v in scope.items()})


async def digest(_scope: Scope, receive: Receive, send: Send) -> None:
    """Length and SHA-256 of the body, and how many messages it came in."""
    sha, size, messages, more = hashlib.sha256(), 0, 0, True
    while more:
        message = await receive()
        assert isinstance(message.get("body", b""), bytes), message
        sha.update(message.get("body", b""))
        size += len(message.get("body", b""))
        messages += 1
        more = message.get("more_body", False)
    await answer_json(send, [size, sha.hexdigest(), messages])


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """The body, byte for byte."""
    await answer(send, await read(receive))


async def both_ways(_scope: Scope, receive: Receive, send: Send) -> None:
    """Each piece of the body goes back as it comes, before the next one is asked for."""
    await send(start())
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send(body(message.get("body", b""), more))


async def unread(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, b"unread")


async def fields(_scope: Scope, _receive: Receive, send: Send) -> None:
    repeated = [(b"x-several", b"a"), (b"x-several", b"b"), (b"x-several", b"c")]
    cookies = [(b"set-cookie", b"one=1; Path=/"), (b"set-cookie", b"two=2, with a comma")]
    await send(start(200, TEXT, *repeated, *cookies, (b"x-latin", b"caf\xe9")))
    await send(body())


async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Every optional key is left out, keys nobody knows are there, pairs are lists."""
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def odd(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Header pairs as lists in a generator, a body as bytearray's bytes, a key nobody knows."""
    pairs = ([name, value] for name, value in [(b"x-one", b"1"), (b"x-two", b"2")])
    await send({"type": "http.response.start", "status": 201, "headers": pairs, "unknown": 1})
    await send({"type": "http.response.body", "body": b"odd", "unknown": object()})


async def gated(scope: Scope, _receive: Receive, send: Send) -> None:
    """The second chunk is not produced before the test has passed the gate."""
    side = await LoopSide.open(scope)
    await send(start())
    await send(body(b"first", more=True))
    await side.wait("after the first")
    await send(body(b"second", more=True))
    await send(body(b""))


async def head_first(scope: Scope, _receive: Receive, send: Send) -> None:
    """The head, then nothing until the test lets it go on."""
    side = await LoopSide.open(scope)
    await send(start(200, (b"content-type", b"text/event-stream")))
    await send(body(b"", more=True))
    await side.wait("after the head")
    await send(body(b"data: 1\n\n"))


async def waiting(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers when the test lets it."""
    await (await LoopSide.open(scope)).wait("waiting")
    await answer(send, b"waited")


async def after(scope: Scope, _receive: Receive, send: Send) -> None:
    """Goes on after its response, which is whole: the client does not wait for the rest."""
    side = await LoopSide.open(scope)
    await answer(send, b"answered")
    await side.wait("after the response")
    side.tell("finished")


async def pieces(scope: Scope, _receive: Receive, send: Send) -> None:
    """`count/size`: so many chunks of so many bytes, told apart by their first ones."""
    count, size = map(int, argument(scope).split("/"))
    await send(start())
    for number in range(count):
        await send(body(b"%08d" % number + b"x" * (size - 8), more=True))
    await send(body())


async def sparse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Empty chunks before, between and after the others."""
    await send(start())
    for chunk in (b"", b"", b"one ", b"", b"two", b""):
        await send(body(chunk, more=True))
    await send(body())


async def bodiless(scope: Scope, _receive: Receive, send: Send) -> None:
    """A body where none may be: 204, 304, or HEAD to 200; whole or in pieces."""
    kind, status = argument(scope).split("/")
    await send(start(int(status), *([TEXT] if status == "200" else [(b"x-kind", kind.encode())])))
    if kind == "whole":
        await send(body(b"never sent"))
    else:
        await send(body(b"never", more=True))
        await send(body(b"sent"))


SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!"
BODIES: dict[str, tuple[int, list[bytes]]] = {
    "longer": (5, [b"hello" + SMUGGLED]),
    "longer-later": (5, [b"hello", SMUGGLED]),
    "shorter": (10, [b"hel", b"lo"]),
    "nothing": (10, []),
}


async def mismatch(scope: Scope, _receive: Receive, send: Send) -> None:
    """A body that is not as long as Content-Length says."""
    length, chunks = BODIES[argument(scope)]
    await send(start(200, TEXT, (b"content-length", b"%d" % length)))
    for chunk in chunks:
        await send(body(chunk, more=True))
    await send(body())


EVIL: list[tuple[bytes, bytes]] = [
    (b"x-value", b"a\r\nset-cookie: evil=1"),
    (b"x-value", b"a\nevil: 1"),
    (b"x-value", b"a\revil: 1"),
    (b"x-value", b"a\0evil"),
    (b"x-value\r\nevil", b"a"),
    (b"evil name", b"a"),
    (b"", b"evil"),
]


async def injected(scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start(200, TEXT, EVIL[int(argument(scope))]))
    await send(body(b"evil body"))


async def framing(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The application may name a transfer-encoding; the server must ignore it."""
    await send(start(200, TEXT, (b"transfer-encoding", b"chunked")))
    await send(body(b"framed ", more=True))
    await send(body(b"once"))


async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Returns without answering."""


async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Returns in the middle of its response."""
    await send(start())
    await send(body(b"half", more=True))


async def head_only(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Returns after the start of its response."""
    await send(start())


async def raising(scope: Scope, _receive: Receive, send: Send) -> None:
    """Raises before anything, after the start, or within the body."""
    where = argument(scope)
    if where != "first":
        await send(start())
    if where == "body":
        await send(body(b"part", more=True))
    raise LookupError(f"lost on the way: {where}")


async def events(scope: Scope, _receive: Receive, send: Send) -> None:
    """Server-sent events; the argument is how many."""
    fields = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
    await send(start(200, *fields))
    for number in range(int(argument(scope))):
        await send(body(b"id: %d\ndata: event %d\n\n" % (number, number), more=True))
        await asyncio.sleep(0)
    await send(body())


async def file(scope: Scope, _receive: Receive, send: Send) -> None:
    """A file read and sent in pieces by the application."""
    data = (Path(os.environ["SITE_FOLDER"]) / argument(scope)).read_bytes()
    await send(start(200, TEXT, (b"content-length", b"%d" % len(data))))
    for begin in range(0, len(data), 65536):
        await send(body(data[begin : begin + 65536], more=True))
    await send(body())


async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A page for a browser."""
    await send(start(200, (b"content-type", b"text/html; charset=utf-8")))
    await send(body((Path(__file__).parent / "page.html").read_bytes()))


async def report(scope: Scope, receive: Receive, send: Send) -> None:
    """Hands the body, a line, to the test."""
    side = await LoopSide.open(scope)
    side.tell((await read(receive)).decode())
    await answer(send, b"thanks")


CASES: dict[str, App] = {
    "page": page,
    "report": report,
    "hello": hello,
    "scope": shown,
    "digest": digest,
    "echo": echo,
    "both-ways": both_ways,
    "unread": unread,
    "fields": fields,
    "bare": bare,
    "odd": odd,
    "gated": gated,
    "head-first": head_first,
    "waiting": waiting,
    "after": after,
    "pieces": pieces,
    "sparse": sparse,
    "bodiless": bodiless,
    "mismatch": mismatch,
    "injected": injected,
    "framing": framing,
    "silent": silent,
    "half": half,
    "head-only": head_only,
    "raising": raising,
    "events": events,
    "file": file,
    **DISCONNECTS,
    **EXTENSIONS,
    **LOOPS,
    **ORDERS,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not speak lifespan: the server goes on without."""
    if scope["type"] != "http":
        raise NotImplementedError(f"no {scope['type']} here")
    await CASES[scope["path"].split("/", 2)[1]](scope, receive, send)
