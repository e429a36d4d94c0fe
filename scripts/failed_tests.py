# SPDX-License-Identifier: Apache-2.0
"""Finds in what EUnit, Common Test and pytest have written which tests failed, and why.

Pure: text in, `Failure`s out. EUnit and Common Test are read from their output, which is there even
when the node broke off; pytest from its JUnit file, since any line of its output may be a test's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from xml.etree import ElementTree

LINES = 60
COLUMNS = 400
LOGGED = 15  # last lines of what a case of Common Test has logged, or of a stream pytest captured

EUNIT_NAME = re.compile(r"([a-z]\w*:(?:\d+:)? .+?)\.\.\.")
EUNIT_FAILED = re.compile(r"\*failed\*$|\*timed out\*$|\*\*\* .* \*\*\*$")
CASE = re.compile(r"%%% (\w+_SUITE) ==> (\S+): (OK|FAILED|SKIPPED)$")
AFTER_REASON = re.compile(r"%%% |Failed \d+ tests|EXPERIMENTAL:")


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that failed: its name, as its runner says it, and the lines that tell why."""

    test: str
    lines: list[str]


def bounded(lines: list[str], limit: int = LINES) -> list[str]:
    """At most `limit` lines, 400 characters each: the first ones and the last ones."""
    cut = [line if len(line) <= COLUMNS else f"{line[:COLUMNS]} ..." for line in lines]
    if len(cut) <= limit:
        return cut
    head = limit // 2
    left_out = len(cut) - limit + 1
    return [*cut[:head], f"... {left_out} lines are left out ...", *cut[head + left_out :]]


def in_eunit(output: str) -> list[Failure]:
    """EUnit, verbose: from the test's name (what it printed is between) to the empty line."""
    lines = output.splitlines()
    failures = []
    module, name, start = "?", "?", 0
    for index, line in enumerate(lines):
        if found := re.search(r"module '(\w+)'", line):
            module, name, start = found[1], f"{found[1]}: in setup or cleanup", index
        if found := EUNIT_NAME.search(line):
            name, start = found[1], index
        if EUNIT_FAILED.search(line):
            if line.endswith("***"):
                name, start = f"{module}: {line.strip(' *')}", index
            text = [*lines[start:index], *takewhile(str.strip, lines[index:])]
            text = [part for part in text if not part.startswith("in call from eunit_")]
            failures.append(Failure(name, text))
    return failures


def in_common_test(output: str) -> list[Failure]:
    """Common Test in rebar3: the last of what the case logged, then the reason."""
    lines = output.splitlines()
    failures = []
    before = 0
    for index, line in enumerate(lines):
        found = CASE.search(line)
        if found is None:
            continue
        reason = reason_of_case(lines[index + 1 :])
        if found[3] == "FAILED":
            logged = [text for text in lines[before:index] if text.strip()][-LOGGED:]
            failures.append(Failure(f"{found[1]}:{found[2]}", logged + reason))
        before = index + 1 + len(reason)
    return failures


def reason_of_case(lines: list[str]) -> list[str]:
    """The lines behind a result: `%%% suite ==> reason`, up to an empty line or the next case."""
    if not lines or not lines[0].startswith("%%% ") or CASE.search(lines[0]):
        return []
    rest = takewhile(lambda line: line.strip() and not AFTER_REASON.match(line), lines[1:])
    return [lines[0], *rest]


def in_pytest(junit: str) -> list[Failure]:
    """pytest's JUnit file (family xunit1): tests that failed, and errors of fixtures and imports.

    Raises: ElementTree.ParseError: pytest broke off while it wrote, or the text is none of its.
    """
    failures = []
    for case in ElementTree.fromstring(junit).iter("testcase"):
        name = f"{case.get('file') or case.get('classname')}::{case.get('name')}"
        captured = [line for stream in case.iter() for line in captured_in(stream)]
        for fault in [*case.iter("failure"), *case.iter("error")]:
            message = (fault.get("message") or "").splitlines()[:1]
            text = bounded((fault.text or "").splitlines(), LINES - 2 * LOGGED - 1)
            failures.append(Failure(name, message + text + captured))
    return failures


def captured_in(stream: ElementTree.Element) -> list[str]:
    """The last of what a test wrote to stdout or stderr, behind pytest's line that says which."""
    if stream.tag not in ("system-out", "system-err"):
        return []
    heading, *lines = (stream.text or "").strip().splitlines() or [""]
    return [heading, *lines[-LOGGED + 1 :]] if lines else []
