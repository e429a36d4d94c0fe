# SPDX-License-Identifier: Apache-2.0
"""Startup and shutdown of ASGI applications in real workers, in each mode."""

from __future__ import annotations

import json
from time import monotonic

import pytest

from hornbeam_erlang._wire import FAILED, READY
from unit.asgi.conftest import Start, config
from unit.worker.harness import Node

MODULE = "unit.asgi.lifespan_applications"

# Application, mode: the text of FAILED, or None when the worker gets ready.
STARTUPS: dict[tuple[str, str], str | None] = {
    ("speaks", "auto"): None,
    ("speaks", "on"): None,
    ("speaks", "off"): None,
    ("raises", "auto"): None,
    ("raises", "on"): "ValueError: no lifespan here",
    ("raises", "off"): None,
    ("returns", "auto"): None,
    ("returns", "on"): "returned before its startup was complete",
    ("fails", "auto"): "no database",
    ("fails", "on"): "no database",
    ("fails", "off"): None,
    ("fails_and_raises", "auto"): "no database",
    ("hangs", "auto"): "did not complete within 0.3 s",
    ("hangs", "on"): "did not complete within 0.3 s",
    ("confused", "on"): "expected 'lifespan.startup.complete'",
}


def patience(name: str) -> int:
    """The lifespan_timeout for this application, milliseconds: short where it is what is tested."""
    return 300 if name.endswith("hangs") else 30000


@pytest.mark.parametrize(("name", "mode"), STARTUPS)
def test_startup(name: str, mode: str) -> None:
    """`startup.failed` and a startup that hangs stop the worker, in every mode that asks;
    `auto` takes an exception or a return for an application that does not speak it."""
    failure = STARTUPS[name, mode]
    options = config(lifespan=mode.encode(), lifespan_timeout=patience(name))
    with Node(f"{MODULE}:{name}", options) as node:
        assert node.ready is not None
        if failure is None:
            assert node.ready[0] == READY
            assert node.request("/").status == 200
        else:
            assert node.ready[:2] == (FAILED, b"lifespan_failed")
            assert failure in node.ready[2].decode()
            assert node.wait_end() == 1


def test_state(start: Start) -> None:
    """What the startup keeps in `state` is in every scope, as the same objects in a dict of its
    own."""
    node = start(f"{MODULE}:speaks")
    for count in (1, 2, 3):
        answer = json.loads(node.request("/").body)
        assert answer == {"kept": ["startup", *["request"] * count], "own": [], "same_loop": True}


def test_shutdown(start: Start) -> None:
    """The shutdown comes after the last response, and the worker ends when it is complete."""
    node = start(f"{MODULE}:speaks")
    ident = node.open("/slow")
    node.drain()
    assert node.answer(ident).status == 200
    assert node.wait_end() == 0
    assert "shutdown after ['startup', 'request']" in node.stderr()


SHUTDOWNS = {
    "shutdown_fails": "the shutdown failed: still busy",
    "shutdown_raises": "ZeroDivisionError: in the shutdown",
    "shutdown_hangs": "the shutdown did not complete within 0.3 s",
}


@pytest.mark.parametrize("name", SHUTDOWNS)
def test_shutdown_that_fails(start: Start, name: str) -> None:
    """A shutdown that fails is logged, and the worker ends all the same, in time."""
    node = start(f"{MODULE}:{name}", lifespan_timeout=patience(name))
    began = monotonic()
    node.drain()
    assert node.wait_end() == 0
    assert monotonic() - began < 30
    assert SHUTDOWNS[name] in node.stderr()


def test_background_tasks(start: Start) -> None:
    """A task that the startup has begun runs between requests, and is cancelled at the end."""
    node = start(f"{MODULE}:ticks")
    first = int(node.request("/").body)
    deadline = monotonic() + 30
    while int(node.request("/").body) < first + 3:
        assert monotonic() < deadline
    node.drain()
    assert node.wait_end() == 0
    assert "ticker cancelled" in node.stderr()


def test_loops(start: Start) -> None:
    """Both loops serve."""
    for loop in (b"asyncio", b"uvloop", b"auto"):
        assert start(f"{MODULE}:speaks", loop=loop).request("/").status == 200
