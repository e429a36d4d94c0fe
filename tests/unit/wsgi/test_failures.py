# SPDX-License-Identifier: Apache-2.0
"""Applications that fail: what the node is told, what is logged, and that the worker goes on."""

from __future__ import annotations

import pytest

from hornbeam_erlang._wire import ABORT, RESPONSE
from unit.worker.harness import Node

FAILURES = {
    "raises": b"ZeroDivisionError: before start_response",
    "raises_started": b"ZeroDivisionError: after start_response",
    "exits": b"SystemExit: 3",
    "started_twice": b"start_response was called before",
    "none": b"TypeError",
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_before_the_head(raw_node: Node, name: str) -> None:
    """What the application raises before the head is a 500 with the traceback, and the worker goes
    on."""
    answer = raw_node.request(f"/{name}")
    assert (answer.kind, answer.status) == ("abort", 0)
    assert answer.abort is not None
    assert answer.abort[0] == b"app_error"
    assert FAILURES[name] in answer.abort[1]
    assert raw_node.request("/whole").body == b"whole"


def test_no_start_response(raw_node: Node) -> None:
    """An application that returns without `start_response` is told so."""
    answer = raw_node.request("/never_started")
    assert answer.abort == (b"no_response", b"the application did not call start_response")


def test_failure_after_the_head(node: Node) -> None:
    """What the application raises after the head breaks the response off, never ends it cleanly."""
    answer = node.request("/raises_streaming")
    assert (answer.kind, answer.chunks) == ("abort", [b"some"])


def test_keyboard_interrupt_ends_one_request(node: Node) -> None:
    """KeyboardInterrupt raised by the application is a 500 like any other exception."""
    assert node.request("/exits", query="interrupt").kind == "abort"
    assert node.request("/whole").body == b"whole"


def test_traceback_is_logged_once(node: Node) -> None:
    """The traceback is on stderr once, begins in the application, and its line names method and
    path."""
    before = node.stderr()
    answer = node.request("/raises", method="POST")
    node.request("/whole")
    log = node.stderr()[len(before) :]
    assert log.count("ZeroDivisionError: before start_response") == 1
    assert "ERROR hornbeam.wsgi: POST /raises raised" in log
    assert "hornbeam_erlang/_wsgi.py" not in log
    assert answer.abort is not None
    assert b"_wsgi.py" not in answer.abort[1]


def test_answers_of_a_batch(raw_node: Node) -> None:
    """Requests that arrive together are answered in order, those that fail among them."""
    paths = ["/whole", "/raises", "/pieces", "/never_started", "/whole"] * 10
    messages = [raw_node.open_message(path) for path in paths]
    raw_node.send(*messages)
    answers = [raw_node.receive() for _ in messages]
    assert [answer[1] for answer in answers] == [message[1] for message in messages]
    codes = [RESPONSE, ABORT, RESPONSE, ABORT, RESPONSE] * 10
    assert [answer[0] for answer in answers] == codes
