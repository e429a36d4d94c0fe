# SPDX-License-Identifier: Apache-2.0
"""Workers that serve the applications of `unit.asgi.applications`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from unit.worker.conftest import gate, make_gate
from unit.worker.harness import Node

__all__ = ["gate", "make_gate"]

APPLICATION = "unit.asgi.applications:application"

Start = Callable[..., Node]


def config(**changes: Any) -> dict[bytes, Any]:
    """BOOT's configuration for an ASGI worker, with changes."""
    known = {b"interface": b"asgi", b"lifespan_timeout": 5000}
    return {**known, **{name.encode(): value for name, value in changes.items()}}


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(app, **changes)`: a worker of its own; ends with the test."""
    with ExitStack() as stack:

        def one(app: str = APPLICATION, **changes: Any) -> Node:
            return stack.enter_context(Node(app, config(**changes)))

        yield one


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """One worker for the tests of a module, with each of the loops."""
    with Node(APPLICATION, config(loop=request.param.encode())) as node:
        yield node
