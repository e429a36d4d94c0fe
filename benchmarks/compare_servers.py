# SPDX-License-Identifier: Apache-2.0
"""Compares hornbeam with other servers on this machine: `python benchmarks/compare_servers.py`.

Runs in: one process, which starts one server at a time, in turns that change from round to round,
so that what else happens on the machine meets all of them alike. Prints a table of medians and
writes everything to a JSON file beside it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import load
import machine
import processes
import report
import scenarios
import servers
from report import Cell, Sample
from scenarios import PARTS, Scenario


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(description="Compare hornbeam with other servers.")
    add = command.add_argument
    add("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    add("--rounds", type=int, default=5, help="how often each server has its turn (5)")
    add("--duration", type=float, default=5, metavar="S", help="seconds of each load (5)")
    add("--connections", type=int, nargs="+", metavar="N", help="(what each load says)")
    add("--servers", nargs="+", choices=servers.SERVERS, help="(what each part says)")
    add("--quick", action="store_true", help="one round of one second each, fewer connections")
    add("--name", help="of the result: benchmarks/results/NAME.json (the time)")
    return command  # fmt: skip


def settings(argv: Sequence[str] | None) -> argparse.Namespace:
    command = parser()
    chosen = command.parse_args(argv)
    chosen.parts = chosen.parts or list(PARTS)
    for part in chosen.parts:
        if part not in PARTS:
            command.error(f"there is no part {part!r}: {', '.join(PARTS)}")
    if chosen.quick:
        chosen.rounds, chosen.duration = 1, 1.0
    if chosen.rounds < 1 or chosen.duration < 1 or min(chosen.connections or [1]) < 1:
        command.error("rounds, duration and connections are 1 or more")
    for name in {name for part in chosen.parts for name in names(part, chosen)}:
        for package in servers.SERVERS[name].packages:
            if machine.installed(package) is None:
                command.error(f"{package} is not installed: run scripts/setup bench")
    chosen.name = chosen.name or time.strftime("%Y%m%d-%H%M%S")
    return chosen


def names(part: str, chosen: argparse.Namespace) -> Sequence[str]:
    """The servers that have turns in a part; the others are compared with the first."""
    return chosen.servers or PARTS[part].servers


def cells(part: str, chosen: argparse.Namespace, server: str) -> Iterator[tuple[Scenario, Cell]]:
    """All that is measured in one turn of a server."""
    for scenario in PARTS[part].scenarios:
        usual = scenario.quick if chosen.quick else scenario.connections
        for connections in chosen.connections or usual:
            yield scenario, Cell(part, server, scenario.name, connections)


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """The order: in every round all of them, each time another one first."""
    for number in range(rounds):
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            yield number + 1, name


def measure(pids: list[int], port: int, scenario: Scenario, cell: Cell, seconds: float) -> Sample:
    """One load on a running server, with what it cost."""
    _, empty = processes.usage(*pids)
    with scenario.load.prepared(port, cell.connections, seconds) as run:
        before, filled = processes.usage(*pids)
        found = run()
        after, memory = processes.usage(*pids)
    each = max(1, found.operations)
    cpu = {kind: (after[kind] - before.get(kind, 0.0)) * 1e6 / each for kind in after}
    grown = {kind: (filled[kind] - empty.get(kind, 0)) / cell.connections for kind in filled}
    return Sample(cell, scenario.counts, found, cpu, memory, grown if scenario.by_memory else {})


def turn(part: str, name: str, chosen: argparse.Namespace, failures: list[str]) -> Iterator[Sample]:
    """One server's turn: it starts, is warmed up, gets every load of the part, ends.

    A load that fails is described in `failures`; the others go on.
    """
    with servers.running(servers.SERVERS[name]) as (pids, port):
        for scenario, cell in cells(part, chosen, name):
            try:
                with scenario.load.prepared(port, min(16, cell.connections), 1) as warm_up:
                    warm_up()
                yield measure(pids, port, scenario, cell, chosen.duration)
            except load.BadReport as reason:
                failures.append(f"{name}, {scenario.name}: {reason}")


def collect(part: str, chosen: argparse.Namespace) -> tuple[list[Sample], list[str]]:
    """All samples of a part, in the order of the table, and what failed: others go on without."""
    samples: list[Sample] = []
    failures: list[str] = []
    for number, name in turns(names(part, chosen), chosen.rounds):
        print(f"{part}, round {number} of {chosen.rounds}: {name}", file=sys.stderr, flush=True)
        try:
            samples += turn(part, name, chosen, failures)
        except servers.ServerFailed as reason:
            failures.append(str(reason))
    by_server = [[cell for _, cell in cells(part, chosen, name)] for name in names(part, chosen)]
    order = [cell for each in zip(*by_server, strict=True) for cell in each]
    return sorted(samples, key=lambda sample: order.index(sample.cell)), failures


def open_files() -> None:
    """Lets servers and generators have as many open files as this user may have at all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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


def written(
    chosen: argparse.Namespace, samples: Sequence[Sample], failures: Sequence[str]
) -> tuple[Path, str]:
    """Writes the result. Returns: where, and the same for people."""
    described = machine.describe()
    references = {part: names(part, chosen)[0] for part in chosen.parts}
    all_names = dict.fromkeys(name for part in chosen.parts for name in names(part, chosen))
    context = {
        "machine": described,
        "settings": vars(chosen),
        "servers": {name: servers.SERVERS[name].describe for name in all_names},
        "failures": failures,
    }
    result = report.document(samples, references, scenarios.AIMS, context)
    path = machine.save(chosen.name, result)
    rows = report.rows(samples)
    aims = "\n".join(verdict.text for verdict in report.verdicts(scenarios.AIMS, rows))
    return path, f"{heading(described)}\n\n{report.table(rows, references)}\n\n{aims}".rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0; 1 when a row is not valid or a server failed."""
    chosen = settings(argv)
    open_files()
    samples: list[Sample] = []
    failures: list[str] = []
    for part in chosen.parts:
        more, failed = collect(part, chosen)
        samples += more
        failures += [f"{part}: {failure}" for failure in failed]
    path, text = written(chosen, samples, failures)
    print(f"{text}\n\nall of it: {path}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    valid = all(row.valid for row in report.rows(samples))
    return 0 if samples and valid and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
