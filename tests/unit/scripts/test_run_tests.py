# SPDX-License-Identifier: Apache-2.0
"""What the three test runners print is counted, and a runner that ran nothing is a fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import run_tests
from run_tests import Count, Runner

MEET = """
import pathlib, sys, time
here, there = (pathlib.Path(name) for name in sys.argv[1:])
here.touch()
deadline = time.monotonic() + 30
while not there.exists():
    assert time.monotonic() < deadline, f"{there} never ran"
    time.sleep(0.01)
print("met")
"""


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


def test_runners_of_different_builds_run_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each waits for the other; their lines carry their names."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    runners = {
        "one": Runner("a", (sys.executable, "-c", MEET, one, two), run_tests.count_pytest),
        "two": Runner("b", (sys.executable, "-c", MEET, two, one), run_tests.count_pytest),
    }
    monkeypatch.setattr(run_tests, "RUNNERS", runners)
    assert run_tests.run_beside(["one", "two"]) == {"one": (0, "met\n"), "two": (0, "met\n")}
    assert {"one    | met", "two    | met"} <= set(capsys.readouterr().out.splitlines())
