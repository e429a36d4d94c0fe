# SPDX-License-Identifier: Apache-2.0
"""Python services that the node calls, and an application that calls the node."""

import threading
import time
from wsgiref.validate import validator

import hornbeam_erlang
from hornbeam_erlang._served import register_service


def descend(depth):
    """Calls the node, which calls this again one level deeper, on the one thread there is."""
    if depth == 0:
        return [threading.get_ident()]
    return [threading.get_ident(), *hornbeam_erlang.call("descend", depth - 1)]


def same(value):
    return value


def fails(text):
    raise KeyError(text)


def unsendable():
    return object()


def slow(milliseconds):
    time.sleep(milliseconds / 1000)
    return "slow"


for function in (descend, same, fails, unsendable, slow):
    register_service(function.__name__, function)


@validator
def application(environ, start_response):
    """/descend?10: how deep it went, and on how many threads; /call?name: what the function gave."""
    if environ["PATH_INFO"] == "/descend":
        idents = descend(int(environ["QUERY_STRING"]))
        text = f"{len(idents)} levels, {len(set(idents))} thread"
    else:
        try:
            text = repr(hornbeam_erlang.call(environ["QUERY_STRING"], 1, "two", b"3"))
        except hornbeam_erlang.HornbeamError as exc:
            text = f"{type(exc).__name__}: {exc}"
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
