# SPDX-License-Identifier: Apache-2.0
"""What the three test runners print is counted, and a runner that ran nothing is a fault."""

from __future__ import annotations

import pytest

import run_tests
from run_tests import Count


@pytest.mark.parametrize(
    ("runner", "output", "expected"),
    [
        ("eunit", "=====\n  All 40 tests passed.\n", Count(40, 0)),
        ("eunit", "=====\n  Test passed.\n", Count(1, 0)),
        ("eunit", "=====\n  Failed: 2.  Skipped: 0.  Passed: 38.\n", Count(38, 2)),
        ("eunit", "  There were no tests to run.\n", Count(0, 0)),
        ("ct", "%%% x_SUITE ==> a: OK\nAll 12 tests passed.\n", Count(12, 0)),
        ("ct", "Failed 1 tests. Skipped 3 (3, 0) tests. Passed 11 tests.\n", Count(11, 1)),
        ("pytest", "12 passed in 1.02s\n", Count(12, 0)),
        ("pytest", "= 1 failed, 11 passed, 2 errors in 70.10s (0:01:10) =\n", Count(11, 3)),
        ("pytest", "test_a.py: 5 passed\n1 skipped in 0.10s\n", Count(0, 0)),
    ],
)
def test_counts(runner: str, output: str, expected: Count) -> None:
    """The closing line of each runner, with and without failures."""
    assert run_tests.RUNNERS[runner].count(output) == expected


@pytest.mark.parametrize(
    ("status", "count", "fault"),
    [
        (0, Count(5, 0), None),
        (1, Count(5, 1), None),
        (0, Count(0, 0), "ct ran nothing"),
        (1, Count(5, 0), "ct ended with exit status 1"),
    ],
)
def test_a_runner_that_ran_nothing_or_broke_off_is_a_fault(
    status: int, count: Count, fault: str | None
) -> None:
    """A compile error or a crash must not look like success; failed tests are no further fault."""
    faults = run_tests.judge("ct", status, count)
    assert (faults == []) if fault is None else faults[0].startswith(fault)
