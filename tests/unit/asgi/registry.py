# SPDX-License-Identifier: Apache-2.0
"""What the ASGI test applications share: the table of applications by path, and helpers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]

APPLICATIONS: dict[str, Application] = {}
# What applications note for a later request to ask about.
notes: list[Any] = []

START: Event = {"type": "http.response.start", "status": 200}
BODY: Event = {"type": "http.response.body"}


def application(function: Application) -> Application:
    APPLICATIONS[getattr(function, "__name__", "").rstrip("_")] = function
    return function


async def answer(send: Send, body: bytes = b"", **start: Any) -> None:
    await send({**START, **start})
    await send({**BODY, "body": body})


async def answer_json(send: Send, value: object) -> None:
    await answer(send, json.dumps(value, default=repr).encode())
