# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls become one call of the model, from threads and from event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hornbeam_ml import Batched, batched


def doubling(sizes: list[int], max_size: int, wait_ms: float = 2000) -> Batched[int, int]:
    """A model that doubles; `sizes` gets the size of each batch."""

    @batched(max_size, wait_ms)
    def double(inputs: list[int]) -> list[int]:
        sizes.append(len(inputs))
        return [value * 2 for value in inputs]

    return double


def test_threads_share_one_call() -> None:
    """As many threads as a batch may hold run the model once, and each gets its own result."""
    sizes: list[int] = []
    double = doubling(sizes, 8)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(double, range(8))) == [value * 2 for value in range(8)]
    assert sizes == [8]


def test_lone_call_does_not_wait_for_ever() -> None:
    """A call that nobody joins runs alone when its time is over."""
    sizes: list[int] = []
    assert doubling(sizes, 8, wait_ms=1)(21) == 42
    assert sizes == [1]


def test_failure_reaches_all_threads_of_the_batch() -> None:
    """What the model raises is raised in every thread whose input was in the batch."""

    @batched(4, 2000)
    def fail(inputs: list[int]) -> list[int]:
        raise OSError(f"{len(inputs)} inputs")

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(fail, value) for value in range(4)]
        for call in calls:
            with pytest.raises(OSError, match="4 inputs"):
                call.result(20)


def test_wrong_number_of_results() -> None:
    """A model that returns another number of results is an error that says so."""

    @batched(1)
    def short(inputs: list[int]) -> list[int]:
        return []

    with pytest.raises(ValueError, match="0 results for 1 inputs"):
        short(1)


def test_loop_shares_one_call_in_a_thread() -> None:
    """Tasks of a loop share one call, which does not run in the loop's thread."""
    threads: list[int] = []

    @batched(16, 5)
    def double(inputs: list[int]) -> list[int]:
        threads.append(threading.get_ident())
        return [value * 2 for value in inputs]

    async def work() -> list[Any]:
        return await asyncio.gather(*(double.call_async(value) for value in range(10)))

    assert asyncio.run(work()) == [value * 2 for value in range(10)]
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_full_batch_starts_at_once() -> None:
    """A batch does not wait when it is full; the rest goes in the next."""
    sizes: list[int] = []
    double = doubling(sizes, 4, wait_ms=50)

    async def work() -> list[int]:
        return await asyncio.gather(*(double.call_async(value) for value in range(10)))

    assert asyncio.run(work()) == [value * 2 for value in range(10)]
    assert sorted(sizes) == [2, 4, 4]


def test_coroutine_function_is_awaited() -> None:
    """A model that is a coroutine function is awaited in the loop; its failure reaches all."""

    @batched(4, 1)
    async def invert(inputs: list[int]) -> list[float]:
        await asyncio.sleep(0)
        return [1 / value for value in inputs]

    async def work() -> list[float | BaseException]:
        good = await asyncio.gather(*(invert.call_async(value) for value in (1, 2)))
        bad = await asyncio.gather(
            *(invert.call_async(value) for value in (1, 0)), return_exceptions=True
        )
        return [*good, *bad]

    *good, first, second = asyncio.run(work())
    assert good == [1.0, 0.5]
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)


def test_cancelled_call_leaves_the_others() -> None:
    """A task that is cancelled takes its input out of the batch; the others get their results."""
    sizes: list[int] = []
    double = doubling(sizes, 8, wait_ms=20)

    async def work() -> list[int]:
        tasks = [asyncio.ensure_future(double.call_async(value)) for value in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return [await tasks[0], await tasks[2]]

    assert asyncio.run(work()) == [0, 4]
    assert sizes == [2]


@pytest.mark.parametrize("make", [lambda: batched(0), lambda: batched(1, -1)])
def test_bad_sizes(make: Callable[[], Callable[..., object]]) -> None:
    """Sizes and waits out of range are refused where the function is made."""
    with pytest.raises(ValueError, match="expected"):
        make()(list)
