# SPDX-License-Identifier: Apache-2.0
"""What an application learns of its connection, and bodies of any size: for the suites of TLS and
HTTP/2."""

import os
import tempfile
import time
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

running = 0


def _answer(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def about(environ, start_response):
    names = ("wsgi.url_scheme", "SERVER_PROTOCOL", "SERVER_PORT", "REMOTE_ADDR")
    return _answer(start_response, " ".join(environ[name] for name in names).encode())


def pid(environ, start_response):
    return _answer(start_response, str(os.getpid()).encode())


def length(environ, start_response):
    count = 0
    while chunk := environ["wsgi.input"].read(65536):
        count += len(chunk)
    return _answer(start_response, str(count).encode())


def letters(environ, start_response):
    """As many bytes as the query says, in one piece."""
    return _answer(start_response, b"x" * int(environ["QUERY_STRING"]))


def pieces(environ, start_response):
    """As many pieces of 10,000 bytes as the query says."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"y" * 10_000 for _ in range(int(environ["QUERY_STRING"])))


def file(environ, start_response):
    """As many bytes as the query says, out of a file."""
    source = tempfile.TemporaryFile()
    source.write(os.urandom(1) * int(environ["QUERY_STRING"]))
    source.seek(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ.get("wsgi.file_wrapper", FileWrapper)(source)


def ticks(environ, start_response):
    """Says how many of these run now, then a byte every 20 ms for ever."""
    global running
    start_response("200 OK", [("Content-Type", "text/plain")])
    running += 1
    try:
        while True:
            yield b"."
            time.sleep(0.02)
    finally:
        running -= 1


def ticking(environ, start_response):
    return _answer(start_response, str(running).encode())


# What the validator returns is no file any more.
APPS = {"/file": file} | {
    f"/{function.__name__}": validator(function)
    for function in (about, pid, length, letters, pieces, ticks, ticking)
}


def application(environ, start_response):
    return APPS[environ["PATH_INFO"]](environ, start_response)


async def asgi(scope, receive, send):
    """What the scope says of the connection."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    body = f"{scope['scheme']} {scope['http_version']} {scope['server'][1]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
