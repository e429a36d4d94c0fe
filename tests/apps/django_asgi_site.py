# SPDX-License-Identifier: Apache-2.0
"""A Django site for ASGI in one file: asynchronous and ordinary views, Channels for WebSockets with
its layer in memory.

Runs in: workers of hornbeam and of uvicorn.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.utils.decorators import async_only_middleware

from apps.asgi_sites import FOLDER, TagMiddleware, digest_of, done, events, lines, request_id

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of no importance",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["channels"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=64 * 1024 * 1024,
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    MIDDLEWARE=[f"{__name__}.outer", "django.middleware.common.CommonMiddleware"],
)


@async_only_middleware  # type: ignore[untyped-decorator]  # Django has no types
def outer(get_response: Any) -> Any:
    """Django's own kind of middleware, asynchronous."""

    async def middleware(request: Any) -> Any:
        response = await get_response(request)
        response["x-outer"] = request_id.get()
        return response

    return middleware


async def user(_request: Any, ident: int, name: str) -> Any:
    return HttpResponse(f"{ident} {name} {reverse('user', args=[ident, name])}")


async def query(request: Any) -> Any:
    return JsonResponse(dict(request.GET.lists()))


def form(request: Any) -> Any:
    """An ordinary view: it runs in a thread."""
    files = {
        name: [file.name, file.content_type, *digest_of(file.read())]
        for name, file in request.FILES.items()
    }
    return JsonResponse({"form": dict(request.POST.lists()), "files": files})


async def json(request: Any) -> Any:
    import json

    return JsonResponse({"received": json.loads(request.body)})


def upload(request: Any) -> Any:
    sha, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        sha.update(piece)
        size += len(piece)
    return JsonResponse([size, sha.hexdigest()], safe=False)


async def set_cookies(_request: Any) -> Any:
    response = HttpResponse("set")
    response.set_cookie("plain", "1")
    response.set_cookie("strict", "2", path="/cookies", httponly=True, samesite="Strict")
    return response


async def cookies(request: Any) -> Any:
    return JsonResponse(request.COOKIES)


def download(_request: Any) -> Any:
    file = (FOLDER / "sample.bin").open("rb")
    return FileResponse(file, as_attachment=True, filename="prüfung.bin")


async def stream(request: Any) -> Any:
    return StreamingHttpResponse(lines(int(request.GET["count"])), content_type="text/plain")


async def sse(request: Any) -> Any:
    found = events(int(request.GET["count"]))
    return StreamingHttpResponse(found, content_type="text/event-stream")


async def context(_request: Any) -> Any:
    inside = await asyncio.create_task(asyncio.to_thread(request_id.get))
    return JsonResponse([request_id.get(), inside], safe=False)


def threaded(_request: Any) -> Any:
    return HttpResponse(request_id.get())


async def finished(_request: Any) -> Any:
    return JsonResponse(done, safe=False)


async def waits(request: Any) -> Any:
    """A view that its client leaves is cancelled by Django, which reads http.disconnect."""
    done.append(f"{request.GET['word']} waits")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        done.append(f"{request.GET['word']} cancelled")
        raise


async def boom(_request: Any) -> Any:
    raise LookupError("lost on the way")


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """A room that is a group of the channel layer."""

    async def connect(self) -> None:
        arguments = dict(pair.split("=") for pair in self.scope["query_string"].decode().split("&"))
        self.name = arguments["name"]
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept("chat" if "chat" in self.scope["subprotocols"] else None)
        await self.say(f"{self.name} is here")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.say(f"{self.name}: {text_data}")

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)
        await self.say(f"{self.name} left with {code}")

    async def say(self, text: str) -> None:
        await self.channel_layer.group_send(self.room, {"type": "chat.said", "text": text})

    async def chat_said(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["text"])


urlpatterns = [
    path("users/<int:ident>/<str:name>", user, name="user"),
    path("query", query),
    path("form", form),
    path("json", json),
    path("upload", upload),
    path("cookies/set", set_cookies),
    path("cookies", cookies),
    path("download/file", download),
    path("download/stream", stream),
    path("events", sse),
    path("context", context),
    path("threaded", threaded),
    path("done", finished),
    path("waits", waits),
    path("boom", boom),
]

application = ProtocolTypeRouter(
    {
        "http": TagMiddleware(get_asgi_application()),
        "websocket": URLRouter([path("chat/<str:room>", Chat.as_asgi())]),
    }
)
