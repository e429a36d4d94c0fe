# SPDX-License-Identifier: Apache-2.0
"""What a node of a program's own costs: `python benchmarks/embedded.py`.

Runs in: the program that starts the nodes, one after the other. Measures from the call of `start`
to its return, to the first answer, and to the end of `stop`; processor time of all that was
started; memory of the node; and what an operation takes, with and without handlers. Prints medians
and writes everything to a JSON file.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import hornbeam_erlang as hornbeam
from comparison import Size, choose, conclude
from report import layout

START_AIM_MS = 1000.0
NAME = f"bench{os.getpid()}"

Round = dict[str, float]


def milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def children_ms() -> float:
    """Processor time of the children that have ended, user and kernel, in milliseconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1048576


def life(**arguments: Any) -> Round:
    """One node from its start to its end."""
    before, begin = children_ms(), time.perf_counter()
    node = hornbeam.start(**arguments)
    started = milliseconds(begin)
    hornbeam.state_incr("first")
    answered = milliseconds(begin)
    memory = resident_mib(node.pid)
    end = time.perf_counter()
    node.stop()
    return {
        "start ms": started,
        "first answer ms": answered,
        "stop ms": milliseconds(end),
        "processor ms": children_ms() - before,
        "memory MiB": memory,
    }


def microseconds(operation: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        operation()
    return milliseconds(begin) * 1000 / count


def operations(count: int) -> Round:
    """One node's answers: microseconds for each."""
    with hornbeam.start():
        hornbeam.state_set("key", "value")
        alone = microseconds(lambda: hornbeam.state_get("key"), count)
        hornbeam.register_hook("same", lambda _action, value: value)
        served = microseconds(lambda: hornbeam.state_get("key"), count)
        executed = microseconds(lambda: hornbeam.execute("same", "", 1), count)
        hornbeam.unregister_hook("same")
    return {
        "state_get us": alone,
        "state_get, threads serve, us": served,
        "execute of its own handler us": executed,
    }


def medians(rounds: Sequence[Round]) -> Round:
    return {key: median(each[key] for each in rounds) for key in rounds[0]}


def measure(rounds: int, count: int) -> dict[str, list[Round]]:
    """Rounds of each kind, by turns."""
    found: dict[str, list[Round]] = {"no name": [], "with a name": [], "operations": []}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        found["no name"].append(life())
        found["with a name"].append(life(name=f"{NAME}-{number}"))
        found["operations"].append(operations(count))
    return found


def table(found: dict[str, list[Round]]) -> str:
    """For people."""
    nodes = {kind: medians(found[kind]) for kind in ("no name", "with a name")}
    keys = list(nodes["no name"])
    rows = [["node", *keys]]
    rows += [[kind, *(f"{values[key]:,.1f}" for key in keys)] for kind, values in nodes.items()]
    answers = [[key, f"{value:,.1f}"] for key, value in medians(found["operations"]).items()]
    return f"{layout(rows)}\n\n{layout([['operation', 'takes'], *answers])}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement. Returns: 0."""
    count = Size("count", 2000, 100, "operations in a round")
    chosen = choose(argv, "embedded", "Measure a node of a program's own.", 7, count)
    found = measure(chosen.rounds, chosen.count)
    values = {kind: medians(rounds) for kind, rounds in found.items()}
    aim = f"start: {values['no name']['start ms']:.0f} ms, aim {START_AIM_MS:.0f}"
    return conclude(chosen, f"{table(found)}\n{aim}", medians=values, rounds=found)


if __name__ == "__main__":
    sys.exit(main())
