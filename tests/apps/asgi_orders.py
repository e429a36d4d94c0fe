# SPDX-License-Identifier: Apache-2.0
"""A bare ASGI application that sends messages in an order, or of a shape, that the specification
forbids; chosen by `asgi_cases`.

Runs in: the worker. What send() raised goes to the test through a gate.
"""

from __future__ import annotations

from typing import Any

from apps.asgi_types import App, Receive, Scope, Send, answer, argument, body, start
from apps.gate import LoopSide

END = body(b"end")

# Name: messages that are fine, then one that must raise.
WRONG: dict[str, tuple[list[Any], Any]] = {
    "body-first": ([], body(b"first")),
    "start-twice": ([start()], start()),
    "start-in-body": ([start(), body(b"1", more=True)], start()),
    "unknown-type": ([], {"type": "http.response.nonsense"}),
    "unknown-type-later": ([start()], {"type": "http.response.nonsense"}),
    "websocket-type": ([], {"type": "websocket.accept"}),
    "no-type": ([], {"status": 200}),
    "no-mapping": ([], "http.response.start"),
    "no-status": ([], {"type": "http.response.start", "headers": []}),
    "status-text": ([], {"type": "http.response.start", "status": "200 OK"}),
    "status-range": ([], {"type": "http.response.start", "status": 99}),
    "text-header": ([], start(200, ("x-text", "no bytes"))),  # type: ignore[arg-type]
    "text-body": ([start()], {"type": "http.response.body", "body": "text"}),
    "trailers-unannounced": (
        [start(), body(b"1", more=True)],
        {"type": "http.response.trailers", "headers": []},
    ),
}


async def wrong(scope: Scope, _receive: Receive, send: Send) -> None:
    """Tells what the forbidden message raised, then ends its response as well as it still can."""
    fine, forbidden = WRONG[argument(scope)]
    side = await LoopSide.open(scope)
    for message in fine:
        await send(message)
    try:
        await send(forbidden)
    except Exception as raised:
        text = " ".join(f"{type(raised).__name__}: {raised}".split())
        side.tell(text)
    else:
        side.tell("nothing raised")
    await (send(END) if fine else answer(send, b"end"))


async def later(scope: Scope, _receive: Receive, send: Send) -> None:
    """What is sent after the end of a response is ignored, or raises; it is never answered."""
    await answer(send, b"whole")
    try:
        await send(body(b"more"))
    except (RuntimeError, OSError) as raised:
        print(f"after the end: {type(raised).__name__}: {raised}")


ORDERS: dict[str, App] = {"wrong": wrong, "later": later}
