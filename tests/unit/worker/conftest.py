# SPDX-License-Identifier: Apache-2.0
"""Gates: FIFOs on which applications of the worker wait until the test lets them go."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from unit.worker.harness import SECONDS, Node

APPLICATION = "unit.worker.applications:application"


class Gate:
    """A FIFO at which applications wait.

    `arrive` returns when somebody waits at it; `open` lets them go.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._fd = -1

    def arrive(self) -> None:
        deadline = monotonic() + SECONDS
        while self._fd < 0:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as exc:
                if exc.errno != errno.ENXIO or monotonic() > deadline:
                    raise
                os.sched_yield()

    def open(self) -> None:
        self.arrive()
        os.write(self._fd, b"passed")
        os.close(self._fd)
        self._fd = -1


@pytest.fixture
def make_gate(tmp_path: Path) -> Callable[[], Gate]:
    numbers = iter(range(1000))
    return lambda: Gate(tmp_path / f"gate{next(numbers)}")


@pytest.fixture
def gate(make_gate: Callable[[], Gate]) -> Gate:
    return make_gate()


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(APPLICATION) as node:
        yield node
