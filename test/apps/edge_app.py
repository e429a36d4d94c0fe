# SPDX-License-Identifier: Apache-2.0
"""Counts the requests that reach it: for the suite that sends what must not."""

import time
from wsgiref.validate import validator

seen = 0


def _text(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _slow_stream(start_response, milliseconds):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for piece in (b"a", b"b", b"c"):
        yield piece
        time.sleep(milliseconds / 1000)


@validator
def application(environ, start_response):
    """`/seen` tells how many others there were; those answer with the length of their body."""
    global seen
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/seen":
        return _text(start_response, str(seen).encode())
    seen += 1
    if path == "/sleep":
        time.sleep(int(query) / 1000)
    if path == "/slow_stream":
        return _slow_stream(start_response, int(query))
    if path == "/connection":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", query)])
        return [b"ok"]
    if path == "/path":
        return _text(start_response, query.encode("latin-1"))
    length = 0
    while chunk := environ["wsgi.input"].read(65536):
        length += len(chunk)
    return _text(start_response, str(length).encode())
