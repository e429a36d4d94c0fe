# SPDX-License-Identifier: Apache-2.0
"""What the task of a request costs: `loop.create_task` beside hornbeam's lazy tasks.

Runs alone: `python benchmarks/tasks.py`. Prints processor time per coroutine, the least of several
rounds, for coroutines that end at once and such that wait for the loop once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from hornbeam_erlang._asgi_task import LazyTask, Runner

COUNT = 50_000
BATCH = 50  # coroutines started in one turn of the loop
ROUNDS = 5

Make = Callable[[], Coroutine[Any, Any, None]]


class Request(LazyTask):
    """A lazy task as a request has it, without the request."""

    __slots__ = ("make",)

    make: Make

    def __init__(self, make: Make) -> None:
        self.make = make

    def first_step(self) -> Any:
        self.coroutine = self.make()
        return self.coroutine.send(None)

    def returned(self) -> None:
        pass

    def raised(self, exc: BaseException) -> None:
        raise exc


async def ends() -> None:
    pass


async def waits() -> None:
    await asyncio.sleep(0)


async def measure(start: Callable[[], object]) -> float:
    """Microseconds of processor time for each call of `start`, and what it starts."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = COUNT

    def turn() -> None:
        nonlocal left
        for _ in range(BATCH):
            start()
        left -= BATCH
        if left:
            loop.call_soon(turn)
        else:
            loop.call_soon(loop.call_soon, done.set_result, None)

    began = time.process_time()
    loop.call_soon(turn)
    await done
    return (time.process_time() - began) / COUNT * 1e6


async def compare(make: Make) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    runner = Request.runner = Runner(loop)
    base = copy_context()
    plain, lazy = [], []
    for _ in range(ROUNDS):
        plain.append(await measure(lambda: loop.create_task(make(), context=base.copy())))
        lazy.append(await measure(lambda: runner.run(Request(make), base.copy())))
    return min(plain), min(lazy)


def main() -> None:
    print(f"{'':10}{'':8}{'create_task':>12}{'lazy':>8}   us")
    for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        with asyncio.Runner(loop_factory=factory) as loops:
            for make in (ends, waits):
                plain, lazy = loops.run(compare(make))
                print(f"{name:10}{make.__name__:8}{plain:12.2f}{lazy:8.2f}")


if __name__ == "__main__":
    main()
