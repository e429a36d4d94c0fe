# SPDX-License-Identifier: Apache-2.0
"""From samples to medians, ratios and a table. Pure: no clock, no process, no file.

Runs in: the process of the benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from load import Load


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured: a server under one load."""

    server: str
    scenario: str
    connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one cell. `cpu` in microseconds per request, `memory` in bytes, by kind."""

    cell: Cell
    load: Load
    cpu: dict[str, float]
    memory: dict[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a cell's rounds. A row with one bad round is not valid."""

    cell: Cell
    rounds: int
    valid: bool
    requests_per_second: float
    latency_p50: float
    latency_p99: float
    cpu: dict[str, float]
    memory: dict[str, float]


def medians(counts: Iterable[dict[str, float]]) -> dict[str, float]:
    """The median by key; a key that a round lacks counts 0 there."""
    rounds = list(counts)
    keys = sorted({key for each in rounds for key in each})
    return {key: median(each.get(key, 0) for each in rounds) for key in keys}


def summary(samples: Sequence[Sample]) -> Row:
    """The row of one cell's samples, at least one."""
    loads = [sample.load for sample in samples]
    return Row(
        cell=samples[0].cell,
        rounds=len(samples),
        valid=all(load.valid for load in loads),
        requests_per_second=median(load.requests_per_second for load in loads),
        latency_p50=median(load.latency_p50 for load in loads),
        latency_p99=median(load.latency_p99 for load in loads),
        cpu=medians(sample.cpu for sample in samples),
        memory=medians({**sample.memory} for sample in samples),
    )


def rows(samples: Sequence[Sample]) -> list[Row]:
    """One row per cell, in the order in which the cells first came."""
    cells = dict.fromkeys(sample.cell for sample in samples)
    return [summary([s for s in samples if s.cell == cell]) for cell in cells]


def ratio(row: Row, reference: str, all_rows: Sequence[Row]) -> float | None:
    """Requests per second of the reference server divided by those of `row`, under the same load.

    None where either is missing or not valid.
    """
    cell = Cell(reference, row.cell.scenario, row.cell.connections)
    for other in all_rows:
        if other.cell == cell and other.valid and row.valid:
            return other.requests_per_second / row.requests_per_second
    return None


def line(row: Row, reference: str, kinds: Sequence[str], all_rows: Sequence[Row]) -> list[str]:
    factor = ratio(row, reference, all_rows)
    return [
        row.cell.server,
        f"{row.requests_per_second:,.0f}",
        "-" if factor is None else f"{factor:.2f}",
        f"{row.latency_p50:.2f}",
        f"{row.latency_p99:.2f}",
        *(f"{row.cpu[kind]:.1f}" if kind in row.cpu else "-" for kind in kinds),
        f"{sum(row.memory.values()) / 2**20:.0f}",
        "" if row.valid else "INVALID",
    ]


def layout(lines: Sequence[Sequence[str]]) -> str:
    """Columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for cells in lines:
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        texts.append("  ".join([cells[0].ljust(widths[0]), *rest]).rstrip())
    return "\n".join(texts)


def table(all_rows: Sequence[Row], reference: str) -> str:
    """All rows for people, a block for each load.

    `x reference` is how many times the row's requests per second the reference does; the columns in
    microseconds are processor time per request, by kind of process.
    """
    kinds = sorted({kind for row in all_rows for kind in row.cpu})
    head = ["server", "req/s", f"x {reference}", "p50 ms", "p99 ms"]
    head += [*(f"{kind} us" for kind in kinds), "MiB", ""]
    blocks: dict[tuple[str, int], list[list[str]]] = {}
    for row in all_rows:
        block = blocks.setdefault((row.cell.scenario, row.cell.connections), [head])
        block.append(line(row, reference, kinds, all_rows))
    return "\n\n".join(
        f"{scenario}, {connections} connections\n{layout(lines)}"
        for (scenario, connections), lines in blocks.items()
    )


def document(
    samples: Sequence[Sample], reference: str, context: Mapping[str, object]
) -> dict[str, object]:
    """Everything, ready for JSON: the context, the rows with their ratios, every sample."""
    all_rows = rows(samples)
    return {
        **context,
        "reference": reference,
        "rows": [{**asdict(row), "ratio": ratio(row, reference, all_rows)} for row in all_rows],
        "samples": [asdict(sample) for sample in samples],
    }
