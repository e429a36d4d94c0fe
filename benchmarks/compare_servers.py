# SPDX-License-Identifier: Apache-2.0
"""Compares hornbeam with other servers on this machine: `python benchmarks/compare_servers.py`.

Runs in: one process, which starts one server at a time, in turns that change from round to round,
so that what else happens on the machine meets all of them alike. Prints a table of medians and
writes everything to a JSON file beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import load
import machine
import processes
import report
import servers
from report import Cell, Sample

RESULTS = Path(__file__).resolve().parent / "results"
SCENARIOS = {"hello": "/", "64 KiB": "/large"}


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(description="Compare hornbeam with other servers.")
    add = command.add_argument
    add("--rounds", type=int, default=5, help="how often each server has its turn (5)")
    add("--duration", type=float, default=5, metavar="S", help="seconds of each load (5)")
    add("--connections", type=int, nargs="+", default=[1, 64, 512], metavar="N")
    add("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    add("--servers", nargs="+", choices=servers.SERVERS, default=list(servers.DEFAULT))
    add("--reference", choices=servers.SERVERS, default="hornbeam", help="what ratios refer to")
    add("--quick", action="store_true", help="one round of one second each at 64 connections")
    add("--name", help="of the result: benchmarks/results/NAME.json (the time)")
    return command  # fmt: skip


def settings(argv: Sequence[str] | None) -> argparse.Namespace:
    command = parser()
    chosen = command.parse_args(argv)
    if chosen.quick:
        chosen.rounds, chosen.duration, chosen.connections = 1, 1.0, [64]
    if chosen.rounds < 1 or chosen.duration < 1 or min(chosen.connections) < 1:
        command.error("rounds, duration and connections are 1 or more")
    for name in chosen.servers:
        package = servers.SERVERS[name].package
        if machine.installed(package) is None:
            command.error(f"{package} is not installed: run scripts/setup bench")
    chosen.name = chosen.name or time.strftime("%Y%m%d-%H%M%S")
    return chosen


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """The order: in every round all of them, each time another one first."""
    for number in range(rounds):
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            yield number + 1, name


def measure(pid: int, port: int, cell: Cell, seconds: float) -> Sample:
    """One load on a running server, with what it cost."""
    url = f"http://{servers.HOST}:{port}{SCENARIOS[cell.scenario]}"
    before, _ = processes.usage(pid)
    found = load.run(url, cell.connections, seconds)
    after, memory = processes.usage(pid)
    requests = max(1, found.requests)
    cpu = {kind: (after[kind] - before.get(kind, 0.0)) * 1e6 / requests for kind in after}
    return Sample(cell, found, cpu, dict(memory))


def turn(name: str, chosen: argparse.Namespace) -> Iterator[Sample]:
    """One server's turn: it starts, is warmed up, gets every load, ends."""
    with servers.running(servers.SERVERS[name]) as (pid, port):
        load.run(f"http://{servers.HOST}:{port}/", 16, 1)
        for scenario in chosen.scenarios:
            for connections in chosen.connections:
                cell = Cell(name, scenario, connections)
                yield measure(pid, port, cell, chosen.duration)


def collect(chosen: argparse.Namespace) -> tuple[list[Sample], list[str]]:
    """All samples, in the order of the table, and what failed: the others go on without it."""
    samples: list[Sample] = []
    failures = []
    for number, name in turns(chosen.servers, chosen.rounds):
        print(f"round {number} of {chosen.rounds}: {name}", file=sys.stderr, flush=True)
        try:
            samples += turn(name, chosen)
        except (servers.ServerFailed, load.BadReport) as reason:
            failures.append(f"{name}, round {number}: {reason}")
    order = product(chosen.scenarios, chosen.connections, chosen.servers)
    places = {Cell(name, scenario, n): at for at, (scenario, n, name) in enumerate(order)}
    return sorted(samples, key=lambda sample: places[sample.cell]), failures


def heading(context: dict[str, object]) -> str:
    at = f"{context['processor']} x {context['processors']}, {context['memory_mib']} MiB"
    packages = context["packages"]
    assert isinstance(packages, dict)
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    return (
        f"{at}, {context['system']}, kernel {context['kernel']}\n"
        f"Python {context['python']}, OTP {context['otp']}, wrk {context['wrk']} on the same"
        f" machine, {context['codec']} codec\n{versions}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0; 1 when a row is not valid or a server failed."""
    chosen = settings(argv)
    described = machine.describe()
    samples, failures = collect(chosen)
    described_servers = {name: servers.SERVERS[name].describe for name in chosen.servers}
    context = {
        "machine": described,
        "settings": vars(chosen),
        "servers": described_servers,
        "failures": failures,
    }
    result = report.document(samples, chosen.reference, context)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{chosen.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    rows = report.rows(samples)
    print(f"{heading(described)}\n\n{report.table(rows, chosen.reference)}\n\nall of it: {path}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 0 if not failures and all(row.valid for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
