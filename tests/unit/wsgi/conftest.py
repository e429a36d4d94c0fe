# SPDX-License-Identifier: Apache-2.0
"""Workers that serve the applications of `unit.wsgi.applications`, one per test module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.worker.harness import Node

TESTS = str(Path(__file__).parents[2]).encode()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Every application inside the validator."""
    with Node("unit.wsgi.applications:router", {b"pythonpath": [TESTS]}) as node:
        yield node


@pytest.fixture(scope="module")
def raw_node() -> Iterator[Node]:
    """Every application without the validator."""
    with Node("unit.wsgi.applications:raw", {b"pythonpath": [TESTS]}) as node:
        yield node


@pytest.fixture(scope="module")
def two_threads() -> Iterator[Node]:
    """Two threads, so that one request can act on another."""
    config = {b"pythonpath": [TESTS], b"threads": 2}
    with Node("unit.wsgi.applications:router", config) as node:
        yield node
