# SPDX-License-Identifier: Apache-2.0
"""Processor time and memory of a process and everything below it, from /proc (Linux, proc(5)).

Runs in: the process of the benchmark. Processes are told apart by kind: the Erlang node, Python,
Redis, and whatever else.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> Iterator[int]:
    """The ids of `pid` and of all processes below it, of every thread."""
    yield pid
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = listing.read_text().split()
        except OSError:  # the thread ended while we looked
            continue
        for child in below:
            yield from tree(int(child))


def fields(pid: int) -> tuple[str, list[str]]:
    """Name and remaining fields of /proc/<pid>/stat; the name may hold blanks and brackets."""
    head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return head.partition("(")[2], tail.split()


def kind(name: str) -> str:
    """`node`, `python`, `redis` or `other`, from the name of a process."""
    if name.startswith(("beam", "erl")):
        return "node"
    if name.startswith("redis"):
        return "redis"
    return "python" if name.startswith(("python", "hornbeam", "gunicorn", "granian")) else "other"


def usage(*pids: int) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds of processor time and bytes of resident memory from `pids` down, by kind."""
    seconds: dict[str, float] = defaultdict(float)
    memory: dict[str, int] = defaultdict(int)
    for each in chain.from_iterable(map(tree, pids)):
        try:
            name, rest = fields(each)
        except OSError:  # it ended while we looked; its time is then in its parent's
            continue
        # rest[0] is field 3: utime 14, stime 15, of children waited for 16 and 17; rss 24.
        seconds[kind(name)] += sum(map(int, rest[11:15])) / TICKS
        memory[kind(name)] += int(rest[21]) * PAGE
    return dict(seconds), dict(memory)
