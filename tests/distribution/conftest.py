# SPDX-License-Identifier: Apache-2.0
"""An Erlang node and a Python node for each module of tests.

Runs in: pytest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from distribution.beam import Beam, python
from hornbeam_erlang.node import Node


@pytest.fixture(scope="module")
def beam() -> Iterator[Beam]:
    """An Erlang node that runs for all tests of a module."""
    running = Beam()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A Python node that runs for all tests of a module."""
    with python() as running:
        yield running
