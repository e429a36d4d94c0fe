# SPDX-License-Identifier: Apache-2.0
"""A thread looks for its answer for a moment before it sleeps, and learns where that is in vain."""

from __future__ import annotations

from hornbeam_erlang._spin import MAX_SKIPPED, Spin


class Pipe:
    """Answers after that many looks, or never."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.looks: list[float] = []

    def poll(self, timeout: float) -> bool:
        self.looks.append(timeout)
        return self.after is not None and len(self.looks) > self.after


def test_answer_comes() -> None:
    """It looks, without waiting in the kernel, until the answer is there; time and again."""
    spin = Spin(2)
    for after in (0, 1, 2):
        pipe = Pipe(after)
        assert spin.finds(pipe.poll)
        assert pipe.looks == [0.0] * (after + 1)


def test_one_processor() -> None:
    """On a single processor the node cannot answer while it looks: it does not."""
    pipe = Pipe(0)
    assert not Spin(1).finds(pipe.poll)
    assert pipe.looks == []


def attempts(spin: Spin, waits: int) -> list[int]:
    """Which of that many waits without an answer in time looked for it."""
    found = []
    for number in range(waits):
        pipe = Pipe()
        assert not spin.finds(pipe.poll)
        if pipe.looks:
            found.append(number)
    return found


def test_answers_are_late() -> None:
    """Each attempt in vain doubles the waits until the next one, up to a bound."""
    expected, skipped, number = [], 1, 0
    while number < 400:
        expected.append(number)
        number += 1 + skipped
        skipped = min(MAX_SKIPPED, skipped * 2)
    assert attempts(Spin(2), 400) == expected


def test_answers_are_quick_again() -> None:
    """One answer in time, and it looks every time again."""
    spin = Spin(2)
    attempts(spin, 10)
    while not spin.finds(Pipe(0).poll):
        pass
    assert [spin.finds(Pipe(0).poll) for _ in range(5)] == [True] * 5
    assert attempts(spin, 4) == [0, 2]
