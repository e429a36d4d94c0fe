# SPDX-License-Identifier: Apache-2.0
"""Puts load on a server with wrk and reads what wrk reports.

Runs in: the process of the benchmark, which waits while wrk runs.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

# Seconds that wrk may take on top of the duration it was asked for.
GRACE = 30.0
# Seconds after which an answer counts as missing. A slow one is seen in the percentiles.
PATIENCE = 10
FACTORS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


class BadReport(Exception):
    """wrk failed, or printed something that is not its report."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk found. Latencies in milliseconds."""

    requests: int
    requests_per_second: float
    latency_p50: float
    latency_p99: float
    socket_errors: int
    bad_statuses: int

    @property
    def valid(self) -> bool:
        """Whether every request was answered, and with success."""
        return self.requests > 0 and self.socket_errors == 0 and self.bad_statuses == 0


def found(pattern: str, report: str) -> re.Match[str]:
    match = re.search(pattern, report, re.MULTILINE)
    if match is None:
        raise BadReport(f"no {pattern!r} in the report of wrk: {report}")
    return match


def percentile(percent: int, report: str) -> float:
    value, unit = found(rf"^ +{percent}% +([\d.]+)(us|ms|s|m) *$", report).groups()
    return float(value) * FACTORS[unit]


def read(report: str) -> Load:
    """Reads the report of `wrk --latency`. Raises: BadReport."""
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report
    )
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    return Load(
        requests=int(found(r"^ +(\d+) requests in", report)[1]),
        requests_per_second=float(found(r"^Requests/sec: +([\d.]+)", report)[1]),
        latency_p50=percentile(50, report),
        latency_p99=percentile(99, report),
        socket_errors=sum(map(int, errors.groups())) if errors else 0,
        bad_statuses=int(statuses[1]) if statuses else 0,
    )


def run(url: str, connections: int, seconds: float) -> Load:
    """Loads `url` over `connections` connections for `seconds`. Raises: BadReport."""
    duration = max(1, round(seconds))
    threads = min(2, connections)
    shape = [f"-t{threads}", f"-c{connections}", f"-d{duration}s", f"--timeout={PATIENCE}s"]
    shape += ["--latency"]
    try:
        done = subprocess.run(
            ["wrk", *shape, url],
            capture_output=True,
            text=True,
            timeout=duration + GRACE,
            check=False,
        )
    except FileNotFoundError as exc:
        raise BadReport("wrk is not installed: run scripts/setup") from exc
    if done.returncode != 0:
        raise BadReport(f"wrk ended with status {done.returncode}: {done.stderr}")
    return read(done.stdout)
