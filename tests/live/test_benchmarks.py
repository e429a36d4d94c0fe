# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself runs: its quick form against the real server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from live.serving import ROOT


@pytest.mark.parametrize(
    ("parts", "servers", "expected"),
    [
        (["wsgi"], ["hornbeam", "hornbeam-w1"], ["hello", "64 KiB"]),
        (
            ["asgi", "sse"],
            ["hornbeam-asgi"],
            ["hello", "64 KiB", "1 ms", "JSON of 1 KiB", "SSE, 10/s each", "SSE, unpaced"],
        ),
    ],
)
def test_quick_comparison(parts: list[str], servers: list[str], expected: list[str]) -> None:
    """One round of each load: a table, a JSON file, no error, processor time of both halves."""
    result = ROOT / "benchmarks" / "results" / f"smoke-test-{parts[0]}.json"
    result.unlink(missing_ok=True)
    argv = [*parts, "--quick", "--connections", "20", "--servers", *servers]
    done = subprocess.run(
        [sys.executable, "benchmarks/compare_servers.py", *argv, "--name", result.stem],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(result.read_text())["rows"]
    cells = [(row["cell"]["scenario"], row["cell"]["server"]) for row in rows]
    assert cells == [(scenario, server) for scenario in expected for server in servers]
    assert all(row["valid"] for row in rows)
    assert all(row["cpu"]["node"] > 0 and row["cpu"]["python"] > 0 for row in rows)
    for scenario in expected:
        assert f"{scenario}, 20 connections" in done.stdout
