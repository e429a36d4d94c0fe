# SPDX-License-Identifier: Apache-2.0
"""Compares calls of another node from Python with `erpc:call` from Erlang: `python
benchmarks/rpc.py`.

Runs in: one process, which starts two nodes with a worker each, for WSGI and ASGI, and a plain
Erlang node that they call. Each way has its turn in every round, Erlang's in the node of the worker
that it is compared with. A call from Python cannot take less time than erpc:call and a call of the
own node, `node()`, together: these are measured, too. Prints medians and ratios and writes them to
a file.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import servers
import state
from comparison import Size, choose, conclude
from report import layout

AIM = 1.5  # times the time of erpc:call
# What is measured: the server, how many calls at once as the paths say it, a factor of the count.
WAYS = {
    "1 at once, a thread": ("wsgi", "", 1),
    "1 at once, an event loop": ("asgi", "/1", 1),
    "64 at once, an event loop": ("asgi", "/64", 4),
}
SIDES = ("rpc_call", "erpc", "node")
Round = dict[str, dict[str, dict[str, float]]]
COOKIE = secrets.token_hex(16)
READY = 'io:format("~s~n",[os:getpid()]).'


@dataclass(frozen=True, slots=True)
class Line:
    """One way: medians, microseconds of one call.

    Attributes:
        clock, processors: by the side that was measured.
        per_second: calls by rpc_call.
        ratio: how many times longer than erpc:call it takes; of erpc:call and node() together:
            `both`.
    """

    way: str
    clock: dict[str, float]
    processors: dict[str, float]
    per_second: float
    ratio: float
    both: float


def lines(rounds: Sequence[Round]) -> list[Line]:
    """The rounds' medians, way by way. Pure."""
    found = []
    for way in rounds[0]:
        clock = {side: median(each[way][side]["clock"] for each in rounds) for side in SIDES}
        used = {side: median(each[way][side]["processors"] for each in rounds) for side in SIDES}
        ours, erpc, node = (clock[side] for side in SIDES)
        found.append(Line(way, clock, used, 1e6 / ours, ours / erpc, ours / (erpc + node)))
    return found


def table(found: Sequence[Line]) -> str:
    """For people."""
    head = ["calls", *(f"{side} us" for side in SIDES), "rpc_call/s"]
    head += ["x erpc", "aim", "x (erpc + node)", *(f"{side} CPU us" for side in SIDES)]
    rows = [
        [
            line.way,
            *(f"{line.clock[side]:.1f}" for side in SIDES),
            f"{line.per_second:,.0f}",
            f"{line.ratio:.2f}",
            f"{AIM:g}",
            f"{line.both:.2f}",
            *(f"{line.processors[side]:.1f}" for side in SIDES),
        ]
        for line in found
    ]
    return layout([head, *rows])


def named(kind: str) -> str:
    return f"bench-{kind}-{os.getpid()}@localhost"


@contextmanager
def plain(name: str) -> Iterator[int]:
    """An Erlang node with nothing else. Yields: its process id."""
    flags = ["-noinput", "-sname", name, "-setcookie", COOKIE, "-eval", READY]
    variables = {**os.environ, "ERL_EPMD_ADDRESS": "127.0.0.1"}
    with subprocess.Popen(["erl", *flags], stdout=subprocess.PIPE, env=variables) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def front(kind: str, code: str) -> Iterator[tuple[int, int]]:
    """A node with one worker. Yields: the process id of the node and the port."""
    options = ("--interface", kind, "--sname", named(kind), "--workers", "1")
    command = servers.hornbeam(f"bench_rpc:{kind}", *options, "--timeout", "300000")
    variables = {"HORNBEAM_COOKIE": COOKIE, "ERL_FLAGS": f"-pa {code}"}
    with servers.program(command, servers.answers, **variables) as (pid, port):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        yield int(children[0]), port


def measure(chosen: argparse.Namespace) -> list[Round]:
    """Every round."""
    with ExitStack() as running:
        code = running.enter_context(TemporaryDirectory())
        source = servers.APPS / "bench_erpc.erl"
        subprocess.run(["erlc", "-o", code, str(source)], check=True, timeout=60)
        other = running.enter_context(plain(named("other")))
        fronts = {kind: running.enter_context(front(kind, code)) for kind in ("wsgi", "asgi")}

        def turn(kind: str, path: str, factor: int) -> Any:
            node, port = fronts[kind]
            query = f"{named('other')}&{chosen.count * factor}&{node},{other}"
            return state.ask(port, f"{path}?{query}")

        rounds = []
        for number in range(chosen.rounds):
            print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
            rounds.append(
                {
                    way: {side: turn(kind, f"/{side}{path}", factor) for side in SIDES}
                    for way, (kind, path, factor) in WAYS.items()
                }
            )
        return rounds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    count = Size("count", 3000, 256, "calls in a turn")
    chosen = choose(argv, "rpc", "Compare rpc_call with erpc:call.", 9, count)
    rounds = measure(chosen)
    found = lines(rounds)
    return conclude(chosen, table(found), calls=[asdict(x) for x in found], rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
