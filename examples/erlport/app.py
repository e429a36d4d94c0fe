# SPDX-License-Identifier: Apache-2.0
"""Python code that was written for ErlPort, in a worker that serves requests, too: word_count.erl
drives it, and both count in the same place.

    ok = hornbeam:start("app:application", #{erlport => ["app"]}).
    GET /                               how many words were counted
"""

from hornbeam_erlang.erlport import Atom, cast, set_message_handler

total = 0


def count(text):
    """Words of a text, which an Erlang binary is bytes of, as with ErlPort."""
    global total
    words = len(text.decode().split())
    total += words
    return words


def register_handler(pid):
    """From now on messages are texts, and `pid` gets {counted, Words} for each."""
    set_message_handler(lambda text: cast(pid, (Atom(b"counted"), count(text))))
    return Atom(b"ok")


def application(environ, start_response):
    body = f"{total} words\n".encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]
