# SPDX-License-Identifier: Apache-2.0
"""Erlang nodes for the tests of Python nodes: each an `erl` of its own, with `node_peer.erl`.

Runs in: pytest.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hornbeam_erlang.node import Node

SOURCE: Final = Path(__file__).with_name("node_peer.erl")
COOKIE: Final = f"cookie{os.getpid()}"
START: Final = 60.0
"""Seconds that a node may take to start, on a busy machine."""
LONG: Final = 60.0
"""Seconds for anything that takes far less."""
CODE: Final = (
    '{{ok, M, B}} = compile:file("{}", [binary, report, warnings_as_errors]),'
    '{{module, M}} = code:load_binary(M, "", B), M:main().'
)
_numbers = itertools.count(1)


def new_name(start: str) -> str:
    """A node name that nobody on this machine has."""
    return f"{start}_{os.getpid()}_{next(_numbers)}@localhost"


class Beam:
    """A running Erlang node.

    Attributes:
        name: of the node.
    """

    def __init__(self, *arguments: str, cookie: str = COOKIE, name: str = "") -> None:
        self.name = name or new_name("beam")
        command = ["erl", "-noinput", "-sname", self.name, "-setcookie", cookie, *arguments]
        command += ["-kernel", "prevent_overlapping_partitions", "false"]
        command += ["-eval", CODE.format(SOURCE.with_suffix(""))]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        said, deadline = b"", time.monotonic() + START
        while b"ready" not in said:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            piece = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert piece, f"the node does not start: {said!r}"
            said += piece

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LONG)
        if self.process.stdout is not None:
            self.process.stdout.close()


def python(start: str = "python", **options: object) -> Node:
    """A Python node that can talk to the Erlang nodes here; not started."""
    return Node(new_name(start), **{"cookie": COOKIE, **options})  # type: ignore[arg-type]


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
