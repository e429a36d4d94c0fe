# SPDX-License-Identifier: Apache-2.0
"""What putting load on a server finds, and the load of HTTP requests: wrk, and reading its report.

Runs in: the process of the benchmark, which waits while wrk runs.
"""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from tempfile import NamedTemporaryFile

HOST = "127.0.0.1"
# Seconds that wrk may take on top of the duration it was asked for.
GRACE = 30.0
# Seconds after which an answer counts as missing. A slow one is seen in the percentiles.
PATIENCE = 10
FACTORS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


class BadReport(Exception):
    """A load generator failed, printed what is not its report, or an answer was not as expected."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a generator found.

    What `operations` are depends on the scenario. Latencies are in milliseconds, `generator` is
    the generator's own processor time in microseconds per operation; `errors` counts by kind.
    """

    operations: int
    rate: float
    latency_p50: float
    latency_p99: float
    errors: dict[str, int]
    generator: float

    @property
    def valid(self) -> bool:
        """Whether there was an answer to everything, and the right one."""
        return self.operations > 0 and not any(self.errors.values())


# Puts the load on and waits until it is over. Raises: BadReport.
Run = Callable[[], Load]


def found(pattern: str, report: str) -> re.Match[str]:
    match = re.search(pattern, report, re.MULTILINE)
    if match is None:
        raise BadReport(f"no {pattern!r} in the report of wrk: {report}")
    return match


def percentile(percent: int, report: str) -> float:
    value, unit = found(rf"^ +{percent}% +([\d.]+)(us|ms|s|m) *$", report).groups()
    return float(value) * FACTORS[unit]


def errors(report: str) -> dict[str, int]:
    """Errors that wrk reports, by kind; it names none when there were none."""
    kinds = ("connect", "read", "write", "timeout")
    pattern = "Socket errors: " + ", ".join(rf"{kind} (\d+)" for kind in kinds)
    sockets = re.search(pattern, report)
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    counts = map(int, sockets.groups()) if sockets else (0, 0, 0, 0)
    return {**dict(zip(kinds, counts, strict=True)), "status": int(statuses[1]) if statuses else 0}


def read(report: str, processor_seconds: float) -> Load:
    """Reads the report of `wrk --latency`, which took so much processor time. Raises: BadReport."""
    requests = int(found(r"^ +(\d+) requests in", report)[1])
    return Load(
        operations=requests,
        rate=float(found(r"^Requests/sec: +([\d.]+)", report)[1]),
        latency_p50=percentile(50, report),
        latency_p99=percentile(99, report),
        errors=errors(report),
        generator=processor_seconds * 1e6 / max(1, requests),
    )


def children_seconds() -> float:
    """Processor time of all processes that this one has started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wrk(url: str, connections: int, seconds: float, *options: str) -> Load:
    """Loads `url` over `connections` connections for `seconds`. Raises: BadReport."""
    duration = max(1, round(seconds))
    threads = min(2, connections)
    shape = [f"-t{threads}", f"-c{connections}", f"-d{duration}s", f"--timeout={PATIENCE}s"]
    before = children_seconds()
    try:
        done = subprocess.run(
            ["wrk", *shape, "--latency", *options, url],
            capture_output=True,
            text=True,
            timeout=duration + GRACE,
            check=False,
        )
    except FileNotFoundError as exc:
        raise BadReport("wrk is not installed: run scripts/setup") from exc
    except subprocess.TimeoutExpired as exc:
        raise BadReport(f"wrk did not end within {duration + GRACE:.0f} s") from exc
    if done.returncode != 0:
        raise BadReport(f"wrk ended with status {done.returncode}: {done.stderr}")
    return read(done.stdout, children_seconds() - before)


@dataclass(frozen=True, slots=True)
class Http:
    """Requests for one path, GET or, with a `body`, POST of JSON; `expected` is the answer."""

    path: str
    expected: bytes
    body: str | None = None

    def check(self, port: int) -> None:
        """Asks once and compares, since wrk looks at statuses only. Raises: BadReport."""
        connection = HTTPConnection(HOST, port, timeout=PATIENCE)
        method, kind = ("GET", {}) if self.body is None else ("POST", JSON)
        try:
            connection.request(method, self.path, self.body, kind)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, HTTPException) as exc:
            raise BadReport(f"{method} {self.path}: {exc!r}") from exc
        finally:
            connection.close()
        if (status, body) != (200, self.expected):
            raise BadReport(f"{method} {self.path}: {status}, {body[:60]!r} is not the answer")

    def script(self) -> str:
        """What tells wrk to post the body, in Lua."""
        kind = f'wrk.headers["Content-Type"] = "{JSON["Content-Type"]}"'
        return f'wrk.method = "POST"\n{kind}\nwrk.body = [==[{self.body}]==]\n'

    @contextlib.contextmanager
    def prepared(self, port: int, connections: int, seconds: float) -> Iterator[Run]:
        """Checks the answer and yields what runs the load. Raises: BadReport."""
        self.check(port)
        url = f"http://{HOST}:{port}{self.path}"
        if self.body is None:
            yield lambda: wrk(url, connections, seconds)
            return
        with NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(self.script())
            script.flush()
            yield lambda: wrk(url, connections, seconds, "-s", script.name)


JSON = {"Content-Type": "application/json"}
