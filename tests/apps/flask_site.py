# SPDX-License-Identifier: Apache-2.0
"""A Flask application that uses what such applications use.

Runs in: workers of hornbeam and of gunicorn. Every request goes through `wsgiref.validate`, except
with the header X-Plain: the validator wraps what the application returns, and only without it does
the server see `wsgi.file_wrapper`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from flask import (
    Flask,
    Response,
    flash,
    get_flashed_messages,
    jsonify,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

FOLDER = Path(os.environ["SITE_FOLDER"])

app = Flask(__name__)
app.secret_key = "of no importance"
# With a limit Flask reads through its own LimitedStream. Without one it calls wsgi.input.read()
# with no size where the server says wsgi.input_terminated, which wsgiref.validate forbids.
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024 * 1024


@app.get("/users/<int:ident>/<name>")
def user(ident: int, name: str) -> str:
    return f"{ident} {name} {url_for('user', ident=ident, name=name)}"


@app.get("/folder/")
def folder() -> str:
    return "in the folder"


@app.get("/query")
def query() -> Response:
    return jsonify({name: request.args.getlist(name) for name in request.args})


@app.post("/form")
def form() -> Response:
    files = {
        name: [file.filename, file.content_type, *digest(file.stream)]
        for name, file in request.files.items()
    }
    return jsonify(form=request.form.to_dict(flat=False), files=files)


@app.post("/limited")
def limited() -> Response:
    request.max_content_length = 100
    return jsonify(len(request.form["a"]))


@app.route("/upload", methods=["PUT", "POST", "DELETE"])
def upload() -> Response:
    return jsonify(digest(request.stream))


def digest(stream: Any) -> list[object]:
    """Length and SHA-256 of what is left in `stream`, read in pieces."""
    sha, size = hashlib.sha256(), 0
    while piece := stream.read(65536):
        sha.update(piece)
        size += len(piece)
    return [size, sha.hexdigest()]


@app.post("/gzip")
def unzip() -> Response:
    return jsonify(gzip.decompress(request.get_data()).decode())


@app.post("/json")
def json() -> Response:
    return jsonify(received=request.get_json(), content_type=request.content_type)


@app.get("/cookies/set")
def set_cookies() -> Response:
    response = Response("set")
    response.set_cookie("plain", "1")
    response.set_cookie("quoted", "a b; c", path="/cookies", httponly=True, samesite="Lax")
    response.set_cookie("lasting", "3", expires=datetime(2100, 1, 1, tzinfo=UTC))
    return response


@app.get("/cookies/delete")
def delete_cookie() -> Response:
    response = Response("deleted")
    response.delete_cookie("plain")
    return response


@app.get("/cookies")
def cookies() -> Response:
    return jsonify(request.cookies)


@app.post("/login")
def login() -> BaseResponse:
    session["name"] = request.form["name"]
    flash(f"Welcome, {session['name']}")
    return redirect(url_for("greet"))


@app.get("/greet")
def greet() -> Response:
    return jsonify(name=session.get("name"), flashed=get_flashed_messages())


@app.post("/logout")
def logout() -> BaseResponse:
    session.clear()
    return redirect("/greet", 303)


@app.get("/download/<kind>")
def download(kind: str) -> BaseResponse:
    if kind == "bytes":
        return Response(bytes(range(256)) * 64, mimetype="application/octet-stream")
    if kind == "stream":
        return Response(stream_with_context(lines()), mimetype="text/plain")
    return send_file(FOLDER / "sample.bin", as_attachment=True, download_name="prüfung.bin")


def lines() -> Iterator[str]:
    """Needs the request's context while it is being sent."""
    for number in range(int(request.args["count"])):
        yield f"line {number}\n"


@app.get("/boom")
def boom() -> str:
    raise LookupError("lost on the way")


@app.get("/teapot")
def teapot() -> tuple[str, int, list[tuple[str, str]]]:
    return "short and stout", 418, [("X-Handle", "left"), ("X-Handle", "right")]


checked = validator(app)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if "HTTP_X_PLAIN" in environ:
        return app(environ, start_response)
    return checked(environ, start_response)
