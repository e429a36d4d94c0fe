# SPDX-License-Identifier: Apache-2.0
"""Measures what a Python node does over the Erlang distribution, beside what an Erlang node does:
`python benchmarks/node_messages.py`.

Runs in: one process with a Python node, which starts two Erlang nodes. By turns, the Python node
and one Erlang node send messages to the other Erlang node, receive them from it, and call a
gen_server there, alone and 64 at once. Prints medians, ratios and the processor time of a message
in Python, and writes all of it to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from comparison import Size, choose, conclude
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom

SOURCE = Path(__file__).with_name("node_peer.erl")
COOKIE = f"bench{os.getpid()}"
CALLERS = 64
LONG = 300.0  # seconds for any turn
CODE = (
    '{{ok, M, B}} = compile:file("{}", [binary, report]),'
    '{{module, M}} = code:load_binary(M, "", B), M:main().'
)


class Turn(NamedTuple):
    """One measurement: operations a second, and microseconds of this process for each."""

    rate: float
    cpu: float


@contextmanager
def beam(name: str) -> Iterator[str]:
    """An Erlang node."""
    full = f"{name}_{os.getpid()}@localhost"
    code = CODE.format(SOURCE.with_suffix(""))
    argv = ["erl", "-noinput", "-sname", full, "-setcookie", COOKIE, "-eval", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line != b"ready\n":
                raise RuntimeError(f"the Erlang node does not start: {line!r}")
            yield full
        finally:
            process.kill()


def send(node: Node, peer: str, count: int) -> None:
    """Casts, until the other side has counted them."""
    target = ("peer", peer)
    for number in range(count):
        node.cast(target, number, LONG)
    counted = node.call(target, Atom("count"), LONG)
    if counted != count:
        raise RuntimeError(f"{counted} of {count} messages have arrived")


def receive(node: Node, peer: str, count: int) -> None:
    """Messages that the other side sends to one process."""
    with node.process() as process:
        node.rpc_cast(peer, "node_peer", "flood", [process.pid, count])
        for _ in range(count):
            process.receive(LONG)


def call(node: Node, peer: str, count: int) -> None:
    """Calls one after the other."""
    target, echo = ("peer", peer), Atom("echo")
    for number in range(count):
        node.call(target, (echo, number), LONG)


def call_at_once(node: Node, peer: str, count: int) -> None:
    """Calls of many tasks."""
    target, echo = ("peer", peer), Atom("echo")

    async def caller() -> None:
        for number in range(count // CALLERS):
            await node.aio.call(target, (echo, number), LONG)

    async def run() -> None:
        await asyncio.gather(*[caller() for _ in range(CALLERS)])

    asyncio.run(run())


Measure = Callable[[Node, str, int], None]
# What is measured: in Python, the function of node_peer that does the same, how many times fewer.
OPERATIONS: dict[str, tuple[Measure, str, int]] = {
    "messages sent": (send, "send_to", 1),
    "messages received": (receive, "receive_from", 1),
    "calls, 1 at a time": (call, "call_to", 10),
    f"calls, {CALLERS} at once": (call_at_once, "call_to", 5),
}


def in_python(measure: Measure, node: Node, peer: str, count: int) -> Turn:
    start, used = time.perf_counter(), time.process_time()
    measure(node, peer, count)
    taken, used = time.perf_counter() - start, time.process_time() - used
    return Turn(count / taken, used / count * 1e6)


def in_erlang(name: str, function: str, node: Node, peers: tuple[str, str], count: int) -> Turn:
    arguments: list[object] = [Atom(peers[0]), count]
    if "at once" in name:
        arguments.append(CALLERS)
    taken = node.rpc_call(peers[1], "node_peer", function, arguments, LONG)
    return Turn(count / (taken / 1e9), 0.0)


def measured(chosen: argparse.Namespace) -> dict[str, dict[str, list[Turn]]]:
    """Every turn, by operation and by who has made it."""
    turns: dict[str, dict[str, list[Turn]]] = {
        name: {"python": [], "erlang": []} for name in OPERATIONS
    }
    with ExitStack() as running:
        peers = running.enter_context(beam("bench_a")), running.enter_context(beam("bench_b"))
        node = running.enter_context(Node(f"bench_{os.getpid()}@localhost", cookie=COOKIE))
        for number in range(chosen.rounds):
            print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
            for name, (measure, function, fewer) in OPERATIONS.items():
                count = max(chosen.count // fewer // CALLERS, 1) * CALLERS
                turns[name]["python"].append(in_python(measure, node, peers[0], count))
                turns[name]["erlang"].append(in_erlang(name, function, node, peers, count))
    return turns


def table(turns: dict[str, dict[str, list[Turn]]]) -> str:
    """Medians as text."""
    lines = [f"{'':22}{'Python node':>14}{'Erlang node':>14}{'ratio':>8}{'CPU in Python':>16}"]
    for name, by in turns.items():
        python = statistics.median(turn.rate for turn in by["python"])
        erlang = statistics.median(turn.rate for turn in by["erlang"])
        cpu = statistics.median(turn.cpu for turn in by["python"])
        line = f"{name:22}{python:12,.0f}/s{erlang:12,.0f}/s{python / erlang:8.2f}{cpu:13.1f} us"
        lines.append(line)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    count = Size("count", 50_000, 2000, "messages in a turn")
    chosen = choose(argv, "node", "Messages of a Python node to an Erlang one.", 5, count)
    turns = measured(chosen)
    return conclude(chosen, table(turns), turns=turns)


if __name__ == "__main__":
    sys.exit(main())
