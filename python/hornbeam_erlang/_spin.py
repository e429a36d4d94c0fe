# SPDX-License-Identifier: Apache-2.0
"""How long a thread looks for the answer to its call before it sleeps.

Runs in the thread that leads. To sleep and to be woken by another processor takes longer, and more
processor time, than the node takes for most calls; so the thread looks for about as long as that
would take. Where answers do not come in time it looks ever more rarely: a node that is busy, or
functions that are slow, are not waited for in this way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

SPIN_SECONDS = 50e-6
MAX_SKIPPED = 64  # waits in a row that are slept through before the next attempt, at most


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Spin:
    """Whether to look, learned from the attempts before.

    Args:
        count: processors of this process; on a single one the node could not answer meanwhile.
    """

    def __init__(self, count: int) -> None:
        self._is_useful = count > 1
        self._skip = 0  # waits until the next attempt
        self._penalty = 0  # what `_skip` was after the last attempt that failed; 0: none has

    def finds(self, poll: Callable[[float], bool]) -> bool:
        """Whether `poll(0.0)` becomes true soon; False at once when it is not worth trying."""
        if self._skip or not self._is_useful:
            self._skip = max(0, self._skip - 1)
            return False
        end = monotonic() + SPIN_SECONDS
        while not poll(0.0):
            if monotonic() >= end:
                self._penalty = min(MAX_SKIPPED, self._penalty * 2 or 1)
                self._skip = self._penalty
                return False
        self._penalty = 0
        return True
