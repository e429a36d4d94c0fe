# SPDX-License-Identifier: Apache-2.0
"""A Litestar site in one file that uses what such sites use.

Runs in: workers of hornbeam and of uvicorn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, put, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import Cookie, UploadFile
from litestar.di import Provide
from litestar.exceptions import WebSocketDisconnect
from litestar.response import File, Stream

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


async def session(word: str) -> AsyncIterator[list[str]]:
    """A dependency: opened before the handler, closed after it."""
    done.append(f"{word} opened")
    yield [word]
    done.append(f"{word} closed")


@get("/session", dependencies={"opened": Provide(session)})
async def with_session(opened: list[str]) -> list[str]:
    return [*opened, *done[-1:]]


@get("/users/{ident:int}/{who:str}", name="user", media_type=MediaType.TEXT)
async def user(request: Request[Any, Any, Any], ident: int, who: str) -> str:
    return f"{ident} {who} {request.app.route_reverse('user', ident=ident, who=who)}"


@get("/query")
async def query(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    return request.query_params.dict()


@post("/form", status_code=200)
async def form(request: Request[Any, Any, Any]) -> dict[str, Any]:
    fields: dict[str, list[str]] = {}
    files = {}
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            data = await value.read()
            files[name] = [value.filename, value.content_type, *digest_of(data)]
        else:
            fields.setdefault(name, []).append(value)
    return {"form": fields, "files": files}


@post("/json", status_code=200)
async def json(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {"received": await request.json()}


@put("/upload")
async def upload(request: Request[Any, Any, Any]) -> list[object]:
    return await digest(request.stream())


@get("/cookies/set", media_type=MediaType.TEXT)
async def set_cookies() -> Response[str]:
    strict = Cookie(key="strict", value="2", path="/cookies", httponly=True, samesite="strict")
    return Response("set", cookies=[Cookie(key="plain", value="1"), strict])


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> dict[str, str]:
    return dict(request.cookies)


@get("/download/file")
async def download() -> File:
    return File(FOLDER / "sample.bin", filename="prüfung.bin")


@get("/download/stream")
async def stream(count: int) -> Stream:
    return Stream(lines(count), media_type="text/plain")


@get("/events")
async def sse(count: int) -> Stream:
    return Stream(events(count), media_type="text/event-stream")


@post("/background", status_code=200, media_type=MediaType.TEXT)
async def background(word: str) -> Response[str]:
    return Response("started", background=BackgroundTask(remember, word))


@get("/done")
async def finished() -> list[str]:
    return done


@get("/context")
async def context() -> list[str]:
    inside = await asyncio.create_task(asyncio.to_thread(request_id.get))
    return [request_id.get(), inside]


@get("/threaded", sync_to_thread=True, media_type=MediaType.TEXT)
def threaded() -> str:
    """Not a coroutine: the framework runs it in a thread."""
    return request_id.get()


@get("/pool")
async def pool(request: Request[Any, Any, Any]) -> bool:
    return bool(await request.app.state.resource.use() > 0)


@get("/boom")
async def boom() -> None:
    raise LookupError("lost on the way")


rooms: dict[str, Room] = {}


@websocket("/chat/{room:str}")
async def chat(socket: WebSocket[Any, Any, Any], room: str, name: str) -> None:
    here = rooms.setdefault(room, Room())
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocols="chat" if "chat" in offered else None)
    here.members[socket] = socket.send_text
    await here.say(f"{name} is here")
    try:
        while True:
            await here.say(f"{name}: {await socket.receive_text()}")
    except WebSocketDisconnect as end:
        del here.members[socket]
        await here.say(f"{name} left with {end.code}")


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.resource = Resource()
    yield
    app.state.resource.open = False


handlers = [
    *(with_session, user, query, form, json, upload, set_cookies, cookies, download, stream),
    *(sse, background, finished, context, threaded, pool, boom, chat),
]
application = Litestar(
    route_handlers=handlers,
    middleware=[TagMiddleware],  # type: ignore[list-item]  # its types are stricter than ASGI's
    lifespan=[lifespan],
    openapi_config=None,
    request_max_body_size=None,
    debug=False,
)
