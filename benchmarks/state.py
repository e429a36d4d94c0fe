# SPDX-License-Identifier: Apache-2.0
"""Compares operations on shared state with Redis: `python benchmarks/state.py`.

Runs in: one process, which starts a redis-server and a node with one worker. That worker's one
thread runs every operation by turns on hornbeam, on Redis over TCP and on Redis over a Unix socket
(redis-py with hiredis), so that what else happens on the machine meets all of them alike. Prints
medians and ratios and writes everything to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import comparison
import servers
from load import HOST
from report import layout

OURS = "hornbeam"
DEADLINE = 300.0  # seconds a single answer may take

# How many times faster than Redis an operation is to be.
AIMS = {"incr": 2.5, "get": 2.5, "set": 2.5, "get of 100 keys": 1.0, "pipeline of 100 incr": 1.0}
# How many times longer ten matches may take in the large table than in the small one.
KEYS_AIM = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """One operation: medians in microseconds by store, and how many times faster hornbeam is.

    Attributes:
        clock: of the round trip. processors: that client and server used for it, which what else
            runs on the machine hardly changes.
        ratios: of `clock`.
        switches: how often client and server left the processor in it, where that was counted: 2
            when both sleep, or share one; 1 when the client has looked for its answer meanwhile.
    """

    operation: str
    clock: dict[str, float]
    processors: dict[str, float]
    ratios: dict[str, float]
    aim: float
    switches: dict[str, float]


# By operation, by store, by kind of time.
Round = dict[str, dict[str, dict[str, float]]]


def lines(rounds: Sequence[Round], aims: Mapping[str, float] = AIMS) -> list[Line]:
    """The rounds' medians, operation by operation. Pure."""

    def medians(operation: str, kind: str) -> dict[str, float]:
        stores = [s for s, times in rounds[0][operation].items() if kind in times]
        return {s: median(each[operation][s][kind] for each in rounds) for s in stores}

    found = []
    for operation in rounds[0]:
        clock, processors = medians(operation, "clock"), medians(operation, "processors")
        ratios = {s: took / clock[OURS] for s, took in clock.items() if s != OURS}
        slept = medians(operation, "switches")
        found.append(Line(operation, clock, processors, ratios, aims[operation], slept))
    return found


def table(all_lines: Sequence[Line]) -> str:
    """For people: what an operation takes, how many times longer than hornbeam Redis takes."""
    stores = list(all_lines[0].clock)
    head = ["operation", *(f"{store} us" for store in stores)]
    head += [*(f"x {store}" for store in stores if store != OURS), "aim"]
    head += [f"{store} CPU us" for store in stores]
    head += [f"{store} switches" for store in all_lines[0].switches]
    rows = [
        [
            line.operation,
            *(f"{took:,.1f}" for took in line.clock.values()),
            *(f"{ratio:.2f}" for ratio in line.ratios.values()),
            f"{line.aim:g}",
            *(f"{took:,.1f}" for took in line.processors.values()),
            *(f"{slept:.1f}" for slept in line.switches.values()),
        ]
        for line in all_lines
    ]
    return layout([head, *rows])


def ask(port: int, target: str) -> Any:
    connection = HTTPConnection(HOST, port, timeout=DEADLINE)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise servers.ServerFailed(f"{target}: {response.status} {body!r}")
        return json.loads(body)
    finally:
        connection.close()


def ask_rounds(rounds: int, port: int, target: str) -> list[Round]:
    """What the application answers, as often as that."""
    found = []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        found.append(ask(port, target))
    return found


def conclude(
    chosen: argparse.Namespace, rounds: Sequence[Round], aims: Mapping[str, float], **more: Any
) -> int:
    """Prints the rounds' medians and writes all of it to the file that was chosen. Returns: 0."""
    found = lines(rounds, aims)
    operations = [asdict(line) for line in found]
    return comparison.conclude(chosen, table(found), operations=operations, rounds=rounds, **more)


def redis_with_socket(path: Path) -> Any:
    return lambda port: [*servers.redis_server(port), "--unixsocket", str(path)]


def measure(chosen: argparse.Namespace) -> tuple[list[Round], dict[str, float]]:
    """Every round, and the look-ups by prefix in a small and in a large table."""
    with ExitStack() as running:
        socket = Path(running.enter_context(TemporaryDirectory())) / "redis"
        redis = servers.program(redis_with_socket(socket), servers.accepts)
        redis_pid, redis_port = running.enter_context(redis)
        _, port = running.enter_context(
            servers.program(
                # A fill and a round take longer than a request may.
                servers.hornbeam(
                    "bench_state:application", "--workers", "1", "--timeout", "300000"
                ),
                servers.answers,
                BENCH_REDIS_PID=str(redis_pid),
                BENCH_REDIS_PORT=str(redis_port),
                BENCH_REDIS_SOCKET=str(socket),
            )
        )
        rounds = ask_rounds(chosen.rounds, port, f"/operations?{chosen.count}")
        ask(port, "/fill?few:&1000")
        few = median(ask(port, "/keys?1000") for _ in range(chosen.rounds))
        entries = ask(port, f"/fill?many:&{chosen.keys}")
        many = median(ask(port, "/keys?1000") for _ in range(chosen.rounds))
    prefix = {"few_us": few, "many_us": many, "entries": entries, "ratio": many / few}
    return rounds, prefix


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    count = comparison.Size("count", 5000, 200, "operations in a turn")
    keys = comparison.Size("keys", 1000000, 20000, "keys of the large table")
    chosen = comparison.choose(argv, "state", "Compare shared state with Redis.", 7, count, keys)
    rounds, prefix = measure(chosen)
    print(
        f"state_keys, 10 matches, CPU: {prefix['few_us']:.1f} us among 1,000 keys,"
        f" {prefix['many_us']:.1f} us among {prefix['entries']:,}:"
        f" x {prefix['ratio']:.2f}, aim {KEYS_AIM:g}"
    )
    return conclude(chosen, rounds, AIMS, ten_matches=prefix)


if __name__ == "__main__":
    sys.exit(main())
