# SPDX-License-Identifier: Apache-2.0
"""PEP 3333 from the application's side: how responses are started, streamed and closed, by a real
worker."""

from __future__ import annotations

import json

import pytest

from hornbeam_erlang._wire import CREDIT, DATA, END, HEAD
from unit.worker.harness import WINDOW, Node


def closings(node: Node) -> list[str]:
    value: list[str] = json.loads(node.request("/closings").body)
    return value


WHOLE = {
    "whole": (200, b"whole"),
    "pieces": (200, b"abc"),
    "empty": (200, b""),
    "replaced_head": (500, b"oops"),
    "stubborn": (200, b"recovered"),
    "empty_generator": (200, b""),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_responses(raw_node: Node, name: str) -> None:
    """A response that is whole when it is returned leaves in one message."""
    answer = raw_node.request(f"/{name}")
    assert (answer.kind, answer.status, answer.body) == ("response", *WHOLE[name])


STREAMED = {
    "generator": (201, [b"one", b"two"]),
    "late_status": (418, [b"teapot"]),
    "writes": (200, [b"written ", b"twice ", b"and returned"]),
    "only_writes": (200, [b"written"]),
}


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_responses(node: Node, name: str) -> None:
    """Each chunk that is not empty is sent by itself; the head comes with the first of them."""
    answer = node.request(f"/{name}")
    assert (answer.kind, answer.status, answer.chunks) == ("stream", *STREAMED[name])


def test_exc_info_replaces_the_head(node: Node) -> None:
    """`start_response(..., exc_info)` before the head is sent replaces status and headers."""
    assert node.request("/replaced_head").headers == {b"content-type": b"text/plain"}
    assert node.request("/late_status").headers[b"x-mind"] == b"changed"


def test_exc_info_raises_after_the_head(node: Node) -> None:
    """`start_response(..., exc_info)` after the head re-raises, and the response is broken off."""
    answer = node.request("/reraised")
    assert (answer.kind, answer.status, answer.chunks) == ("abort", 200, [b"sent"])
    assert answer.abort is not None
    assert answer.abort[0] == b"app_error"
    assert b"KeyError: 'after the head'" in answer.abort[1]


def test_iterables_of_any_length(node: Node) -> None:
    """A thousand chunks arrive, in order and complete."""
    answer = node.request("/long_iterable")
    assert len(answer.chunks) == 1000
    assert answer.body == b"x" * 10000


def test_first_chunk_leaves_before_the_second_is_made(two_threads: Node) -> None:
    """Streaming is streaming: the first chunk is here while the application waits to make the
    second."""
    node = two_threads
    ident = node.open("/gated")
    assert node.expect(HEAD)[2] == 200
    assert node.expect(DATA)[2] == b"first"
    node.request("/open_gate")
    assert node.answer(ident).chunks == [b"second"]


def test_endless_generator_stops_with_the_client(node: Node) -> None:
    """An endless generator works within its credit, stops when the client leaves, and is closed."""
    ident = node.open("/endless")
    node.expect(HEAD)
    received = 0
    while received < 2 * WINDOW:
        message = node.expect(DATA)
        received += len(message[2])
        node.send((CREDIT, ident, len(message[2])))
    node.cancel(ident)
    answer = node.answer(ident)
    assert answer.abort is not None
    assert answer.abort[0] == b"cancelled"
    assert closings(node)[-1] == "endless"


def test_credit_is_never_exceeded(node: Node) -> None:
    """Without credit the worker sends exactly the window and waits; credit of one byte gives one
    byte."""
    ident = node.open("/endless")
    node.expect(HEAD)
    received = 0
    while received < WINDOW:
        received += len(node.expect(DATA)[2])
    assert received == WINDOW
    assert node.is_silent(0.05)
    node.send((CREDIT, ident, 1))
    assert len(node.expect(DATA)[2]) == 1
    assert node.is_silent(0.05)
    node.cancel(ident)
    assert node.answer(ident).kind == "abort"


@pytest.mark.parametrize("size", [WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 5])
def test_sizes_around_the_window(node: Node, size: int) -> None:
    """A body up to the window leaves whole, a larger one as a stream under credit; both
    complete."""
    answer = node.request("/large", query=str(size))
    # The validator hides the list, so that even a small body is a stream of one chunk.
    assert answer.body == bytes(size)


@pytest.mark.parametrize("size", [0, WINDOW - 1, WINDOW, WINDOW + 1])
def test_whole_up_to_the_window(raw_node: Node, size: int) -> None:
    """A list whose bytes fit the window is one RESPONSE; one byte more is a stream."""
    answer = raw_node.request("/large", query=str(size))
    assert answer.kind == ("response" if size <= WINDOW else "stream")
    assert answer.body == bytes(size)


def test_several_large_chunks(raw_node: Node) -> None:
    """A list of chunks that is larger than the window is streamed."""
    answer = raw_node.request("/many_large")
    assert answer.kind == "stream"
    assert answer.body == b"x" * 50000 + b"y" * 50000


def test_close_is_called_on_every_path(node: Node) -> None:
    """`close()` is called after the end, after an exception, for HEAD, and when the client has
    left."""
    before = len(closings(node))
    node.request("/closes")
    node.request("/closes", method="HEAD")
    node.request("/raises_streaming")
    ident = node.open("/endless")
    node.expect(HEAD)
    node.cancel(ident)
    node.answer(ident)
    assert closings(node)[before:] == ["closes", "closes", "raises_streaming", "endless"]


def test_close_that_raises(node: Node) -> None:
    """What `close()` raises is logged and changes nothing about the response."""
    answer = node.request("/close_raises")
    assert (answer.kind, answer.body) == ("stream", b"fine")
    node.request("/whole")
    assert "close() of the response of GET /close_raises raised" in node.stderr()
    assert "RuntimeError: in close()" in node.stderr()


# Content-Length.


EXACT = {
    "generator, one chunk": ("declared", "5,hello", "response"),
    "generator, two chunks": ("declared", "5,he,llo", "stream"),
    "generator, nothing": ("declared", "0", "response"),
    "list, one chunk": ("declared_list", "5,hello", "response"),
    "list, two chunks": ("declared_list", "5,he,llo", "response"),
}


@pytest.mark.parametrize("name", EXACT)
def test_content_length_kept(raw_node: Node, name: str) -> None:
    """A body that is as long as Content-Length says is sent; in one message when it is known in
    time."""
    path, query, kind = EXACT[name]
    answer = raw_node.request(f"/{path}", query=query)
    assert answer.kind == kind
    assert answer.body == b"".join(part.encode() for part in query.split(",")[1:])
    assert answer.headers[b"content-length"] == query.split(",")[0].encode()


TOO_SHORT = {
    "list": ("declared_list", "5,he", b""),
    "list, nothing": ("declared_list", "5", b""),
    "generator, nothing": ("declared", "5", b""),
    "generator": ("declared", "5,he", b"he"),
}


@pytest.mark.parametrize("name", TOO_SHORT)
def test_content_length_too_large(raw_node: Node, name: str) -> None:
    """A body that is shorter than Content-Length is never ended cleanly: 500 before the head,
    broken off after."""
    path, query, sent = TOO_SHORT[name]
    answer = raw_node.request(f"/{path}", query=query)
    assert (answer.kind, answer.body) == ("abort", sent)
    assert answer.abort == (
        b"length_mismatch",
        b"Content-Length is 5, the body has %d bytes" % len(query.replace(",", "")[1:]),
    )


TOO_LONG = {
    "list": ("declared_list", "3,hello"),
    "list, two chunks": ("declared_list", "3,he,llo"),
    "generator": ("declared", "3,hello"),
    "generator, two chunks": ("declared", "3,he,llo"),
    "generator, one chunk more": ("declared", "3,hel,lo"),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_content_length_too_small(raw_node: Node, name: str) -> None:
    """Bytes beyond Content-Length are never sent; the response is broken off and the mismatch
    logged."""
    path, query = TOO_LONG[name]
    answer = raw_node.request(f"/{path}", query=query)
    assert (answer.kind, answer.status, answer.body) == ("abort", 200, b"hel")
    assert answer.abort is not None
    assert answer.abort[0] == b"length_mismatch"
    raw_node.request("/whole")
    assert f"GET /{path}: Content-Length is 3, the body has at least 5 bytes" in raw_node.stderr()


def test_complete_body_does_not_wait_for_the_generator(two_threads: Node) -> None:
    """A body that is complete by Content-Length is sent within moments, though its generator works
    on."""
    node = two_threads
    ident = node.open("/declared_then_slow")
    node.expect(HEAD)
    assert node.expect(DATA)[2] == b"done"
    node.request("/open_gate")
    assert node.expect(END)[1] == ident


def test_exception_right_after_the_last_chunk(node: Node) -> None:
    """An exception after the complete body, before anything was sent, is a 500 rather than a
    broken response."""
    answer = node.request("/declared_then_raises")
    assert answer.abort is not None
    assert answer.abort[0] == b"app_error"
    assert answer.status == 0
