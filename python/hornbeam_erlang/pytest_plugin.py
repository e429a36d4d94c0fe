# SPDX-License-Identifier: Apache-2.0
"""A node for tests, as a fixture of pytest. A test suite asks for it in its `conftest.py`:

    pytest_plugins = ["hornbeam_erlang.pytest_plugin"]

Runs in: pytest. The node is started for the first test that wants it, takes some 0.3 s for that,
and is stopped after the last one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hornbeam_erlang
from hornbeam_erlang import Node


@pytest.fixture(scope="session")
def hornbeam_session_node() -> Iterator[Node]:
    """The one node of this run of pytest; what tests leave in it is there for the next ones."""
    with hornbeam_erlang.start() as node:
        yield node


@pytest.fixture
def hornbeam_node(hornbeam_session_node: Node) -> Node:
    """The node, to which this process is connected, with an empty state and an empty cache."""
    hornbeam_erlang.state_clear(None)
    hornbeam_erlang.cache_clear()
    return hornbeam_session_node
