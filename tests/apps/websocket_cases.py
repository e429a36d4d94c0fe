# SPDX-License-Identifier: Apache-2.0
"""Bare ASGI applications for WebSocket, each of which does one thing that the specification speaks
of; `/name/argument` chooses.

Runs in: the worker, of hornbeam or of the server it is compared with.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from apps.asgi_cases import application as http
from apps.asgi_types import App, Message, Receive, Scope, Send, argument
from apps.gate import LoopSide

# Seconds: longer than any test.
LONG = 3600.0

open_sockets = 0  # sessions that have begun and not ended


def accept(**more: object) -> Message:
    return {"type": "websocket.accept", **more}


def text(data: str) -> Message:
    return {"type": "websocket.send", "text": data}


def close(code: int = 1000, reason: str | None = None) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


async def connected(receive: Receive) -> None:
    message = await receive()
    assert message == {"type": "websocket.connect"}, message


async def accepted(receive: Receive, send: Send, **more: object) -> None:
    await connected(receive)
    await send(accept(**more))


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Sends back what comes, text as text and bytes as bytes."""
    await accepted(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        data = {key: message[key] for key in ("bytes", "text") if message.get(key) is not None}
        assert len(data) == 1, message
        await send({"type": "websocket.send", **data})


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope: of each key the type and the value, as Python writes them."""
    await accepted(receive, send)
    scope = {**scope, "headers": [tuple(pair) for pair in scope["headers"]]}
    await send(text(json.dumps({key: [type(v).__name__, repr(v)] for key, v in scope.items()})))
    await send(close())


async def received(_scope: Scope, receive: Receive, send: Send) -> None:
    """Each message that arrives, as Python writes it, keys whose value is None left out."""
    await accepted(receive, send)
    while True:
        message = {key: value for key, value in (await receive()).items() if value is not None}
        if message["type"] == "websocket.disconnect":
            return
        await send(text(repr(sorted(message.items()))))


async def greeting(_scope: Scope, receive: Receive, send: Send) -> None:
    """Speaks first, right after the accept, and again after a sleep, asked by nobody."""
    await accepted(receive, send)
    await send(text("welcome"))
    await asyncio.sleep(0.1)
    await send(text("still there?"))
    await receive()


async def background(_scope: Scope, receive: Receive, send: Send) -> None:
    """A task of its own sends while this one waits for the client."""

    async def tick() -> None:
        for number in range(3):
            await asyncio.sleep(0.02)
            await send(text(f"tick {number}"))

    await accepted(receive, send)
    ticking = asyncio.create_task(tick())
    while (await receive())["type"] != "websocket.disconnect":
        await send(text("heard"))
    await ticking


async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes the last subprotocol that is offered, and adds headers."""
    offered = list(scope["subprotocols"])
    fields = [(b"x-first", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await accepted(receive, send, subprotocol=offered[-1], headers=fields)
    await send(text(json.dumps(offered)))
    await receive()


async def held(scope: Scope, receive: Receive, send: Send) -> None:
    """Decides when the test lets it, as the argument says."""
    side = await LoopSide.open(scope)
    await connected(receive)
    await side.wait("connecting")
    await send(accept() if argument(scope) == "accept" else close())
    if argument(scope) == "accept":
        await send(text("accepted"))
        await receive()


async def refused(_scope: Scope, receive: Receive, send: Send) -> None:
    """Closes before it accepts."""
    await connected(receive)
    await send(close(4001, "not you"))


async def refused_unread(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Closes without having read websocket.connect."""
    await send(close())


async def denied(scope: Scope, receive: Receive, send: Send) -> None:
    """A response of its own instead of the 101; the argument is how many pieces it comes in."""
    assert "websocket.http.response" in scope["extensions"]
    await connected(receive)
    fields = [(b"content-type", b"text/plain"), (b"x-why", b"because"), (b"set-cookie", b"a=1")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": fields})
    count = int(argument(scope))
    for number in range(count):
        piece = {"body": b"denied %d\n" % number, "more_body": number + 1 < count}
        await send({"type": "websocket.http.response.body", **piece})


async def closes(scope: Scope, receive: Receive, send: Send) -> None:
    """Closes with the code and the reason of the argument, `code/reason`; both may be missing."""
    await accepted(receive, send)
    code, _, reason = argument(scope).partition("/")
    given = {**({"code": int(code)} if code else {}), **({"reason": reason} if reason else {})}
    await send({"type": "websocket.close", **given})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def returns(_scope: Scope, receive: Receive, send: Send) -> None:
    """Comes to its end without a close."""
    await accepted(receive, send)
    await send(text("that was all"))


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises before or after the accept, as the argument says."""
    await connected(receive)
    if argument(scope) == "after":
        await send(accept())
    raise LookupError(f"lost {argument(scope)} the accept")


async def undecided(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Returns without a decision."""
    await connected(receive)


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells the disconnect it gets through the gate, and what send() does afterwards."""
    side = await LoopSide.open(scope)
    await accepted(receive, send)
    side.tell("accepted")
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    side.tell(f"{message['code']} {message.get('reason') or ''}")
    try:
        await send(text("nobody hears"))
    except OSError:
        side.tell("OSError")
    else:
        side.tell("sent")


async def heard(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells every text and the code of the end through the gate."""
    side = await LoopSide.open(scope)
    await accepted(receive, send)
    while (message := await receive())["type"] != "websocket.disconnect":
        side.tell(message["text"])
    side.tell(str(message["code"]))


async def sends_on(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends and never receives: send() raises once the socket is gone."""
    side = await LoopSide.open(scope)
    await accepted(receive, send)
    side.tell("accepted")
    try:
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 65536})
            await asyncio.sleep(0)
    except OSError:
        side.tell("OSError")
        raise


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither receives nor sends: its task is cancelled when the socket is gone."""
    side = await LoopSide.open(scope)
    await accepted(receive, send)
    side.tell("accepted")
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        side.tell("cancelled")
        raise


async def left_early(scope: Scope, receive: Receive, _send: Send) -> None:
    """The client leaves before a decision."""
    side = await LoopSide.open(scope)
    await connected(receive)
    side.tell("connecting")
    side.tell((await receive())["type"])


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """So many MiB in messages of 64 KiB; tells through the gate how far it is when asked."""
    side = await LoopSide.open(scope)
    sent = 0

    async def report() -> None:
        while await side.hear():
            side.tell(str(sent))

    reporting = asyncio.create_task(report())
    await accepted(receive, send)
    side.tell("accepted")
    for _ in range(int(argument(scope)) * 16):
        await send({"type": "websocket.send", "bytes": bytes(65536)})
        sent += 1
    await receive()
    reporting.cancel()


async def sluggish(scope: Scope, receive: Receive, send: Send) -> None:
    """Receives nothing until the test lets it, then says how much there was until an empty text."""
    side = await LoopSide.open(scope)
    await accepted(receive, send)
    await side.wait("not receiving")
    size = 0
    while (message := await receive()).get("text") != "":
        size += len(message["bytes"])
    await send(text(str(size)))
    await receive()


async def counted(_scope: Scope, receive: Receive, send: Send) -> None:
    """How many other sockets are open."""
    await accepted(receive, send)
    await send(text(f"{open_sockets - 1} {len(asyncio.all_tasks())}"))
    await receive()


async def shapes(scope: Scope, receive: Receive, send: Send) -> None:
    """What the test asks to be sent, in the shapes that are allowed: None beside the other key."""
    await accepted(receive, send)
    await send({"type": "websocket.send", "text": "one", "bytes": None})
    await send({"type": "websocket.send", "text": None, "bytes": b"two"})
    await send({"type": "websocket.send", "text": ""})
    await send({"type": "websocket.send", "bytes": b""})
    await send(close())


# Name: messages that are fine, then one that must raise.
WRONG: dict[str, tuple[list[Any], Any]] = {
    "send-first": ([], text("first")),
    "accept-twice": ([accept()], accept()),
    "unknown-type": ([], {"type": "websocket.nonsense"}),
    "unknown-type-later": ([accept()], {"type": "websocket.nonsense"}),
    "http-type": ([], {"type": "http.response.start", "status": 200, "headers": []}),
    "http-type-later": ([accept()], {"type": "http.response.body", "body": b""}),
    "denial-later": ([accept()], {"type": "websocket.http.response.start", "status": 403}),
    "denial-body-first": ([], {"type": "websocket.http.response.body", "body": b""}),
    "neither": ([accept()], {"type": "websocket.send"}),
    "both": ([accept()], {"type": "websocket.send", "text": "a", "bytes": b"b"}),
    "text-bytes": ([accept()], {"type": "websocket.send", "text": b"bytes"}),
    "bytes-text": ([accept()], {"type": "websocket.send", "bytes": "text"}),
    "subprotocol-header": ([], accept(headers=[(b"sec-websocket-protocol", b"chat")])),
    "close-twice": ([accept(), close()], close()),
    "send-after-close": ([accept(), close()], text("late")),
}


async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what the forbidden message raised, then ends."""
    fine, forbidden = WRONG[argument(scope)]
    side = await LoopSide.open(scope)
    await connected(receive)
    for message in fine:
        await send(message)
    try:
        await send(forbidden)
    except Exception as raised:
        side.tell(" ".join(f"{type(raised).__name__}: {raised}".split()))
    else:
        side.tell("nothing raised")


CASES: dict[str, App] = {
    "echo": echo,
    "scope": shown,
    "received": received,
    "greeting": greeting,
    "background": background,
    "chosen": chosen,
    "held": held,
    "refused": refused,
    "refused-unread": refused_unread,
    "denied": denied,
    "closes": closes,
    "returns": returns,
    "raises": raises,
    "undecided": undecided,
    "told": told,
    "heard": heard,
    "sends-on": sends_on,
    "deaf": deaf,
    "left-early": left_early,
    "flood": flood,
    "sluggish": sluggish,
    "counted": counted,
    "shapes": shapes,
    "wrong": wrong,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    global open_sockets
    if scope["type"] != "websocket":
        return await http(scope, receive, send)
    open_sockets += 1
    try:
        await CASES[scope["path"].split("/", 2)[1]](scope, receive, send)
    finally:
        open_sockets -= 1
