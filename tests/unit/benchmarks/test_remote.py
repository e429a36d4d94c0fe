# SPDX-License-Identifier: Apache-2.0
"""What the comparison of distribution workers with port workers makes of its rounds."""

from __future__ import annotations

import remote


def turn(rate: float, node: float, python: float) -> remote.Figures:
    return {"rate": rate, "node": node, "python": python}


def test_medians_and_ratios() -> None:
    """Medians over the rounds; the ratio is that of the medians."""
    rounds: list[remote.Round] = [
        {"wsgi": {"port": turn(port, 1, 2), "distribution": turn(other, 3, 4)}}
        for port, other in ((100, 70), (300, 90), (200, 160))
    ]
    [line] = remote.lines(rounds)
    assert line.rate == {"port": 200, "distribution": 90}
    assert line.ratio == 0.45
    assert line.node == {"port": 1, "distribution": 3}
    text = remote.table([line])
    assert "0.45" in text
    assert "0.7" in text
