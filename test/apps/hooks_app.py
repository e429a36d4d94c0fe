# SPDX-License-Identifier: Apache-2.0
"""Handlers of every kind, and an application that executes them: /name?[path, action, args, kwargs]
as JSON; its answer is the result, or the error's type and text."""

import asyncio
import itertools
import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import hornbeam_erlang
from hornbeam_erlang import await_result, call, execute, execute_async, hook, stream, unhook


def function(action, /, *args, **kwargs):
    """A function handler: tells what it was called with."""
    return [action, list(args), kwargs]


class Service:
    """A class handler: one instance per worker; it tells where it runs."""

    made = 0

    def __init__(self):
        Service.made += 1

    def count(self):
        return [os.getpid(), Service.made, id(self)]

    def where(self):
        return [os.getpid(), threading.get_ident()]

    def add(self, a, b=1):
        return a + b

    def fail(self, text):
        raise KeyError(text)

    def unsendable(self):
        return object()

    def sleep(self, seconds):
        time.sleep(seconds)
        return "slept"

    def die(self):
        os.kill(os.getpid(), 9)

    async def later(self, value):
        await asyncio.sleep(0)
        return value

    def nest(self, depth):
        """Executes itself, deeper and deeper; on which threads."""
        here = [threading.get_ident()]
        return here if depth == 0 else here + execute("service", "nest", depth - 1)

    def remaining(self):
        """How long a call in the service of this one would be waited for."""
        return call("deadline")

    # Streams.

    def numbers(self, count=None):
        yield from itertools.count() if count is None else range(count)

    async def async_numbers(self, count):
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    def some_then_fail(self):
        yield 1
        yield 2
        raise ValueError("three")

    def watched(self, path):
        """Endless; tells when it is closed."""
        try:
            yield from itertools.count()
        finally:
            Path(path).write_text("closed", encoding="ascii")

    def produced(self, path):
        """Endless; tells how far it is."""
        for number in itertools.count():
            Path(path).write_text(str(number), encoding="ascii")
            yield number

    def slow(self, seconds):
        yield 1
        time.sleep(seconds)
        yield 2

    def bad_item(self):
        yield 1
        yield object()

    def nested_stream(self, count):
        yield from stream("service", "numbers", count)


def caller(action, *args):
    """Calls the Erlang function named like the action."""
    return call(action, *args)


service = Service()
hook("function", function)
hook("caller", caller)
hook("service", Service)
hook("instance", service)


def first(path, action, args, kwargs):
    """The first three items, then the reader goes."""
    for item in stream(path, action, *args, **kwargs):
        if item == 2:
            return item


def own_hook():
    """Registers a handler that only this worker has, once both workers are asked to."""
    call("meet")
    hook(f"pid-{os.getpid()}", service)
    return os.getpid()


def other(pids):
    return next(pid for pid in pids if pid != os.getpid())


def cross(pids):
    """Executes a handler of the other worker while its request executes one of this."""
    call("meet")
    return execute(f"pid-{other(pids)}", "add", 1)


def endless(path, pids):
    """Reads an endless stream of the other worker; says who reads."""
    for number in stream(f"pid-{other(pids)}", "watched", path):
        if number == 0:
            Path(f"{path}.part").write_text(str(os.getpid()), encoding="ascii")
            os.rename(f"{path}.part", f"{path}.reader")
        time.sleep(0.01)


OPERATIONS = {
    "execute": lambda path, action, args, kwargs: execute(path, action, *args, **kwargs),
    "start": lambda path, action, args, kwargs: execute_async(path, action, *args, **kwargs),
    "task": lambda path, action, args, kwargs: await_result(
        execute_async(path, action, *args, **kwargs)
    ),
    "await": lambda task_id, timeout_ms: await_result(task_id, timeout_ms=timeout_ms),
    "stream": lambda path, action, args, kwargs: list(stream(path, action, *args, **kwargs)),
    "first": first,
    "call": lambda name, *args: call(name, *args),
    "hook": lambda path: hook(path, function),
    "unhook": lambda path: unhook(path),
    "own_hook": own_hook,
    "cross": cross,
    "endless": endless,
}


def application(environ, start_response):
    operation = OPERATIONS[environ["PATH_INFO"].strip("/")]
    arguments = json.loads(unquote(environ["QUERY_STRING"]) or "[]")
    try:
        timeout_ms = int(environ.get("HTTP_X_TIMEOUT", 20000))
        with hornbeam_erlang.call_timeout(timeout_ms):
            answer = {"ok": operation(*arguments)}
    except hornbeam_erlang.HornbeamError as exc:
        answer = {"error": type(exc).__name__, "text": str(exc)}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
