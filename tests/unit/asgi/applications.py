# SPDX-License-Identifier: Apache-2.0
"""The ASGI applications of these tests: the first part of the path names one."""

from __future__ import annotations

from unit.asgi import http_applications, socket_applications, task_applications
from unit.asgi.registry import APPLICATIONS, Event, Receive, Send

PARTS = (http_applications, socket_applications, task_applications)


async def application(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan here")
    await APPLICATIONS[scope["path"].split("/")[1]](scope, receive, send)
