# SPDX-License-Identifier: Apache-2.0
"""One Erlang node for the session. Runs in the test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oracle.beam import Beam


@pytest.fixture(scope="session")
def beam() -> Iterator[Beam]:
    node = Beam()
    yield node
    node.stop()
