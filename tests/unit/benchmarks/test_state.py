# SPDX-License-Identifier: Apache-2.0
"""From the rounds of the comparison with Redis to medians and ratios."""

from __future__ import annotations

import state


def rounds() -> list[state.Round]:
    def one(ours: float, tcp: float) -> state.Round:
        times = {"hornbeam": ours, "redis, TCP": tcp}
        return {"incr": {s: {"clock": t, "processors": t / 2} for s, t in times.items()}}

    return [one(20, 50), one(10, 40), one(90, 60)]


def test_lines() -> None:
    """Each figure is the median of its rounds, the ratio that of the medians."""
    (line,) = state.lines(rounds())
    assert line.clock == {"hornbeam": 20, "redis, TCP": 50}
    assert line.processors == {"hornbeam": 10, "redis, TCP": 25}
    assert line.ratios == {"redis, TCP": 2.5}
    assert (line.operation, line.aim) == ("incr", 2.5)


def test_table() -> None:
    """The table has a line for each operation and a column for each figure."""
    head, row = state.table(state.lines(rounds())).splitlines()
    assert head.split()[:3] == ["operation", "hornbeam", "us"]
    assert row.split() == ["incr", "20.0", "50.0", "2.50", "2.5", "10.0", "25.0"]
