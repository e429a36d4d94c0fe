# SPDX-License-Identifier: Apache-2.0
"""Erlang nodes for the live tests: plain ones beside those of the command, and names and a cookie
that nobody else on this machine has.

Runs in: the tests.
"""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from live import serving

COOKIE = secrets.token_hex(16)
# A node that is disconnected from another leaves a third one alone: else tests disturb each other.
APART = ("-kernel", "prevent_overlapping_partitions", "false")
# For the command; it takes the cookie from there.
VARIABLES = {"HORNBEAM_COOKIE": COOKIE, "ERL_FLAGS": " ".join(APART)}
NUMBERS = itertools.count(1)

# Says that it is there, once it is.
READY = 'io:format("ready~n").'


def named(kind: str) -> str:
    """A name for a node of this machine."""
    return f"{kind}-{os.getpid()}-{next(NUMBERS)}@localhost"


@dataclass(frozen=True, slots=True)
class Node:
    """A plain Erlang node: its name, its process, what it logs."""

    name: str
    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    def log(self) -> str:
        return serving.text(self.stderr)


@contextmanager
def plain(kind: str) -> Iterator[Node]:
    """A node without hornbeam, which logs on standard error."""
    name = named(kind)
    flags = [*APART, "-noinput", "-sname", name, "-setcookie", COOKIE, "-eval", READY]
    flags += ["-kernel", "logger", "[{handler,default,logger_std_h,#{config=>#{type=>"]
    flags[-1] += "standard_error}}}]"
    variables = {"ERL_EPMD_ADDRESS": "127.0.0.1"}
    with serving.child(["erl", *flags], variables) as (process, stderr):
        said = serving.first_line(process)
        assert said == "ready\n", f"{said!r}\n{serving.text(stderr)}"
        yield Node(name, process, stderr)
