# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself runs: its quick form against the real server."""

from __future__ import annotations

import json
import subprocess
import sys

from live.serving import ROOT


def test_quick_comparison_of_hornbeam_with_itself() -> None:
    """One round of each load: a table, a JSON file, no error, processor time of both halves."""
    result = ROOT / "benchmarks" / "results" / "smoke-test.json"
    result.unlink(missing_ok=True)
    argv = ["wsgi", "--quick", "--servers", "hornbeam", "hornbeam-w1", "--name", result.stem]
    done = subprocess.run(
        [sys.executable, "benchmarks/compare_servers.py", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(result.read_text())["rows"]
    assert [row["valid"] for row in rows] == [True] * 4
    assert all(row["cpu"]["node"] > 0 and row["cpu"]["python"] > 0 for row in rows)
    assert "hello, 64 connections" in done.stdout
