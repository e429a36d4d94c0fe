# SPDX-License-Identifier: Apache-2.0
"""What Linux tells about a running process.

Runs in: the tests.
"""

from __future__ import annotations

from pathlib import Path


def transferred(pid: int) -> int:
    """Bytes that a process has read and written by system calls since it began."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]) + int(counts["wchar"])


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, RSS."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory: it has ended")
