# SPDX-License-Identifier: Apache-2.0
"""What the program in C talks to: a counter that both sides count, a handler that it executes, and
a topic that it subscribes to.

    hornbeam app:application            (a node with a name: see docs/guides/interop.md)
    GET /announce?TEXT                  publishes TEXT to the topic "news"
    GET /visits                         how many visits there were, of clients of either kind
"""

from urllib.parse import unquote

from hornbeam_erlang import hook, publish, state_get


def greet(action, name):
    """The handler "greeter": every worker has it."""
    return f"{action}, {name}!"


hook("greeter", greet)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/announce":
        text = f"{publish('news', unquote(environ['QUERY_STRING']))} told\n"
    else:
        text = f"{state_get('visits', 0)} visits\n"
    body = text.encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]
