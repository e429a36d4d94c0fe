# SPDX-License-Identifier: Apache-2.0
"""A Django site in one file that uses what such sites use.

Runs in: workers of hornbeam and of gunicorn. Every request goes through `wsgiref.validate`, except
with the header X-Plain: the validator wraps what the application returns, and only without it does
the server see `wsgi.file_wrapper`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.wsgi import get_wsgi_application
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import etag, require_POST
from django.views.static import serve

FOLDER = Path(os.environ["SITE_FOLDER"])
LIMIT = 64 * 1024 * 1024

settings.configure(
    ALLOWED_HOSTS=["site.example"],
    SECRET_KEY="of no importance",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.sessions", "django.contrib.messages"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    DATA_UPLOAD_MAX_MEMORY_SIZE=LIMIT,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
)

META = (
    ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH")
    + ("SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_HOST", "HTTP_X_SAMPLE", "HTTP_ACCEPT_LANGUAGE")
    + ("wsgi.url_scheme", "wsgi.version")
)


class Signup(forms.Form):  # type: ignore[misc]  # Django has no types
    """A form with a rule and an optional file."""

    name = forms.CharField(max_length=20)
    age = forms.IntegerField(min_value=18)
    picture = forms.FileField(required=False)


def user(_request: Any, ident: int, name: str) -> Any:
    return HttpResponse(f"{ident} {name} {reverse('user', args=[ident, name])}")


def query(request: Any) -> Any:
    return JsonResponse(dict(request.GET.lists()))


def signup(request: Any) -> Any:
    """GET gives the token that the POST must bring; POST checks the form."""
    if request.method == "GET":
        return JsonResponse({"token": get_token(request)})
    form = Signup(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse(form.errors.get_json_data(), status=422)
    cleaned = form.cleaned_data
    if picture := cleaned["picture"]:
        described = [picture.name, picture.content_type, *digest(picture)]
        return JsonResponse({**cleaned, "picture": described})
    return JsonResponse(cleaned)


def upload(request: Any) -> Any:
    return JsonResponse(digest(request), safe=False)


def digest(stream: Any) -> list[object]:
    """Length and SHA-256 of what is left in `stream`, read in pieces."""
    sha, size = hashlib.sha256(), 0
    while piece := stream.read(65536):
        sha.update(piece)
        size += len(piece)
    return [size, sha.hexdigest()]


def set_cookies(_request: Any) -> Any:
    response = HttpResponse("set")
    response.set_cookie("plain", "1")
    response.set_cookie("quoted", "a b; c", path="/cookies", httponly=True, samesite="Lax")
    response.set_cookie("lasting", "3", expires="Fri, 01 Jan 2100 00:00:00 GMT")
    return response


def delete_cookie(_request: Any) -> Any:
    response = HttpResponse("deleted")
    response.delete_cookie("plain")
    return response


def cookies(request: Any) -> Any:
    return JsonResponse(request.COOKIES)


def login(request: Any) -> Any:
    request.session["name"] = request.POST["name"]
    messages.info(request, f"Welcome, {request.POST['name']}")
    return HttpResponseRedirect(reverse("greet"))


def greet(request: Any) -> Any:
    said = [str(message) for message in messages.get_messages(request)]
    return JsonResponse({"name": request.session.get("name"), "messages": said})


def logout(request: Any) -> Any:
    request.session.flush()
    return HttpResponseRedirect("/greet", status=303)


def meta(request: Any) -> Any:
    seen = {name: request.META[name] for name in META if name in request.META}
    uri = request.build_absolute_uri()
    return JsonResponse({"meta": seen, "host": request.get_host(), "uri": uri})


def json(request: Any) -> Any:
    return HttpResponse(request.body, content_type=request.content_type)


def stream(request: Any) -> Any:
    return StreamingHttpResponse(lines(int(request.GET["count"])), content_type="text/plain")


def lines(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"line {number}\n"


def download(_request: Any) -> Any:
    file = (FOLDER / "sample.bin").open("rb")
    return FileResponse(file, as_attachment=True, filename="prüfung.bin")


def static(request: Any, name: str) -> Any:
    return serve(request, name, document_root=FOLDER)


def tagged(_request: Any) -> Any:
    return HttpResponse("tagged")


def boom(_request: Any) -> Any:
    raise LookupError("lost on the way")


urlpatterns = [
    path("users/<int:ident>/<str:name>", user, name="user"),
    path("folder/", lambda _request: HttpResponse("in the folder")),
    path("query", query),
    path("signup", signup),
    path("upload", csrf_exempt(upload)),
    path("cookies/set", set_cookies),
    path("cookies/delete", delete_cookie),
    path("cookies", cookies),
    path("login", csrf_exempt(require_POST(login))),
    path("logout", csrf_exempt(require_POST(logout))),
    path("greet", greet, name="greet"),
    path("meta", csrf_exempt(meta)),
    path("json", csrf_exempt(json)),
    path("stream", stream),
    path("download", download),
    path("static/<path:name>", static),
    path("tagged", etag(lambda _request: '"abc"')(tagged)),
    path("boom", boom),
]

site = get_wsgi_application()
checked = validator(site)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if "HTTP_X_PLAIN" in environ:
        answer: Iterable[bytes] = site(environ, start_response)
        return answer
    return checked(environ, start_response)
