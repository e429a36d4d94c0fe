# SPDX-License-Identifier: Apache-2.0
"""What the three test runners print is counted, shown in short, and explained when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run_tests
from failed_tests import Failure
from run_tests import Count, Progress, Runner

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


def python(
    build: str,
    program: str,
    *arguments: str,
    failures: Callable[[str], list[Failure]] = lambda output: [],
) -> Runner:
    """A runner that is a Python program and is counted as pytest is."""
    command = (sys.executable, "-c", program, *arguments)
    return Runner(build, command, run_tests.count_pytest, failures)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runners' output goes during a test."""
    folder = tmp_path / "logs"
    monkeypatch.setattr(run_tests, "LOGS", folder)
    monkeypatch.setattr(run_tests, "JUNIT", folder / "pytest.xml")
    return folder


def test_runners_of_different_builds_run_at_the_same_time(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other; what they write goes to a file each."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    runners = {"one": python("a", MEET, one, two), "two": python("b", MEET, two, one)}
    monkeypatch.setattr(run_tests, "RUNNERS", runners)
    assert run_tests.run_beside(["one", "two"]) == {"one": (0, "met\n"), "two": (0, "met\n")}
    assert [(logs / name).read_text() for name in ("one.log", "two.log")] == ["met\n", "met\n"]


@pytest.mark.parametrize(
    ("runner", "output", "shown"),
    [
        (
            "eunit",
            "module 'a_tests'\n  a_tests: x_test...ok\n  a_tests:3: y...=ERROR REPORT====\n"
            "noise\n[0.003 s] ok\nmodule 'b_tests'\n  b_tests: z_test...*failed*\n  said:ok\n",
            [
                "a_tests: 2 passed",
                "b_tests: FAILED: b_tests: z_test...*failed*",
                "b_tests: 0 passed, 1 failed",
            ],
        ),
        (
            "ct",
            "%%% a_SUITE ==> x: OK\nTraceback (most recent call last):\n%%% a_SUITE ==> y: OK\n"
            "%%% a_SUITE ==> g.z: FAILED\n%%% a_SUITE ==> {{badmatch,3},\n%%% b_SUITE ==> x: OK\n",
            [
                "a_SUITE: FAILED: %%% a_SUITE ==> g.z: FAILED",
                "a_SUITE: 2 passed, 1 failed",
                "b_SUITE: 1 passed",
            ],
        ),
        (
            "pytest",
            "tests/a.py::test_x[OK PASSED] PASSED  [  1%]\ntests/a.py::test_y Fatal error\n"
            "PASSED  [  2%]\ntests/b.py::test_z ERROR   [100%]\nFAILED tests/b.py::test_z\n",
            [
                "tests/a.py: 2 passed",
                "tests/b.py: FAILED: tests/b.py::test_z ERROR   [100%]",
                "tests/b.py: 0 passed, 1 failed",
            ],
        ),
    ],
)
def test_shown_are_groups_and_failures(runner: str, output: str, shown: list[str]) -> None:
    """A line for each module, suite or file; of what tests log nothing."""
    progress = Progress(run_tests.RUNNERS[runner])
    lines = [text for line in output.splitlines() for text in progress.feed(line)]
    assert lines + progress.end() == shown


def test_failures_are_told_at_the_end(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text of each failure, then the names, then the counts; the noise is in a file alone."""
    noise = "print('noise'); print('1 failed, 2 passed in 0.10s'); raise SystemExit(1)"
    failure = Failure("a_test", ["assert 1 == 2", "at line 3"])
    runners = {"one": python("a", noise, failures=lambda output: [failure])}
    monkeypatch.setattr(run_tests, "RUNNERS", runners)
    assert run_tests.main(["one"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "noise" not in "\n".join(shown[1:])
    assert (logs / "one.log").read_text().startswith("noise\n")
    assert shown[-9:] == [
        f"one: 2 passed, 1 failed ({logs / 'one.log'})",
        "",
        "Error: one: a_test",
        "    assert 1 == 2",
        "    at line 3",
        "",
        f"All that was written is in {logs}/. Failed:",
        "error: one: a_test",
        "2 passed, 1 failed",
    ]


@pytest.mark.parametrize("closing", ["print('1 failed in 0.10s')", "", "import nothing_there"])
def test_what_nothing_explains_ends_with_the_end_of_the_output(
    closing: str, logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A runner that broke off, or whose failures are not found, is not left unexplained."""
    program = f"for n in range(100): print('line', n)\n{closing}"
    monkeypatch.setattr(run_tests, "RUNNERS", {"one": python("a", program)})
    assert run_tests.main(["one"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "Error: one: the end of its output" in shown
    assert "    line 99" in shown
    assert "    line 30" not in shown
    assert shown[-1] == "0 passed, 1 failed"


def test_of_many_failures_all_names_and_some_texts() -> None:
    """The report stays short enough to be read."""
    failures = [("ct", Failure(f"case_{number}", ["why"] * 100)) for number in range(30)]
    lines = run_tests.report(failures, [])
    assert lines[-30:] == [f"error: ct: case_{number}" for number in range(30)]
    assert len(lines) < 20 * 63 + 40


MAKE = """#!/bin/sh
echo "output of $*"
case "$*" in
    test) echo "error: ct: a_SUITE:b"; echo "$COUNTED"; exit "${STATUS:-0}" ;;
    *"$FAILING"*) seq 100; exit 2 ;;
esac
"""


def ci(folder: Path, **settings: str) -> tuple[int, list[str]]:
    """Status and output of .ci/run with a `make` that does as it is told."""
    (folder / ".ci").mkdir()
    script = Path(__file__).parents[3] / ".ci" / "run"
    (folder / ".ci" / "run").write_text(script.read_text())
    (folder / "make").write_text(MAKE)
    (folder / "make").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "FAILING": "nothing"}
    done = subprocess.run(
        ["bash", str(folder / ".ci" / "run")],
        env=environment | settings,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_ci_ends_with_the_counts(tmp_path: Path) -> None:
    """Once, and last, when everything is well."""
    status, lines = ci(tmp_path, COUNTED="3 passed, 0 failed")
    assert status == 0
    assert lines[-1] == "3 passed, 0 failed"
    assert lines.count("3 passed, 0 failed") == 1


def test_ci_repeats_the_end_of_a_target_that_failed(tmp_path: Path) -> None:
    """Of a check the last 60 lines, behind the tests; all of it is in a file."""
    status, lines = ci(tmp_path, COUNTED="3 passed, 0 failed", FAILING="lint")
    assert status == 1
    start = lines.index("=== make lint failed; the end of _build/test-logs/lint.log:")
    assert lines[start + 1 :] == [
        *(str(number) for number in range(41, 101)),
        "failed: lint",
        "3 passed, 0 failed",
    ]
    kept = (tmp_path / "_build" / "test-logs" / "lint.log").read_text().splitlines()
    assert kept == ["output of -k lint", *(str(number) for number in range(1, 101))]


@pytest.mark.parametrize(
    ("counted", "closing"),
    [
        ("2 passed, 1 failed", ["error: ct: a_SUITE:b", "failed: test", "2 passed, 1 failed"]),
        ("make: cannot", ["make: cannot", "failed: test", "0 passed, 1 failed"]),
    ],
)
def test_ci_when_tests_failed(tmp_path: Path, counted: str, closing: list[str]) -> None:
    """The tests' own report is not repeated; where it is missing, the end of the output is."""
    status, lines = ci(tmp_path, COUNTED=counted, STATUS="1")
    assert status == 1
    assert lines[-3:] == closing
    assert ("=== make test failed; the end of _build/test-logs/test.log:" in lines) == (
        counted == "make: cannot"
    )
