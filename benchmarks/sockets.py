# SPDX-License-Identifier: Apache-2.0
"""Load over many WebSockets or event streams: builds generator/, runs it, reads its report.

Runs in: the process of the benchmark, which waits while the generator works.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from load import HOST, BadReport, Load, Run

SOURCES = Path(__file__).resolve().parent / "generator"
PROGRAM = SOURCES.parent.parent / "build" / "bench" / "generator"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]

# Seconds: for the compiler; for opening all connections (the generator gives itself 120); for
# what is done after the seconds that were asked for (it waits 10 for the last answers); to end.
BUILD = 120.0
OPENING = 130.0
GRACE = 30.0
STOP = 10.0


@cache
def build() -> Path:
    """Compiles the generator where it is older than its sources. Raises: BadReport."""
    files = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= newest:
        return PROGRAM
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    fresh = PROGRAM.with_suffix(f".{os.getpid()}")
    command = ["cc", *FLAGS, "-o", str(fresh), *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD, check=False)
    except FileNotFoundError as exc:
        raise BadReport("there is no C compiler: run scripts/setup") from exc
    if done.returncode != 0:
        raise BadReport(f"the generator does not compile: {done.stderr}")
    # Whoever runs the old one meanwhile keeps it.
    fresh.replace(PROGRAM)
    return PROGRAM


def read(report: bytes) -> Load:
    """Reads the generator's line of JSON. Raises: BadReport."""
    try:
        told = json.loads(report)
        operations, seconds = told["operations"], told["seconds"]
        return Load(
            operations=operations,
            rate=operations / seconds,
            latency_p50=told["latency_p50"],
            latency_p99=told["latency_p99"],
            errors=told["errors"],
            generator=told["processor_seconds"] * 1e6 / max(1, operations),
        )
    except (ValueError, KeyError, ZeroDivisionError) as exc:
        raise BadReport(f"not a report of the generator: {report!r}") from exc


def line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line that the generator prints. Raises: BadReport: none within `seconds`."""
    assert process.stdout is not None
    text = b""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not text.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise BadReport(f"the generator printed nothing for {seconds:.0f} s")
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                raise BadReport(f"the generator ended with status {process.wait(STOP)}: {text!r}")
            text += part
    return text


def go(process: subprocess.Popen[bytes], seconds: float) -> Load:
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    return read(line(process, seconds + GRACE))


@dataclass(frozen=True, slots=True)
class Sockets:
    """One of the generator's scenarios, on a path, with messages of `size` bytes."""

    scenario: str
    path: str
    size: int

    @contextlib.contextmanager
    def prepared(self, port: int, connections: int, seconds: float) -> Iterator[Run]:
        """Opens all connections, yields what runs the load, and closes them.

        Raises: BadReport.
        """
        where = [HOST, str(port), self.path]
        shape = [str(connections), str(seconds), str(self.size)]
        with subprocess.Popen(
            [str(build()), self.scenario, *where, *shape],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as process:
            try:
                if line(process, OPENING + seconds) != b"ready\n":
                    raise BadReport("the generator is not ready")
                yield lambda: go(process, seconds)
            finally:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Lets the generator close its connections; kills it when it does not end."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
