# SPDX-License-Identifier: Apache-2.0
"""Bare ASGI applications that use the extensions of HTTP: trailers, early hints, push, pathsend;
chosen by `asgi_cases`.

Runs in: the worker.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from apps.asgi_types import TEXT, App, Receive, Scope, Send, answer, argument, body, start
from apps.gate import LoopSide


def trailers(fields: list[tuple[bytes, bytes]], more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": fields, "more_trailers": more}


async def trailing(scope: Scope, _receive: Receive, send: Send) -> None:
    """Trailers in two messages, after a body in one or two; the argument says which."""
    await send(start(200, TEXT, (b"trailer", b"x-sum, x-end"), trailers=True))
    if argument(scope) == "pieces":
        await send(body(b"first ", more=True))
    await send(body(b"last"))
    await send(trailers([(b"x-sum", b"42")], more=True))
    await send(trailers([(b"x-end", b"1"), (b"x-end", b"2")]))


async def no_trailers(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Trailers are announced and never sent: the response is not whole."""
    await send(start(trailers=True))
    await send(body(b"body"))


async def hints(scope: Scope, _receive: Receive, send: Send) -> None:
    """Two early hints, one of them with two links; the answer waits for the gate."""
    side = await LoopSide.open(scope)
    await send(start(200, TEXT, (b"x-final", b"1")))
    links = [b"</style.css>; rel=preload", b"</app.js>; rel=preload"]
    await send({"type": "http.response.early_hint", "links": links})
    await send({"type": "http.response.early_hint", "links": [b"</late.js>; rel=preload"]})
    await side.wait("hinted")
    await send(body(b"hinted"))


async def pushing(scope: Scope, _receive: Receive, send: Send) -> None:
    """Pushes /hello/ and a path that needs encoding."""
    await send(start())
    for path in ("/hello/", "/scope/a b/\u00e9"):
        fields = [(b"accept-language", b"eo")]
        await send({"type": "http.response.push", "path": path, "headers": fields})
    await send(body(b"pushed"))


async def pathsend(scope: Scope, _receive: Receive, send: Send) -> None:
    """A file that the server opens and sends; `told` tells its length."""
    name, _, kind = argument(scope).partition("/")
    path = Path(os.environ["SITE_FOLDER"]) / name
    length = [(b"content-length", b"%d" % path.stat().st_size)] if kind == "told" else []
    await send(start(200, TEXT, *length))
    await send({"type": "http.response.pathsend", "path": str(path)})


async def pathsend_nowhere(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A file that is not there: the message raises, and the application can still say 404."""
    message = {"type": "http.response.pathsend", "path": "/nowhere/at/all"}
    try:
        await send(start(200, TEXT, (b"content-length", b"10")))
        await send(message)
    except OSError as raised:
        print(f"pathsend: {raised}")
        raise


async def advertised(scope: Scope, _receive: Receive, send: Send) -> None:
    """The names of the extensions in the scope, in order."""
    await answer(send, " ".join(sorted(scope.get("extensions") or {})).encode())


EXTENSIONS: dict[str, App] = {
    "trailing": trailing,
    "no-trailers": no_trailers,
    "hints": hints,
    "pushing": pushing,
    "pathsend": pathsend,
    "pathsend-nowhere": pathsend_nowhere,
    "extensions": advertised,
}
