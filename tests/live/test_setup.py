# SPDX-License-Identifier: Apache-2.0
"""scripts/setup on a machine that is set up already: it looks, changes nothing, and is quick."""

from __future__ import annotations

import subprocess
import time

from live.serving import ROOT

# Seconds. A second run takes a quarter of one, a first one a minute; a machine under load gets
# more.
QUICK = 20.0


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "setup", *argv],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_second_run_installs_nothing() -> None:
    """It only says where Cowboy, cowlib and ranch came from."""
    first = run()
    assert first.returncode == 0, first.stderr
    start = time.monotonic()
    second = run()
    assert time.monotonic() - start < QUICK
    (line,) = second.stdout.splitlines()
    assert line.startswith("setup: Cowboy, cowlib and ranch: ")


def test_unknown_part_is_refused() -> None:
    """A misspelt argument is named, with what there is."""
    done = run("everything")
    assert done.returncode == 1
    assert "unknown part: everything (test or bench)" in done.stderr
