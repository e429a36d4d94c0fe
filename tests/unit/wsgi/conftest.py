# SPDX-License-Identifier: Apache-2.0
"""Workers that serve the applications of `wsgi_applications`, one per test module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.worker.harness import Node

HERE = str(Path(__file__).parent).encode()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Every application inside the validator."""
    with Node("wsgi_applications:router", {b"pythonpath": [HERE]}) as node:
        yield node


@pytest.fixture(scope="module")
def raw_node() -> Iterator[Node]:
    """Every application without the validator."""
    with Node("wsgi_applications:raw", {b"pythonpath": [HERE]}) as node:
        yield node


@pytest.fixture(scope="module")
def two_threads() -> Iterator[Node]:
    """Two threads, so that one request can act on another."""
    config = {b"pythonpath": [HERE], b"threads": 2}
    with Node("wsgi_applications:router", config) as node:
        yield node
