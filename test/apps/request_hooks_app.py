# SPDX-License-Identifier: Apache-2.0
"""An application whose answers show what the request hooks have made of a request."""

import itertools
import os
import signal
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        return [str(1 // 0).encode()]
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/slow":
        time.sleep(1.2)
    if path == "/body":
        text = str(len(environ["wsgi.input"].read()))
    else:
        fields = [environ["REQUEST_METHOD"], path, environ["QUERY_STRING"]]
        fields += [environ.get("HTTP_X_USER", ""), environ.get("CONTENT_LENGTH") or "-"]
        text = " ".join(fields)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        return iter([b"one", b" ", b"two"])
    if path == "/endless":
        return (b"x" * 1000 for _ in itertools.count())
    if path == "/raise_late":
        return late()
    return [text.encode()]


def late():
    yield b"one"
    raise ValueError("late")
