# SPDX-License-Identifier: Apache-2.0
"""Small Python programs as processes of their own, which print what the tests want to know.

Runs in: the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from live.serving import START, STOP, child, first_line, text

# Begins a program that starts a node: says the id of its process, and goes on.
STARTED = """
import sys, time
import hornbeam_erlang as hornbeam

def show(what):
    # In one piece: two processes may write to the same pipe.
    sys.stdout.write(f"{what}\\n")
    sys.stdout.flush()

node = hornbeam.start()
show(node.pid)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """A running program.

    Attributes: errors: what it has written on standard error so far.
    """

    process: subprocess.Popen[bytes]
    stderr: object

    def line(self) -> str:
        """Its next line on standard output."""
        printed = first_line(self.process)
        assert printed.endswith("\n"), self.errors()
        return printed.strip()

    def number(self) -> int:
        """The same as a number."""
        return int(self.line())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def status(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(STOP)

    def errors(self) -> str:
        return text(self.stderr)  # type: ignore[arg-type]  # the file of `child`


@contextmanager
def program(source: str, **variables: str) -> Iterator[Program]:
    """Runs `source` with the interpreter of the tests; it is gone afterwards."""
    argv = (sys.executable, "-c", textwrap.dedent(source))
    with child(argv, variables) as (process, stderr):
        yield Program(process, stderr)


def outcome(source: str, **variables: str) -> tuple[int, list[str], str]:
    """Status, lines and standard error of a program that ends by itself."""
    done = subprocess.run(
        (sys.executable, "-c", textwrap.dedent(source)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
        env={**os.environ, **variables},
    )
    return done.returncode, done.stdout.splitlines(), done.stderr
