# SPDX-License-Identifier: Apache-2.0
"""What a plain Python program may ask of a node that it has started: here the program is pytest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

import hornbeam_erlang as hornbeam
from hornbeam_erlang import aio

THREADS = 8
SECONDS = 30.0


@pytest.fixture(scope="module")
def node() -> Iterator[hornbeam.Node]:
    with hornbeam.start(state_max_entries=1000, threads=4) as started:
        yield started


pytestmark = pytest.mark.usefixtures("node")


class Numbers:
    """A handler: what a program offers to others."""

    def double(self, number: int) -> int:
        return 2 * number

    async def later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    def count(self, number: int) -> Iterator[int]:
        yield from range(number)

    def factorial(self, number: int) -> int:
        if number == 0:
            return 1
        smaller: int = hornbeam.execute("numbers", "factorial", number - 1)
        return number * smaller

    def fail(self) -> None:
        raise ValueError("no number")


@pytest.fixture(scope="module")
def numbers(node: hornbeam.Node) -> Iterator[str]:
    hornbeam.register_hook("numbers", Numbers)
    yield "numbers"
    hornbeam.unregister_hook("numbers")


def test_values_come_back_as_they_were() -> None:
    """The shared state of the node keeps values of every kind apart."""
    values = {"text": "é", "bytes": b"\xff", "big": 2**80, "list": [1, (None, True)], "map": {1: 2}}
    hornbeam.state_set("values", values)
    assert hornbeam.state_get("values") == values
    assert hornbeam.state_get("nothing") is None


def test_threads_count_together() -> None:
    """Increments from many threads at once: none is lost."""
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(hornbeam.state_incr, "together") for _ in range(100 * THREADS)]
        assert {job.result(SECONDS) for job in jobs} == set(range(1, 100 * THREADS + 1))


def test_loop_counts_beside_threads() -> None:
    """An event loop awaits many calls at once, while threads make others."""

    async def count() -> list[int]:
        return await asyncio.gather(*(aio.state_incr("beside") for _ in range(200)))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(hornbeam.state_incr, "beside") for _ in range(200)]
        counted = asyncio.run(count()) + [job.result(SECONDS) for job in jobs]
    assert sorted(counted) == list(range(1, 401))


def test_blocking_call_inside_a_loop() -> None:
    """Where a loop runs already, as in a notebook, the blocking functions work on its thread."""

    async def cell() -> tuple[int, int]:
        return hornbeam.state_incr("cell"), await aio.state_incr("cell")

    assert asyncio.run(cell()) == (1, 2)


def test_handlers_of_the_program(numbers: str) -> None:
    """What it registers is executed by the node: functions, coroutines, streams, tasks."""
    assert hornbeam.execute(numbers, "double", 4) == 8
    assert hornbeam.execute(numbers, "later", 4) == 5
    assert list(hornbeam.stream(numbers, "count", 100)) == list(range(100))
    task = hornbeam.execute_async(numbers, "double", 21)
    assert hornbeam.await_result(task) == 42
    with pytest.raises(hornbeam.HandlerError, match="no number"):
        hornbeam.execute(numbers, "fail")


def test_handlers_that_call_themselves(numbers: str) -> None:
    """A handler that executes itself deeper than there are threads is served on the waiting one."""
    assert hornbeam.execute(numbers, "factorial", 20) == 2432902008176640000


def test_handlers_at_once(numbers: str) -> None:
    """Two executions run at the same time, each in a thread of its own: they meet."""
    barrier = threading.Barrier(2, timeout=SECONDS)
    hornbeam.register_hook("meeting", lambda _action: barrier.wait() >= 0)
    with ThreadPoolExecutor(2) as pool:
        met = [pool.submit(hornbeam.execute, "meeting", "") for _ in range(2)]
        assert [job.result(SECONDS) for job in met] == [True, True]
    hornbeam.unregister_hook("meeting")


def test_executed_from_a_loop(numbers: str) -> None:
    """An event loop executes handlers of its own program, and reads their streams."""

    async def run() -> tuple[int, list[int]]:
        items = [item async for item in aio.stream(numbers, "count", 40)]
        return await aio.execute(numbers, "double", 5), items

    assert asyncio.run(run()) == (10, list(range(40)))


def test_messages_between_threads_and_a_loop() -> None:
    """A thread receives what an event loop publishes, and the other way round."""
    with hornbeam.subscription("to thread") as mine:

        async def converse() -> object:
            async with await aio.subscription("to loop") as its:
                assert await aio.publish("to thread", b"1") == 1
                await asyncio.to_thread(hornbeam.publish, "to loop", "2")
                return await its.receive_async(SECONDS)

        answer = asyncio.run(converse())
        assert answer == ("to loop", "2")
        assert mine.receive(SECONDS) == ("to thread", b"1")


def test_cached_once() -> None:
    """Threads that want the same result compute it once."""
    runs: list[int] = []

    def compute() -> int:
        runs.append(12)
        return 144

    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(hornbeam.cached, "square of 12", compute) for _ in range(40)]
        assert {job.result(SECONDS) for job in jobs} == {144}
    assert runs == [12]


def test_pipeline_and_missing_function() -> None:
    """Pipelines are one round trip; what nobody has registered is NotRegistered."""
    with hornbeam.pipeline() as pipeline:
        one, two = pipeline.incr("piped"), pipeline.incr("piped", 5)
    assert (one.result(), two.result()) == (1, 6)
    with pytest.raises(hornbeam.NotRegistered):
        hornbeam.call("nobody")


def test_options_hold(node: hornbeam.Node) -> None:
    """Options of the node are obeyed: the state takes no more entries than were asked for."""
    assert hornbeam.state_info()["max_entries"] == 1000


def test_start_in_many_threads(node: hornbeam.Node) -> None:
    """Threads that start a node at the same time get one and the same."""
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(hornbeam.start, state_max_entries=1000) for _ in range(THREADS)]
        assert {job.result(SECONDS) for job in jobs} == {node}


def test_start_again(node: hornbeam.Node) -> None:
    """The same arguments give the same node; others are refused, and named."""
    assert hornbeam.start(state_max_entries=1000, threads=4) is node
    with pytest.raises(RuntimeError, match="another state_max_bytes: stop it first"):
        hornbeam.start(state_max_entries=1000, threads=4, state_max_bytes=inf)
    assert node.is_running
