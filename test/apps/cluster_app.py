# SPDX-License-Identifier: Apache-2.0
"""An application of several nodes. HANDLER names the one handler that this node has, if any;
/operation?[arguments] as JSON is answered with the result, or the error's type and text."""

import itertools
import json
import os
import time
from pathlib import Path
from urllib.parse import unquote

import hornbeam_erlang
from hornbeam_erlang import await_result, call, cast, execute, execute_async, hook, stream


class Service:
    """Handlers that other nodes execute."""

    def add(self, a, b):
        return a + b

    def pid(self):
        return os.getpid()

    def fail(self, text):
        raise KeyError(text)

    def sleep(self, seconds):
        time.sleep(seconds)
        return "slept"

    def die(self):
        os.kill(os.getpid(), 9)

    def bounce(self, mine, other, depth):
        """From node to node and back, each waiting for the next."""
        if depth == 0:
            return [mine]
        return [mine, *execute(other, "bounce", other, mine, depth - 1)]

    def back(self, name, value):
        """Calls a function that the caller's node has."""
        return call(name, value)

    def numbers(self, count):
        yield from range(count)

    def some_then_fail(self):
        yield 1
        yield 2
        raise ValueError("three")

    def watched(self, path):
        """Endless; says when it is closed."""
        try:
            yield from itertools.count()
        finally:
            Path(path).write_text("closed", encoding="ascii")

    def produced(self, path):
        """Endless; says how far it is."""
        for number in itertools.count():
            Path(path).write_text(str(number), encoding="ascii")
            yield number


if "HANDLER" in os.environ:
    hook(os.environ["HANDLER"], Service)


def first(path, action, args, count):
    """Some items, then the reader goes."""
    return list(itertools.islice(stream(path, action, *args), count))


def one_by_one(path, action, args, pause):
    """Reads one item, and waits until the generator goes no further: how far is it?"""
    reader = stream(path, action, *args)
    next(reader)
    far, before = Path(args[0]).read_text(encoding="ascii"), None
    while not far or int(far) < 16 or far != before:
        time.sleep(pause)
        far, before = Path(args[0]).read_text(encoding="ascii"), far
    reader.close()
    return far


OPERATIONS = {
    "execute": lambda path, action, args: execute(path, action, *args),
    "labelled": lambda labels: [
        execute("labelled", "pid", labels=labels),
        list(stream("labelled", "numbers", 30, labels=labels)),
        await_result(execute_async("labelled", "pid", labels=labels)),
    ],
    "stream": lambda path, action, args: list(stream(path, action, *args)),
    "first": first,
    "one_by_one": one_by_one,
    "task": lambda path, action, args: await_result(execute_async(path, action, *args)),
    "call": lambda name, *args: call(name, *args),
    "cast": lambda name, *args: cast(name, *args),
}


def application(environ, start_response):
    operation = OPERATIONS[environ["PATH_INFO"].strip("/")]
    arguments = json.loads(unquote(environ["QUERY_STRING"]) or "[]")
    try:
        with hornbeam_erlang.call_timeout(int(environ.get("HTTP_X_TIMEOUT", 20000))):
            answer = {"ok": operation(*arguments)}
    except hornbeam_erlang.HornbeamError as exc:
        answer = {"error": type(exc).__name__, "text": str(exc)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
