# SPDX-License-Identifier: Apache-2.0
"""The command that runs every benchmark: what it does with its arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "run_benchmark.py"


@pytest.mark.parametrize(
    ("argument", "status", "text"),
    [("--help", 0, "usage: run_benchmark.py"), ("--roundz", 2, "--roundz")],
)
def test_nothing_runs_without_understanding(argument: str, status: int, text: str) -> None:
    """--help is answered and a wrong option is an error; no benchmark starts."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), argument], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status
    assert text in done.stdout + done.stderr
    assert "---" not in done.stdout  # what precedes each benchmark
