# SPDX-License-Identifier: Apache-2.0
"""WSGI applications of the Common Test suites; each is checked by wsgiref.validate while it serves."""

import os
import signal
import time
from urllib.parse import parse_qs
from wsgiref.validate import validator

import hornbeam_erlang


def _text(start_response, body, status="200 OK"):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return _text(start_response, b"Hello")


def echo(environ, start_response):
    """The request body."""
    return _text(start_response, environ["wsgi.input"].read(1 << 30))


def length(environ, start_response):
    """The number of bytes in the request body, read slowly in pieces."""
    total = 0
    while chunk := environ["wsgi.input"].read(65536):
        total += len(chunk)
    return _text(start_response, str(total).encode())


def whoami(environ, start_response):
    return _text(start_response, str(os.getpid()).encode())


def count(environ, start_response):
    """Endless numbers; tells when it was closed through a file named in the query."""
    path = parse_qs(environ["QUERY_STRING"])["closed"][0]
    start_response("200 OK", [("Content-Type", "text/plain")])

    def numbers():
        try:
            number = 0
            while True:
                yield b"%d\n" % number
                number += 1
        finally:
            with open(path, "w", encoding="ascii") as file:
                file.write("closed")

    return numbers()


def megabytes(environ, start_response):
    """As many MiB as the query says, a piece of 64 KiB at a time."""
    pieces = int(environ["QUERY_STRING"]) * 16
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (b"x" * 65536 for _ in range(pieces))


def sleep(environ, start_response):
    """Sleeps for as many milliseconds as the query says."""
    time.sleep(int(environ["QUERY_STRING"]) / 1000)
    return _text(start_response, b"slept")


def hold(environ, start_response):
    """Tells that it runs through a file named in the query, and does not end."""
    with open(environ["QUERY_STRING"], "w", encoding="ascii") as file:
        file.write("running")
    time.sleep(60)


def raises(environ, start_response):
    raise ValueError("deliberate")


def raises_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def body():
        yield b"first"
        raise ValueError("deliberate, late")

    return body()


def kills(environ, start_response):
    """Dies of the signal that the query names."""
    os.kill(os.getpid(), getattr(signal, environ["QUERY_STRING"]))
    time.sleep(60)


def kills_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def body():
        yield b"first"
        os.kill(os.getpid(), signal.SIGKILL)
        yield b"second"

    return body()


def garbage(environ, start_response):
    """Writes on the worker's own connection."""
    os.write(4, b"\x00\x00\x00\x05hello")
    time.sleep(60)


def call(environ, start_response):
    """Calls the registered function that the query names, with one argument."""
    try:
        value = hornbeam_erlang.call(environ["QUERY_STRING"], "argument")
    except hornbeam_erlang.HornbeamError as exc:
        value = f"{type(exc).__name__}"
    return _text(start_response, repr(value).encode())


ROUTES = {
    function.__name__: validator(function)
    for function in (
        hello, echo, length, whoami, count, megabytes, sleep, hold, raises, raises_late,
        kills, kills_late, garbage, call,
    )
}  # fmt: skip


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/") or "hello"
    return ROUTES[name](environ, start_response)
