# SPDX-License-Identifier: Apache-2.0
"""What benchmarks that compare in rounds have alike: their options, and where the result goes.

Runs in the process of the benchmark.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import machine


class Size(NamedTuple):
    """How large a turn is: an option.

    Attributes:
        option: its name.
        usual, quick: its value, and that for `--quick`.
        what: for the help.
    """

    option: str
    usual: int | float
    quick: int | float
    what: str


def choose(
    argv: Sequence[str] | None, kind: str, description: str, rounds: int, *sizes: Size
) -> argparse.Namespace:
    """What was chosen: `rounds`, the sizes, `name`.

    Args: kind: begins the name of the result where none is given. rounds: where none are given.
    """
    command = argparse.ArgumentParser(description=description)
    add = command.add_argument
    add("--rounds", type=int, default=rounds, help=f"how often each has its turn ({rounds})")
    for option, usual, _, what in sizes:
        add(f"--{option}", type=type(usual), default=usual, help=f"{what} ({usual})")
    add("--quick", action="store_true", help="one round, with little in it")
    add("--name", help=f"of the result: benchmarks/results/NAME.json ({kind}-TIME)")
    chosen = command.parse_args(argv)
    if chosen.quick:
        chosen.rounds = 1
        for size in sizes:
            setattr(chosen, size.option, size.quick)
    chosen.name = chosen.name or time.strftime(f"{kind}-%Y%m%d-%H%M%S")
    return chosen


def conclude(chosen: argparse.Namespace, shown: str, **found: Any) -> int:
    """Shows the summary and writes all that was found. Returns: 0."""
    path = machine.save(
        chosen.name, {"machine": machine.describe(), "settings": vars(chosen), **found}
    )
    print(shown)
    print(f"all of it: {path}")
    return 0
