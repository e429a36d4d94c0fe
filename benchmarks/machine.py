# SPDX-License-Identifier: Apache-2.0
"""What a figure was measured on: processor, memory, kernel, and the versions of what ran.

Runs in: the process of the benchmark.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "hornbeam",
    "gunicorn",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "granian",
    "hypercorn",
    "redis",
    "hiredis",
)

RESULTS = Path(__file__).resolve().parent / "results"


def save(name: str, result: dict[str, Any]) -> Path:
    """Writes what a benchmark found to `results/NAME.json`. Returns: the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else "unknown"


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def output(*command: str) -> str:
    """What a program prints, empty when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout + done.stderr


def otp_release() -> str:
    shown = output(
        "erl", "-noshell", "-eval", "io:put_chars(erlang:system_info(otp_release)),halt()."
    )
    return shown or "none"


def describe() -> dict[str, object]:
    """The machine and the versions, ready for JSON."""
    from hornbeam_erlang import codec

    memory = first(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": first(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text()),
        "processors": os.cpu_count(),
        "memory_mib": int(memory) // 1024 if memory.isdigit() else None,
        "system": first(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "otp": otp_release(),
        "wrk": first(r"^wrk\s+(?:debian/)?(\S+)", output("wrk", "-v")),
        "redis": first(r"v=(\S+)", output("redis-server", "--version")),
        "codec": codec.NAME,
        "packages": {name: installed(name) for name in PACKAGES if installed(name)},
    }
