# SPDX-License-Identifier: Apache-2.0
"""Nodes that take workers from other machines, and the `hornbeam-worker` command, for the tests.

Runs in: the tests. The other machine is this one, over loopback; no EPMD is needed.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from live import serving
from live.conftest import TESTS
from ports import free_port

WORKER = (sys.executable, "-m", "hornbeam_erlang.worker")
COOKIE = secrets.token_hex(16)
VARIABLES = {"HORNBEAM_COOKIE": COOKIE}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is to be found by others."""

    name: str
    port: int

    def node_options(self) -> tuple[str, ...]:
        return ("--name", self.name, "--dist-port", str(self.port))


def place() -> Place:
    """A name and a port that nobody else on this machine has."""
    port = free_port()
    return Place(f"front-{os.getpid()}-{port}@127.0.0.1", port)


@dataclass(frozen=True, slots=True)
class Remote:
    """A running hornbeam-worker command."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    def pids(self) -> list[int]:
        """Of its workers."""
        return serving.children(self.process.pid)

    def errors(self) -> str:
        return serving.text(self.stderr)


@contextmanager
def remote(where: Place, *options: str, **variables: str) -> Iterator[Remote]:
    """The command, attaching to the node there; it is ended afterwards."""
    argv = [*WORKER, "--node", where.name, "--dist-port", str(where.port)]
    argv += ["--app-dir", str(TESTS), *options]
    far = {"REMOTE_CASES": "far", **VARIABLES, **variables}
    with serving.child(argv, far) as (process, stderr):
        yield Remote(process, stderr)


def front(app: str, where: Place, *options: str) -> Any:
    """The command that serves the application, at that place."""
    given = (*where.node_options(), *options)
    return serving.serving(f"apps.remote_cases:{app}", TESTS, *given, **VARIABLES)


def ask(served: serving.Served, target: str) -> Any:
    """What the application says."""
    status, body = served.get(f"/{target}")
    assert status == 200, f"{status} {body!r}\n{served.errors()}"
    return json.loads(body)
