# SPDX-License-Identifier: Apache-2.0
"""A FastAPI site in one file that uses what such sites use.

Runs in: workers of hornbeam and of uvicorn.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Form, Query, Request, UploadFile, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.websockets import WebSocketDisconnect

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


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    resource = Resource()
    yield {"resource": resource}
    resource.open = False


application = FastAPI(lifespan=lifespan)
application.add_middleware(TagMiddleware)


@application.middleware("http")
async def outer(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["x-outer"] = request_id.get()
    return response


# --- Dependencies with a life of their own


async def session(word: str) -> AsyncIterator[list[str]]:
    """Opened before the endpoint, closed after it, whatever it did."""
    done.append(f"{word} opened")
    try:
        yield [word]
    except LookupError:
        done.append(f"{word} rolled back")
        raise
    finally:
        await asyncio.sleep(0)
        done.append(f"{word} closed")


def threaded_dependency() -> Iterator[str]:
    """Not a coroutine: both halves run in a thread, and see the request's context."""
    yield request_id.get()


Session = Annotated[list[str], Depends(session)]


@application.get("/session")
async def with_session(opened: Session) -> list[str]:
    return [*opened, *done[-1:]]


@application.get("/session/fails")
async def with_failing_session(opened: Session) -> None:
    raise LookupError(f"lost with {opened}")


@application.get("/threaded")
def threaded(seen: Annotated[str, Depends(threaded_dependency)]) -> Response:
    assert seen == request_id.get()
    return PlainTextResponse(seen)


# --- Models


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(gt=0)


@application.post("/items", status_code=201)
async def item(item: Item) -> Item:
    return item


# --- What the other sites have


@application.get("/users/{ident}/{name}", name="user")
async def user(request: Request, ident: int, name: str) -> Response:
    url = request.url_for("user", ident=ident, name=name).path
    return PlainTextResponse(f"{ident} {name} {url}")


@application.get("/query")
async def query(request: Request, a: Annotated[list[str] | None, Query()] = None) -> Any:
    pairs = request.query_params
    found = {name: pairs.getlist(name) for name in pairs}
    assert found.get("a") == a
    return found


@application.post("/form")
async def form(
    name: Annotated[str, Form()],
    tags: Annotated[list[str] | None, Form()] = None,
    upload: UploadFile | None = None,
) -> Any:
    fields = {"name": [name], **({"tags": tags} if tags else {})}
    files = {}
    if upload is not None:
        data = await upload.read()
        files["upload"] = [upload.filename, upload.content_type, *digest_of(data)]
    return {"form": fields, "files": files}


@application.post("/json")
async def json(request: Request) -> Any:
    return {"received": await request.json()}


@application.put("/upload")
async def upload(request: Request) -> Any:
    return await digest(request.stream())


@application.get("/cookies/set")
async def set_cookies() -> Response:
    response = PlainTextResponse("set")
    response.set_cookie("plain", "1")
    response.set_cookie("strict", "2", path="/cookies", httponly=True, samesite="strict")
    return response


@application.get("/cookies")
async def cookies(request: Request) -> Any:
    return request.cookies


@application.get("/download/file")
async def download() -> Response:
    return FileResponse(FOLDER / "sample.bin", filename="prüfung.bin")


@application.get("/download/stream")
async def stream(count: int) -> Response:
    return StreamingResponse(lines(count), media_type="text/plain")


@application.get("/events")
async def sse(count: int) -> Response:
    return StreamingResponse(events(count), media_type="text/event-stream")


@application.post("/background")
async def background(word: str, tasks: BackgroundTasks) -> Response:
    tasks.add_task(remember, word)
    return PlainTextResponse("started", background=tasks)


@application.get("/done")
async def finished() -> list[str]:
    return done


@application.get("/context")
async def context() -> list[str]:
    inside = await asyncio.create_task(asyncio.to_thread(request_id.get))
    return [request_id.get(), inside]


@application.get("/pool")
async def pool(request: Request) -> bool:
    return bool(await request.state.resource.use() > 0)


@application.get("/boom")
async def boom() -> None:
    raise LookupError("lost on the way")


rooms: dict[str, Room] = {}


@application.websocket("/chat/{room}")
async def chat(socket: WebSocket, room: str, name: str) -> None:
    here = rooms.setdefault(room, Room())
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    here.members[socket] = socket.send_text
    await here.say(f"{name} is here")
    try:
        while True:
            await here.say(f"{name}: {await socket.receive_text()}")
    except WebSocketDisconnect as end:
        del here.members[socket]
        await here.say(f"{name} left with {end.code}")
