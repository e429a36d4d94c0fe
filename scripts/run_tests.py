# SPDX-License-Identifier: Apache-2.0
"""Runs the test runners named on the command line and adds up what they counted.

Runs in: `make test` and its halves, with the interpreter of the project's .venv. The node's runners
follow each other, since they share a build; pytest runs beside them, each line behind its runner's
name. Every runner runs, whatever the others did. The last line is `N passed, N failed`; the status
is 1 when anything failed, when a runner broke off, or when one ran nothing at all.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Count:
    """What one runner reported: numbers of tests."""

    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Runner:
    """How a runner is called; `build` names what it writes to: one at a time may."""

    build: str
    command: tuple[str, ...]
    count: Callable[[str], Count]


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


RUNNERS = {
    "eunit": Runner("rebar3", ("rebar3", "eunit"), count_eunit),
    "ct": Runner("rebar3", ("rebar3", "ct"), count_common_test),
    "pytest": Runner("pytest", (sys.executable, "-m", "pytest"), count_pytest),
}


def run(name: str) -> tuple[int, str]:
    """Runs a runner, showing its output as it comes. Returns its exit status and the output."""
    command = RUNNERS[name].command
    show(name, f"--- {' '.join(command)}\n")
    lines = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            show(name, line)
            lines.append(ANSI.sub("", line))
    return process.returncode, "".join(lines)


def show(name: str, line: str) -> None:
    """One write, so that lines of two runners do not mix."""
    sys.stdout.write(f"{name:6} | {line}")
    sys.stdout.flush()


def run_beside(names: list[str]) -> dict[str, tuple[int, str]]:
    """Runs the runners, those of different builds at the same time."""
    lanes: dict[str, list[str]] = {}
    for name in names:
        lanes.setdefault(RUNNERS[name].build, []).append(name)
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


def main(names: list[str]) -> int:
    results = run_beside(names)
    counts = [RUNNERS[name].count(results[name][1]) for name in names]
    faults = []
    print()
    for name, count in zip(names, counts, strict=True):
        faults += judge(name, results[name][0], count)
        print(f"{name}: {count.passed} passed, {count.failed} failed")
    for fault in faults:
        print(f"error: {fault}")
    failed = sum(count.failed for count in counts) + len(faults)
    print(f"{sum(count.passed for count in counts)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
