# SPDX-License-Identifier: Apache-2.0
"""ASGI applications for requests and responses."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from unit.asgi.registry import BODY, START, Event, Receive, Send, answer, answer_json, application
from unit.asgi.registry import notes as kept


@application
async def scope(scope: Event, receive: Receive, send: Send) -> None:
    await answer(send, repr(scope).encode())


@application
async def whole(scope: Event, receive: Receive, send: Send) -> None:
    await answer(send, b"whole", headers=[[b"Content-Type", b"text/plain"]])


@application
async def notes(scope: Event, receive: Receive, send: Send) -> None:
    await answer_json(send, kept)


@application
async def echo(scope: Event, receive: Receive, send: Send) -> None:
    """The whole body, in one piece."""
    body, more = b"", True
    while more:
        event = await receive()
        assert event["type"] == "http.request", event
        body += event["body"]
        more = event["more_body"]
    await answer(send, body)


@application
async def sends(scope: Event, receive: Receive, send: Send) -> None:
    """Sends the events of the body, Python literals, and notes what `send` raised."""
    for event in eval((await receive())["body"].decode()):
        try:
            await send(event)
        except Exception as exc:
            kept.append([type(exc).__name__, str(exc)])


@application
async def raises(scope: Event, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("before the start")


@application
async def raises_late(scope: Event, receive: Receive, send: Send) -> None:
    await send(START)
    await send({**BODY, "body": b"some", "more_body": True})
    raise ZeroDivisionError("after the head")


@application
async def raises_after(scope: Event, receive: Receive, send: Send) -> None:
    await answer(send, b"fine")
    raise ZeroDivisionError("after the response")


@application
async def silent(scope: Event, receive: Receive, send: Send) -> None:
    pass


@application
async def half(scope: Event, receive: Receive, send: Send) -> None:
    await send({**START, "status": HTTPStatus.CREATED})
    await send({**BODY, "body": b"some", "more_body": True})


@application
async def stream(scope: Event, receive: Receive, send: Send) -> None:
    """As many bytes as the query says, in pieces of 10,000."""
    left = int(scope["query_string"])
    await send(START)
    while left:
        count = min(left, 10_000)
        await send({**BODY, "body": b"x" * count, "more_body": True})
        left -= count
    await send(BODY)


@application
async def endless(scope: Event, receive: Receive, send: Send) -> None:
    """Sends until `send` fails."""
    await send(START)
    try:
        while True:
            await send({**BODY, "body": b"x" * 10_000, "more_body": True})
    except OSError as exc:
        kept.append(["endless", isinstance(exc, ConnectionError)])
        raise


@application
async def disconnect(scope: Event, receive: Receive, send: Send) -> None:
    """Waits for the end, as long polling does; what it sends then must fail."""
    events = [await receive(), await receive()]
    kept.append([event["type"] for event in events])
    try:
        await send(START)
    except OSError:
        kept.append("OSError")


@application
async def ignores(scope: Event, receive: Receive, send: Send) -> None:
    """Never looks whether the client is there."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        kept.append("cancelled")
        raise


@application
async def after_response(scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await answer(send, b"done")
    kept.append((await receive())["type"])


@application
async def slow_reader(scope: Event, receive: Receive, send: Send) -> None:
    """One event of the body, then the answer."""
    event = await receive()
    await answer(send, json.dumps([len(event["body"]), event["more_body"]]).encode())


@application
async def two_receivers(scope: Event, receive: Receive, send: Send) -> None:
    """Two tasks wait for the end of the request, as frameworks do."""
    await receive()
    both = [asyncio.ensure_future(receive()) for _ in range(2)]
    await asyncio.sleep(0)
    both[0].cancel()
    await asyncio.sleep(0)
    await answer(send, b"done")
    kept.append((await both[1])["type"])
