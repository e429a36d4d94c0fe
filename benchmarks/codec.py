# SPDX-License-Identifier: Apache-2.0
"""Times the term codec beside msgpack and erlastic: encode and decode, the same values, one run.

Runs alone in its process. Every round times all libraries one after the other, in an order that
turns from round to round, so that a slow spell of the machine hits all of them; medians are
printed, in microseconds, with the speed relative to msgpack (above 1: faster than msgpack).

    python benchmarks/codec.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import erlastic
import msgpack

from hornbeam_erlang import _codec_compiled, _codec_pure

SECONDS = 0.05  # one library in one round
BASE = "msgpack"

HEADERS = {
    b"host": b"localhost:8000",
    b"user-agent": b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    b"accept": b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"accept-language": b"en-US,en;q=0.5",
    b"accept-encoding": b"gzip, deflate, br",
    b"cookie": b"session=6f1c0b0e7a574f0e8a1d; theme=dark",
    b"connection": b"keep-alive",
    b"referer": b"http://localhost:8000/items",
    b"cache-control": b"max-age=0",
    b"x-request-id": b"6f1c0b0e-7a57-4f0e-8a1d-0f6d8c4a2b11",
}
CONNECTION = _codec_pure.encode_wire((b"http", b"127.0.0.1", 54321, b"127.0.0.1", 8000))
OPEN = (16, 123456, 30000, b"GET", b"/items/42", b"page=2", b"1.1", HEADERS, CONNECTION, b"")
ROWS = [
    {"id": n, "name": f"item {n}", "price": n * 0.25, "tags": ["a", "b"], "active": n % 2 == 0}
    for n in range(10_000)
]
MEBIBYTE = bytes(range(256)) * 4096


@dataclass(frozen=True, slots=True)
class Task:
    """One value to encode and decode; `layer` is the half of our interface that takes it."""

    name: str
    value: Any
    layer: str


TASKS = (
    Task("request tuple (messages)", OPEN, "wire"),
    Task("request tuple (values)", OPEN, "value"),
    Task("list of 10 k maps (values)", ROWS, "value"),
    Task("1 MiB binary (values)", MEBIBYTE, "value"),
    Task("1 MiB binary (messages)", MEBIBYTE, "wire"),
)


def pairs(task: Task) -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """The encoder and decoder of each library for a task."""
    ours: dict[str, Any] = {
        codec.NAME: (codec.encode_wire, codec.decode_wire)
        if task.layer == "wire"
        else (codec.encode, codec.decode)
        for codec in (_codec_compiled, _codec_pure)
    }
    return {
        **ours,
        BASE: (msgpack.packb, lambda data: msgpack.unpackb(data, strict_map_key=False)),
        "erlastic": (erlastic.encode, erlastic.decode),
    }


def without_maps(value: Any) -> Any:
    """erlastic knows no maps: it is given lists of pairs in their place."""
    if isinstance(value, dict):
        return [(without_maps(key), without_maps(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value)(map(without_maps, value))
    return value


def loops(call: Callable[[Any], Any], argument: Any) -> int:
    """How often a call fits into SECONDS, at least once."""
    call(argument)
    start = time.perf_counter()
    call(argument)
    return max(1, int(SECONDS / (time.perf_counter() - start)))


def timed(call: Callable[[Any], Any], argument: Any, count: int) -> float:
    """Microseconds of one call, on average over `count`."""
    start = time.perf_counter()
    for _ in range(count):
        call(argument)
    return (time.perf_counter() - start) / count * 1e6


def measure(runs: dict[str, tuple[Callable[[Any], Any], Any]], rounds: int) -> dict[str, float]:
    """Medians over alternating rounds, by library."""
    counts = {name: loops(call, argument) for name, (call, argument) in runs.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            samples[name].append(timed(*runs[name], counts[name]))
    return {name: statistics.median(values) for name, values in samples.items()}


def results(rounds: int) -> list[dict[str, Any]]:
    """Medians of every task and direction, by library."""
    found = []
    for task in TASKS:
        libraries = pairs(task)
        values = dict.fromkeys(libraries, task.value)
        values["erlastic"] = without_maps(task.value)
        data = {name: encode(values[name]) for name, (encode, _) in libraries.items()}
        encoders = {name: (pair[0], values[name]) for name, pair in libraries.items()}
        decoders = {name: (pair[1], data[name]) for name, pair in libraries.items()}
        for direction, runs in (("encode", encoders), ("decode", decoders)):
            medians = measure(runs, rounds)
            found.append({"task": task.name, "direction": direction, "microseconds": medians})
    return found


def table(found: list[dict[str, Any]]) -> str:
    names = list(found[0]["microseconds"])
    head = f"{'':36}" + "".join(f"{name:>12} {'':>7}" for name in names)
    lines = [head.rstrip()]
    for row in found:
        medians = row["microseconds"]
        cells = (f"{medians[n]:12.2f} {medians[BASE] / medians[n]:6.2f}x" for n in names)
        lines.append(f"{row['task'] + ', ' + row['direction']:36}" + "".join(cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Times the term codec beside others.")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds, 9 by default")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    found = results(options.rounds)
    print(table(found))
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.platform()}
        report = {"rounds": options.rounds, **machine, "unit": "us, median", "results": found}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
