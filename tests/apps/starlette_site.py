# SPDX-License-Identifier: Apache-2.0
"""A Starlette site in one file that uses what such sites use.

Runs in: workers of hornbeam and of uvicorn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from apps.asgi_sites import (
    FOLDER,
    Resource,
    Room,
    TagMiddleware,
    digest,
    digest_of,
    done,
    events,
    lines,
    remember,
    request_id,
)


class TimingMiddleware(BaseHTTPMiddleware):
    """The other kind of middleware, which runs the endpoint in a task of its own."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-outer"] = request_id.get()
        return response


async def user(request: Request) -> Response:
    found = request.path_params
    url = request.url_for("user", **found).path
    return PlainTextResponse(f"{found['ident']} {found['name']} {url}")


async def query(request: Request) -> Response:
    pairs = request.query_params
    return JSONResponse({name: pairs.getlist(name) for name in pairs})


async def form(request: Request) -> Response:
    async with request.form() as found:
        fields: dict[str, list[str]] = {}
        files = {}
        for name, value in found.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
            else:
                data = await value.read()
                files[name] = [value.filename, value.content_type, *digest_of(data)]
        return JSONResponse({"form": fields, "files": files})


async def json(request: Request) -> Response:
    return JSONResponse({"received": await request.json()})


async def upload(request: Request) -> Response:
    return JSONResponse(await digest(request.stream()))


async def set_cookies(_request: Request) -> Response:
    response = PlainTextResponse("set")
    response.set_cookie("plain", "1")
    response.set_cookie("strict", "2", path="/cookies", httponly=True, samesite="strict")
    return response


async def cookies(request: Request) -> Response:
    return JSONResponse(request.cookies)


async def download(_request: Request) -> Response:
    return FileResponse(FOLDER / "sample.bin", filename="prüfung.bin")


async def stream(request: Request) -> Response:
    return StreamingResponse(lines(int(request.query_params["count"])), media_type="text/plain")


async def sse(request: Request) -> Response:
    found = events(int(request.query_params["count"]))
    return StreamingResponse(found, media_type="text/event-stream")


async def background(request: Request) -> Response:
    word = request.query_params["word"]
    return PlainTextResponse("started", background=BackgroundTask(remember, word))


async def finished(_request: Request) -> Response:
    return JSONResponse(done)


async def context(_request: Request) -> Response:
    inside = await asyncio.create_task(asyncio.to_thread(request_id.get))
    return JSONResponse([request_id.get(), inside])


def threaded(_request: Request) -> Response:
    """Not a coroutine: the framework runs it in a thread."""
    return PlainTextResponse(request_id.get())


async def pool(request: Request) -> Response:
    return JSONResponse(await request.state.resource.use() > 0)


async def boom(_request: Request) -> Response:
    raise LookupError("lost on the way")


async def old(_request: Request) -> Response:
    return RedirectResponse("/query?a=1", status_code=307)


rooms: dict[str, Room] = {}


async def chat(socket: WebSocket) -> None:
    """A room: a greeting, and what anyone says; the end of one is told to the others."""
    room = rooms.setdefault(socket.path_params["room"], Room())
    name = socket.query_params["name"]
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    room.members[socket] = socket.send_text
    await room.say(f"{name} is here")
    try:
        while True:
            await room.say(f"{name}: {await socket.receive_text()}")
    except WebSocketDisconnect as end:
        del room.members[socket]
        await room.say(f"{name} left with {end.code}")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
    resource = Resource()
    yield {"resource": resource}
    resource.open = False


routes = [
    Route("/users/{ident:int}/{name}", user, name="user"),
    Route("/query", query),
    Route("/form", form, methods=["POST"]),
    Route("/json", json, methods=["POST"]),
    Route("/upload", upload, methods=["PUT"]),
    Route("/cookies/set", set_cookies),
    Route("/cookies", cookies),
    Route("/download/file", download),
    Route("/download/stream", stream),
    Route("/events", sse),
    Route("/background", background, methods=["POST"]),
    Route("/done", finished),
    Route("/context", context),
    Route("/threaded", threaded),
    Route("/pool", pool),
    Route("/boom", boom),
    Route("/old", old),
    WebSocketRoute("/chat/{room}", chat),
    Mount("/below", routes=[Route("/here", user)]),
]
application = Starlette(
    routes=routes,
    middleware=[Middleware(TimingMiddleware), Middleware(TagMiddleware)],
    lifespan=lifespan,
)
