# SPDX-License-Identifier: Apache-2.0
"""ASGI applications for WebSockets."""

from __future__ import annotations

import asyncio

from unit.asgi.registry import Event, Receive, Send, application, notes

ACCEPT: Event = {"type": "websocket.accept"}
CLOSE: Event = {"type": "websocket.close"}
SEND: Event = {"type": "websocket.send"}


@application
async def socket_scope(scope: Event, receive: Receive, send: Send) -> None:
    """Greets with the scope, without waiting for a message."""
    await receive()
    await send({**ACCEPT, "subprotocol": scope["subprotocols"][-1], "headers": [(b"X-A", b"1")]})
    await send({**SEND, "text": repr(scope)})
    await send(CLOSE)


@application
async def socket_echo(scope: Event, receive: Receive, send: Send) -> None:
    """Accepts before it has received anything, as is allowed, and notes the end."""
    await send(ACCEPT)
    assert await receive() == {"type": "websocket.connect"}
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    notes.append(event)


@application
async def socket_impatient(scope: Event, receive: Receive, send: Send) -> None:
    """Gives up waiting for a message a hundred times, and tells how many of its waits are left."""
    await send(ACCEPT)
    await receive()
    for _ in range(100):
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    left = len(receive.__self__.waiters)  # type: ignore[attr-defined]
    await send({**SEND, "text": str(left)})
    await send({**SEND, "text": (await receive())["text"]})


@application
async def socket_script(scope: Event, receive: Receive, send: Send) -> None:
    """Sends the events of the query, Python literals, and notes what `send` raised."""
    await receive()
    for event in eval(scope["query_string"].decode()):
        try:
            await send(event)
        except Exception as exc:
            notes.append([type(exc).__name__, str(exc)])
    notes.append(await receive())


@application
async def socket_flood(scope: Event, receive: Receive, send: Send) -> None:
    """Sends as fast as it may, until the client leaves; receives besides."""
    await send(ACCEPT)
    await receive()

    async def flood() -> None:
        while True:
            await send({**SEND, "bytes": b"x" * 1000})

    task = asyncio.create_task(flood())
    while (event := await receive())["type"] == "websocket.receive":
        notes.append(event.get("text"))
    notes.append(event)
    results = await asyncio.gather(task, return_exceptions=True)
    notes.append(isinstance(results[0], OSError))


@application
async def socket_gate(scope: Event, receive: Receive, send: Send) -> None:
    """Reads nothing until it is told by its first message, then everything."""
    await send(ACCEPT)
    await receive()
    await receive()
    count = 0
    while (await receive())["type"] == "websocket.receive":
        count += 1
    notes.append(count)


@application
async def socket_raises(scope: Event, receive: Receive, send: Send) -> None:
    if scope["query_string"] != b"early":
        await send(ACCEPT)
    raise ZeroDivisionError("in the socket")


@application
async def socket_returns(scope: Event, receive: Receive, send: Send) -> None:
    if scope["query_string"] != b"early":
        await send(ACCEPT)


@application
async def socket_ignores(scope: Event, receive: Receive, send: Send) -> None:
    """Never looks at its socket."""
    if scope["query_string"] != b"early":
        await send(ACCEPT)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        notes.append("cancelled")
        raise


@application
async def socket_sends_late(scope: Event, receive: Receive, send: Send) -> None:
    """Sends once the client has left."""
    await send(ACCEPT)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    await send({**SEND, "text": "late"})
