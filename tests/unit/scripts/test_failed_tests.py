# SPDX-License-Identifier: Apache-2.0
"""Which tests failed, and why, is found in what each of the three runners writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import failed_tests
from failed_tests import Failure

EUNIT = """\
======================== EUnit ========================
module 'one_tests'
  one_tests: good_test...ok
  .one_tests:12: -sums_test_/0-fun-1- (of numbers)....!
Failed: After 19 test(s).
8

Shrinking .(1 time(s))
5
*failed*
in function one_tests:'-sums_test_/0-fun-1-'/0 (one_tests.erl, line 12)
in call from eunit_test:run_testfun/1 (eunit_test.erl, line 71)
**error:{assert,[{module,one_tests}]}
  output:<<"">>

  [done in 0.1 s]
module 'two_tests'
undefined
*** context setup failed ***
**in function two_tests:'-all_test_/0-fun-2-'/0 (two_tests.erl, line 6)
**exit:no_setup


two_tests: late_test...[1.002 s] *timed out*
in function timer:sleep/1 (timer.erl, line 219)

=======================================================
  Failed: 1.  Skipped: 0.  Passed: 1.
"""
COMMON_TEST = """\
===> Running Common Test suites...
%%% one_SUITE ==> good: OK
Traceback (most recent call last): of a worker that is meant to fail

----------------------------------------------------
the sentence that the case checks
%%% one_SUITE ==> group.bad: FAILED
%%% one_SUITE ==> {{badmatch,3},
 [{one_SUITE,bad,1,[{file,"one_SUITE.erl"},{line,9}]}]}
%%% one_SUITE ==> asserts: FAILED
%%% one_SUITE ==>
Failure/Error: ?assertEqual(1, 3)
  expected: 1

%%% one_SUITE ==> left_out: SKIPPED
%%% one_SUITE ==> {tc_user_skip,"because"}
%%% two_SUITE ==> init_per_suite: FAILED
%%% two_SUITE ==> no_suite
Failed 2 tests. Skipped 3 (1, 2) tests. Passed 1 tests.
"""
PYTEST = """
import sys
import pytest

def test_good():
    print("of a passing test")

def test_bad():
    print("said before")
    assert [1, 2] == [1, 3]

@pytest.fixture
def broken():
    raise OSError("no fixture")

def test_never_runs(broken):
    pass
"""


def test_eunit() -> None:
    """Failures, what a property found, fixtures that fail, and tests that are cut off."""
    assert failed_tests.in_eunit(EUNIT) == [
        Failure(
            "one_tests:12: -sums_test_/0-fun-1- (of numbers)",
            [
                "  .one_tests:12: -sums_test_/0-fun-1- (of numbers)....!",
                *("Failed: After 19 test(s).", "8", "", "Shrinking .(1 time(s))", "5", "*failed*"),
                "in function one_tests:'-sums_test_/0-fun-1-'/0 (one_tests.erl, line 12)",
                "**error:{assert,[{module,one_tests}]}",
                '  output:<<"">>',
            ],
        ),
        Failure(
            "two_tests: context setup failed",
            [
                "*** context setup failed ***",
                "**in function two_tests:'-all_test_/0-fun-2-'/0 (two_tests.erl, line 6)",
                "**exit:no_setup",
            ],
        ),
        Failure(
            "two_tests: late_test",
            [
                "two_tests: late_test...[1.002 s] *timed out*",
                "in function timer:sleep/1 (timer.erl, line 219)",
            ],
        ),
    ]


def test_common_test() -> None:
    """The reason with what the case itself logged; no line of a case that passed or was skipped."""
    assert failed_tests.in_common_test(COMMON_TEST) == [
        Failure(
            "one_SUITE:group.bad",
            [
                "Traceback (most recent call last): of a worker that is meant to fail",
                "----------------------------------------------------",
                "the sentence that the case checks",
                "%%% one_SUITE ==> {{badmatch,3},",
                ' [{one_SUITE,bad,1,[{file,"one_SUITE.erl"},{line,9}]}]}',
            ],
        ),
        Failure(
            "one_SUITE:asserts",
            ["%%% one_SUITE ==>", "Failure/Error: ?assertEqual(1, 3)", "  expected: 1"],
        ),
        Failure("two_SUITE:init_per_suite", ["%%% two_SUITE ==> no_suite"]),
    ]


def test_pytest(tmp_path: Path) -> None:
    """What pytest itself writes: the assertion, its place, what was printed; errors of fixtures."""
    (tmp_path / "test_it.py").write_text(PYTEST)
    junit = tmp_path / "junit.xml"
    options = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", "-o", "junit_logging=out-err"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", *options, f"--junit-xml={junit}", "."],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    bad, broken = failed_tests.in_pytest(junit.read_text())
    assert bad.test == "test_it.py::test_bad"
    assert ">       assert [1, 2] == [1, 3]" in bad.lines
    assert "test_it.py:10: AssertionError" in bad.lines
    assert bad.lines[-1] == "said before"
    assert broken.test == "test_it.py::test_never_runs"
    assert broken.lines[0] == 'failed on setup with "OSError: no fixture"'


def test_a_file_that_pytest_did_not_finish() -> None:
    """It is an error, not an absence of failures."""
    with pytest.raises(ElementTree.ParseError):
        failed_tests.in_pytest("<testsuites><testsuite><testcase")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, ["0", "1", "2"]),
        (4, ["0", "1", "2", "3"]),
        (5, ["0", "1", "... 2 lines are left out ...", "4"]),
        (6, ["0", "1", "... 3 lines are left out ...", "5"]),
    ],
)
def test_bounded(count: int, expected: list[str]) -> None:
    """One more than the limit, and the middle goes."""
    assert failed_tests.bounded([str(number) for number in range(count)], 4) == expected


def test_long_lines_are_cut() -> None:
    """A term on one line must not push everything else out of sight."""
    assert failed_tests.bounded(["x" * 400, "y" * 401]) == ["x" * 400, "y" * 400 + " ..."]
