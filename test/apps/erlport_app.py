# SPDX-License-Identifier: Apache-2.0
"""Python code as it is written for ErlPort, in the worker of an application."""

import os
import threading
import time

from hornbeam_erlang.erlport import (
    Atom,
    CallError,
    List,
    call,
    cast,
    self,
    set_decoder,
    set_default_decoder,
    set_default_message_handler,
    set_message_handler,
)

seen = []
running = threading.Semaphore(1)


def register_handler(pid):
    """The first example of every ErlPort tutorial: messages come back to whoever registered."""

    def handler(message):
        cast(pid, (Atom(b"echo"), message))

    set_message_handler(handler)
    return Atom("ok")


def remove_handler():
    set_default_message_handler()


def failing_handler():
    def handler(message):
        raise LookupError(message)

    set_message_handler(handler)


def kind(value):
    return [type(value).__name__, value]


def is_list(value):
    return isinstance(value, List) and value.to_string() == "text"


def fail(text):
    raise KeyError(text)


def unsendable():
    return object()


class Nested:
    class Deeper:
        @staticmethod
        def add(a, b):
            return a + b


async def later(value):
    return value


def alone(pid):
    """Nobody else runs in the same instance at the same time."""
    assert running.acquire(blocking=False)
    try:
        cast(pid, Atom("entered"))
        return call(Atom("erlport_SUITE"), Atom("do_wait"), [pid])
    finally:
        running.release()


def erlang(module, function, args):
    return call(Atom(module), Atom(function), args)


def call_error(module, function, args):
    try:
        return call(Atom(module), Atom(function), args)
    except CallError as exc:
        return (exc.language, exc.type, exc.value)


def hold(pid, path):
    """Keeps Python busy until there is a file."""
    cast(pid, Atom("entered"))
    while not os.path.exists(path):
        time.sleep(0.005)
    return "held"


def me():
    return self()


def thread_and(module, function, args):
    """On which thread this runs, and on which one what it calls."""
    return [threading.get_ident(), call(Atom(module), Atom(function), args)]


def thread():
    return threading.get_ident()


def decoded(value):
    return value


def use_decoder():
    set_decoder(lambda value: ("decoded", value))


def use_no_decoder():
    set_default_decoder()


def remember(value):
    seen.append(value)


def remembered():
    return list(seen)


def wsgi(environ, start_response):
    body = str(len(seen)).encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(len(seen)).encode()})
