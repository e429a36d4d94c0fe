# SPDX-License-Identifier: Apache-2.0
"""Compares a worker that is attached over the Erlang distribution with one on a port: `python
benchmarks/remote.py`.

Runs in: one process, which starts a node for each and a `hornbeam-worker`, all on this machine, for
WSGI and for ASGI. Each has its turn in every round, under the same load of hello world. Prints
medians, per second and processor time of a request, and ratios, and writes them to a file.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import processes
import servers
from comparison import Size, choose, conclude
from load import HOST, wrk
from report import layout

AIM = 0.7  # times as many requests as over a port
KINDS = {"wsgi": "bench_wsgi:application", "asgi": "bench_asgi:application"}
SIDES = ("port", "distribution")
CONNECTIONS = (1, 64)
COOKIE = {"HORNBEAM_COOKIE": secrets.token_hex(16)}

Figures = dict[str, float]
# By interface and connections, then by side.
Round = dict[str, dict[str, Figures]]


@dataclass(frozen=True, slots=True)
class Line:
    """One load: medians.

    Attributes:
        rate: requests per second, by side.
        node, python: processor time of a request, microseconds, by side.
        ratio: of the rates, the distribution's to the port's.
    """

    load: str
    rate: Figures
    node: Figures
    python: Figures
    ratio: float


def lines(rounds: Sequence[Round]) -> list[Line]:
    """The rounds' medians, load by load. Pure."""
    found = []
    for load in rounds[0]:
        rate, node, python = (
            {side: median(each[load][side][what] for each in rounds) for side in SIDES}
            for what in ("rate", "node", "python")
        )
        ratio = rate["distribution"] / rate["port"] if rate["port"] else 0.0
        found.append(Line(load, rate, node, python, ratio))
    return found


def table(found: Sequence[Line]) -> str:
    """For people."""
    head = ["hello world", *(f"{side}/s" for side in SIDES), "ratio", "aim"]
    head += [f"{side}, {what} us" for side in SIDES for what in ("node", "python")]
    rows = [
        [
            line.load,
            *(f"{line.rate[side]:,.0f}" for side in SIDES),
            f"{line.ratio:.2f}",
            f"{AIM:g}",
            *(f"{used[side]:.1f}" for side in SIDES for used in (line.node, line.python)),
        ]
        for line in found
    ]
    return layout([head, *rows])


@contextmanager
def on_a_port(kind: str) -> Iterator[tuple[list[int], int]]:
    """Yields: the processes, the port."""
    command = servers.hornbeam(KINDS[kind], "--interface", kind, "--workers", "1")
    with servers.program(command, servers.answers) as (pid, port):
        yield [pid], port


@contextmanager
def attached(kind: str) -> Iterator[tuple[list[int], int]]:
    """The same with the worker of a hornbeam-worker, and none of the node's own."""
    dist, app = str(servers.free_port()), KINDS[kind]
    name = f"bench-{dist}@{HOST}"
    where = ("--dist-port", dist)
    options = ("--interface", kind, "--workers", "0", "--remote-workers", "1", "--name", name)
    node = servers.hornbeam(app, *options, *where)
    worker = [sys.executable, "-m", "hornbeam_erlang.worker", "--node", name, *where]
    worker += ["--app-dir", str(servers.APPS), app]
    with servers.program(node, servers.accepts, **COOKIE) as (pid, port):
        # The worker listens nowhere: it is there when the node answers.
        command = servers.program(lambda _: worker, lambda _: servers.answers(port), **COOKIE)
        with command as (other, _):
            yield [pid, other], port


def measure(pids: Sequence[int], port: int, connections: int, seconds: float) -> Figures:
    """One turn."""
    before, _ = processes.usage(*pids)
    load = wrk(f"http://{HOST}:{port}/", connections, seconds)
    after, _ = processes.usage(*pids)
    if not load.valid:
        raise SystemExit(f"answers are missing, or wrong: {load.errors}")
    used = {what: (after[what] - before[what]) * 1e6 / load.operations for what in after}
    return {"rate": load.rate, "node": used["node"], "python": used["python"]}


def rounds(chosen: argparse.Namespace) -> list[Round]:
    """Every round."""
    with ExitStack() as running:
        fronts = {
            (kind, side): running.enter_context(start(kind))
            for kind in KINDS
            for side, start in (("port", on_a_port), ("distribution", attached))
        }
        found = []
        for number in range(chosen.rounds):
            print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
            found.append(
                {
                    f"{kind}, {count} at once": {
                        side: measure(*fronts[kind, side], count, chosen.duration) for side in SIDES
                    }
                    for kind in KINDS
                    for count in CONNECTIONS
                }
            )
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    duration = Size("duration", 4.0, 1.0, "seconds of a turn")
    chosen = choose(argv, "remote", "Compare distribution workers with port workers.", 5, duration)
    all_rounds = rounds(chosen)
    found = lines(all_rounds)
    return conclude(chosen, table(found), loads=[asdict(x) for x in found], rounds=all_rounds)


if __name__ == "__main__":
    sys.exit(main())
