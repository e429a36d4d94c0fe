# SPDX-License-Identifier: Apache-2.0
"""From samples to medians, ratios, aims and tables. Pure: no clock, no process, no file.

Runs in: the process of the benchmark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

from load import Load
from scenarios import Aim


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured: a server under one load of a part of the comparison."""

    part: str
    server: str
    scenario: str
    connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one cell.

    `counts` is what an operation is, `cpu` is in microseconds per operation, `memory` in bytes,
    both by kind of process. `socket_memory` is what each connection added to the memory, in
    bytes, where that is what the servers are compared by; else it is empty.
    """

    cell: Cell
    counts: str
    load: Load
    cpu: dict[str, float]
    memory: dict[str, int]
    socket_memory: dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a cell's rounds, the sums of their errors. One bad round spoils the row."""

    cell: Cell
    counts: str
    rounds: int
    valid: bool
    errors: dict[str, int]
    rate: float
    latency_p50: float
    latency_p99: float
    generator: float
    cpu: dict[str, float]
    memory: dict[str, float]
    socket_memory: dict[str, float]

    @property
    def figure(self) -> float:
        """What the server is compared by: bytes per connection, or operations per second."""
        return sum(self.socket_memory.values()) if self.socket_memory else self.rate


def medians(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median by key; a key that a round lacks counts 0 there."""
    rounds = list(counts)
    keys = sorted({key for each in rounds for key in each})
    return {key: median(each.get(key, 0) for each in rounds) for key in keys}


def sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum by key, without those that are 0."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(+total)


def trouble(row: Row) -> str:
    """Why a row is not valid, empty when it is."""
    if row.valid:
        return ""
    kinds = ", ".join(f"{kind} {count}" for kind, count in row.errors.items())
    return f"INVALID: {kinds or 'nothing was answered'}"


def summary(samples: Sequence[Sample]) -> Row:
    """The row of one cell's samples, at least one."""
    loads = [sample.load for sample in samples]
    return Row(
        cell=samples[0].cell,
        counts=samples[0].counts,
        rounds=len(samples),
        valid=all(load.valid for load in loads),
        errors=sums(load.errors for load in loads),
        rate=median(load.rate for load in loads),
        latency_p50=median(load.latency_p50 for load in loads),
        latency_p99=median(load.latency_p99 for load in loads),
        generator=median(load.generator for load in loads),
        cpu=medians(sample.cpu for sample in samples),
        memory=medians(sample.memory for sample in samples),
        socket_memory=medians(sample.socket_memory for sample in samples),
    )


def rows(samples: Sequence[Sample]) -> list[Row]:
    """One row per cell, in the order in which the cells first came."""
    cells = dict.fromkeys(sample.cell for sample in samples)
    return [summary([s for s in samples if s.cell == cell]) for cell in cells]


def row_of(cell: Cell, all_rows: Sequence[Row]) -> Row | None:
    return next((row for row in all_rows if row.cell == cell), None)


def ratio(row: Row, reference: str, all_rows: Sequence[Row]) -> float | None:
    """How many times better the reference server is than that of `row`, under the same load.

    More operations per second are better, and less memory. None where a row is missing or not
    valid, or has nothing to divide by.
    """
    other = row_of(replace(row.cell, server=reference), all_rows)
    if other is None or not (other.valid and row.valid):
        return None
    better, worse = (row, other) if row.socket_memory else (other, row)
    return better.figure / worse.figure if worse.figure > 0 and better.figure > 0 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an aim at one number of connections; `ratio` is None when not measured."""

    aim: Aim
    connections: int
    ratio: float | None

    @property
    def text(self) -> str:
        aim = self.aim
        head = f"{aim.scenario}, {self.connections} connections: {aim.ours}"
        if self.ratio is None:
            return f"{head} against {aim.peer}: not measured"
        word = "reached" if self.ratio >= aim.factor else "missed"
        return f"{head} is {self.ratio:.2f} x {aim.peer}, aim {aim.factor:g}: {word}"


def verdicts(aims: Sequence[Aim], all_rows: Sequence[Row]) -> list[Verdict]:
    """One for each aim and number of connections at which both servers had their turn."""
    found = []
    for aim in aims:
        for row in all_rows:
            cell = row.cell
            if (cell.part, cell.server, cell.scenario) != (aim.part, aim.peer, aim.scenario):
                continue
            if row_of(replace(cell, server=aim.ours), all_rows) is not None:
                factor = ratio(row, aim.ours, all_rows)
                found.append(Verdict(aim, cell.connections, factor))
    return found


def line(row: Row, reference: str, kinds: Sequence[str], all_rows: Sequence[Row]) -> list[str]:
    factor = ratio(row, reference, all_rows)
    by_kind, digits = (row.socket_memory, 0) if row.socket_memory else (row.cpu, 1)
    return [
        row.cell.server,
        f"{row.figure:,.0f}",
        "-" if factor is None else f"{factor:.2f}",
        f"{row.latency_p50:.2f}",
        f"{row.latency_p99:.2f}",
        *(f"{by_kind[kind]:,.{digits}f}" if kind in by_kind else "-" for kind in kinds),
        f"{row.generator:.1f}",
        f"{sum(row.memory.values()) / 2**20:.0f}",
        trouble(row),
    ]


def layout(lines: Sequence[Sequence[str]]) -> str:
    """Columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for cells in lines:
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        texts.append("  ".join([cells[0].ljust(widths[0]), *rest]).rstrip())
    return "\n".join(texts)


def block(block_rows: Sequence[Row], reference: str) -> str:
    """The table of one load: its name, what the columns are, a line for each server."""
    cell, counts = block_rows[0].cell, block_rows[0].counts
    by_memory = any(row.socket_memory for row in block_rows)
    kinds = sorted({kind for row in block_rows for kind in row.cpu})
    figure, unit = (f"B/{counts[:-1]}", "B") if by_memory else (f"{counts}/s", "us")
    head = ["server", figure, f"x {reference}", "p50 ms", "p99 ms"]
    head += [*(f"{kind} {unit}" for kind in kinds), "load us", "MiB", ""]
    lines = [line(row, reference, kinds, block_rows) for row in block_rows]
    return f"{cell.part}: {cell.scenario}, {cell.connections} connections\n{layout([head, *lines])}"


def table(all_rows: Sequence[Row], references: Mapping[str, str]) -> str:
    """All rows for people, a block for each load; `references` has a server for each part.

    `x reference` is how many times better than the row's server the reference is. The columns in
    microseconds are processor time per operation, by kind of process and of the load generator;
    those in bytes are what a connection added to the memory.
    """
    blocks: dict[Cell, list[Row]] = {}
    for row in all_rows:
        blocks.setdefault(replace(row.cell, server=""), []).append(row)
    return "\n\n".join(block(each, references[cell.part]) for cell, each in blocks.items())


def document(
    samples: Sequence[Sample],
    references: Mapping[str, str],
    aims: Sequence[Aim],
    context: Mapping[str, object],
) -> dict[str, object]:
    """Everything, ready for JSON: context, rows with their ratios, verdicts, every sample."""
    all_rows = rows(samples)
    return {
        **context,
        "references": dict(references),
        "rows": [
            {**asdict(row), "ratio": ratio(row, references[row.cell.part], all_rows)}
            for row in all_rows
        ],
        "aims": [{**asdict(verdict), "text": verdict.text} for verdict in verdicts(aims, all_rows)],
        "samples": [asdict(sample) for sample in samples],
    }
