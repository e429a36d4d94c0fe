# SPDX-License-Identifier: Apache-2.0
"""Runs the test runners named on the command line and adds up what they counted.

Runs in: `make test` and its halves, with the interpreter of the project's .venv. The node's runners
follow each other, since they share a build; pytest runs beside them. Every runner runs, whatever
the others did. All they write, with what nodes and workers log, goes to a file each; shown are one
line for each module, suite and file that is done, and each failure at once. What failed, and why,
is said at the end. The last line is `N passed, N failed`; the status is 1 when anything failed,
when a runner broke off, or when one ran nothing at all.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import failed_tests
from failed_tests import Failure

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LOGS = Path("_build/test-logs")
JUNIT = LOGS / "pytest.xml"
IN_FULL = 20  # failures whose text is shown; of the others the names
LAST_LINES = 60  # of the output, when nothing in it explains the result


@dataclass(frozen=True, slots=True)
class Count:
    """What one runner reported: numbers of tests."""

    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Runner:
    """How a runner is called, and what is read from what it writes.

    `build` names what it writes to: one at a time may. `group`: the module, suite or file that a
    line of the output belongs to. `result`: the end of a test, and its name where the line has it.
    """

    build: str
    command: tuple[str, ...]
    count: Callable[[str], Count]
    failures: Callable[[str], list[Failure]]
    group: str = r"(?!)"
    passed: str = r"(?!)"
    failed: str = r"(?!)"


def number(pattern: str, text: str) -> int:
    """The sum of the numbers that `pattern` captures in `text`."""
    return sum(int(found) for found in re.findall(pattern, text, re.MULTILINE))


def count_eunit(output: str) -> Count:
    """EUnit: `All 12 tests passed.`, `Test passed.`, or `Failed: 1.  Skipped: 0.  Passed: 11.`"""
    passed = number(r"^\s+All (\d+) tests passed\.", output) + number(r"Passed: (\d+)\.", output)
    passed += len(re.findall(r"^\s+Test passed\.", output, re.MULTILINE))
    return Count(passed, number(r"Failed: (\d+)\.", output))


def count_common_test(output: str) -> Count:
    """Common Test in rebar3: `All 12 tests passed.` or `Failed 1 tests. Passed 11 tests.`"""
    passed = number(r"^All (\d+) tests passed\.", output) + number(r"Passed (\d+) tests\.", output)
    return Count(passed, number(r"Failed (\d+) tests\.", output))


def count_pytest(output: str) -> Count:
    """pytest: its last line, `3 failed, 12 passed, 1 error in 1.02s`."""
    closing = [line for line in output.splitlines() if re.search(r" in [\d.]+s\b", line)][-1:]
    text = "".join(closing)
    return Count(number(r"(\d+) passed", text), number(r"(\d+) (?:failed|errors?)", text))


def failures_of_pytest(_output: str) -> list[Failure]:
    """From the file that pytest writes at its end; none when it did not get there."""
    try:
        return failed_tests.in_pytest(JUNIT.read_text(encoding="utf-8"))
    except (OSError, ElementTree.ParseError):
        return []


RUNNERS = {
    "eunit": Runner(
        "rebar3",
        ("rebar3", "eunit"),
        count_eunit,
        failed_tests.in_eunit,
        group=r"module '(\w+)'",
        passed=r"(?:\.\.\.|\] |^ *)ok$",
        failed=failed_tests.EUNIT_FAILED.pattern,
    ),
    "ct": Runner(
        "rebar3",
        ("rebar3", "ct"),
        count_common_test,
        failed_tests.in_common_test,
        group=r"%%% (\w+_SUITE) ==> \S+: (?:OK|FAILED|SKIPPED)$",
        passed=r"%%% \w+ ==> \S+: OK$",
        failed=r"%%% \w+ ==> \S+: FAILED$",
    ),
    "pytest": Runner(
        "pytest",
        (
            *(sys.executable, "-m", "pytest", f"--junit-xml={JUNIT}"),
            *("-o", "junit_family=xunit1", "-o", "junit_logging=out-err"),
            *("-o", "junit_log_passing_tests=false", "-o", "verbosity_test_cases=1"),
        ),
        count_pytest,
        failures_of_pytest,
        group=r"^(tests/\S+?\.py)::",
        passed=r"(?:^|\s)PASSED\s+\[ *\d+%\]$",
        failed=r"(?:^|\s)(?:FAILED|ERROR)\s+\[ *\d+%\]$",
    ),
}


@dataclass(slots=True)
class Progress:
    """Turns the lines of a runner into those that are shown: one for each group that is done."""

    runner: Runner
    group: str = ""
    passed: int = 0
    failed: int = 0

    def feed(self, line: str) -> list[str]:
        """What there is to show after a line of output."""
        shown = []
        if (found := re.search(self.runner.group, line)) and found[1] != self.group:
            shown = self.end()
            self.group = found[1]
        if re.search(self.runner.passed, line):
            self.passed += 1
        elif re.search(self.runner.failed, line):
            self.failed += 1
            shown.append(f"{self.group}: FAILED: {line.strip()}")
        return shown

    def end(self) -> list[str]:
        """What there is to show of the group, now that it is done."""
        passed, failed, self.passed, self.failed = self.passed, self.failed, 0, 0
        if passed + failed == 0:
            return []
        return [f"{self.group}: {passed} passed" + (f", {failed} failed" if failed else "")]


def run(name: str) -> tuple[int, str]:
    """Runs a runner, showing how far it is. Returns its exit status and the output."""
    runner = RUNNERS[name]
    show(name, [f"--- {' '.join(runner.command)}"])
    progress = Progress(runner)
    lines = []
    with (
        log_of(name).open("w", encoding="utf-8") as log,
        subprocess.Popen(
            runner.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout is not None
        for raw in process.stdout:
            line = ANSI.sub("", raw.decode(errors="replace"))
            log.write(line)
            log.flush()
            lines.append(line)
            show(name, progress.feed(line.rstrip()))
    show(name, progress.end())
    return process.returncode, "".join(lines)


def log_of(name: str) -> Path:
    """Where all that a runner writes goes."""
    return LOGS / f"{name}.log"


def show(name: str, lines: list[str]) -> None:
    """One write, so that lines of two runners do not mix."""
    sys.stdout.write("".join(f"{name:6} | {line}\n" for line in lines))
    sys.stdout.flush()


def run_beside(names: list[str]) -> dict[str, tuple[int, str]]:
    """Runs the runners, those of different builds at the same time."""
    lanes: dict[str, list[str]] = {}
    for name in names:
        lanes.setdefault(RUNNERS[name].build, []).append(name)
    LOGS.mkdir(parents=True, exist_ok=True)
    JUNIT.unlink(missing_ok=True)
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = pool.map(lambda lane: [(name, run(name)) for name in lane], lanes.values())
        return dict(result for lane in done for result in lane)


def judge(name: str, status: int, count: Count) -> list[str]:
    """What is wrong with a runner's result, as sentences; empty when nothing is."""
    faults = []
    if count.passed + count.failed == 0:
        faults.append(f"{name} ran nothing (exit status {status})")
    elif status != 0 and count.failed == 0:
        faults.append(f"{name} ended with exit status {status} but reported no failed test")
    return faults


def failures_of(name: str, output: str, count: Count, faults: list[str]) -> list[Failure]:
    """What failed; and the end of the output, when that does not explain the result."""
    failures = RUNNERS[name].failures(output)
    if (faults and not failures) or len(failures) < count.failed:
        failures.append(Failure("the end of its output", output.splitlines()[-LAST_LINES:]))
    return failures


def report(failures: list[tuple[str, Failure]], faults: list[str]) -> list[str]:
    """The texts of the failures, then all their names once more, as short as can be."""
    lines = []
    for name, failure in failures[:IN_FULL]:
        lines += ["", f"Error: {name}: {failure.test}"]
        lines += [f"    {line}" for line in failed_tests.bounded(failure.lines)]
    if failures or faults:
        lines += ["", f"All that was written is in {LOGS}/. Failed:"]
    lines += [f"error: {name}: {failure.test}" for name, failure in failures]
    return lines + [f"error: {fault}" for fault in faults]


def main(names: list[str]) -> int:
    results = run_beside(names)
    counts = {name: RUNNERS[name].count(results[name][1]) for name in names}
    faults, failures = [], []
    print()
    for name, count in counts.items():
        wrong = judge(name, results[name][0], count)
        faults += wrong
        failures += [(name, found) for found in failures_of(name, results[name][1], count, wrong)]
        print(f"{name}: {count.passed} passed, {count.failed} failed ({log_of(name)})")
    for line in report(failures, faults):
        print(line)
    failed = sum(count.failed for count in counts.values()) + len(faults)
    print(f"{sum(count.passed for count in counts.values())} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
