# SPDX-License-Identifier: Apache-2.0
"""Shared state through a real node and real workers."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect

from apps import state_cases
from live import serving
from live.conftest import TESTS, Start
from live.serving import Served, wait_until

APP = "apps.state_cases:application"
WRITERS = 100
# Of each writer; `make chaos` asks for 10,000.
INCREMENTS = int(os.environ.get("HORNBEAM_INCREMENTS", "200"))


CASES = [case.__name__ for case in (*state_cases.CASES, *state_cases.ASYNC_CASES)]


@pytest.mark.parametrize("threads", ["1", "4"])
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, threads: str, start: Start) -> None:
    """What the case's own sentence says, in a worker with one thread and in one with four."""
    served = start(APP, "--threads", threads)
    status, body = served.get(f"/{case}")
    assert (status, body) == (200, b"ok"), served.errors()[-4000:]


@pytest.mark.parametrize("case", CASES)
def test_case_in_a_plain_thread(case: str, start: Start) -> None:
    """The same in a thread that the application has started, while the worker's only one waits."""
    served = start(APP, "--threads", "1")
    status, body = served.get(f"/thread/{case}")
    assert (status, body) == (200, b"ok"), served.errors()[-4000:]


@pytest.mark.parametrize("where", ["", "/thread", "/task"])
@pytest.mark.parametrize("case", CASES)
def test_asgi_case(case: str, where: str, start: Start) -> None:
    """The same in the event loop of an ASGI worker, in a thread beside it, in a task."""
    served = start("apps.state_cases:asgi", "--interface", "asgi")
    status, body = served.get(f"{where}/{case}")
    assert (status, body) == (200, b"ok"), served.errors()[-4000:]


@pytest.mark.parametrize("case", CASES)
def test_websocket_case(case: str, start: Start) -> None:
    """The same in the handler of a WebSocket."""
    served = start("apps.state_cases:asgi", "--interface", "asgi")
    with connect(f"ws://{served.host}:{served.port}/{case}") as socket:
        assert socket.recv(timeout=30) == "ok", served.errors()[-4000:]


def count(served: Served, path: Path, times: int) -> int:
    connection = served.connection(timeout=100)
    try:
        connection.request("GET", f"/count?{path}&{times}")
        response = connection.getresponse()
        response.read()
        return response.status
    except OSError:
        return 0  # the connection ended with its worker
    finally:
        connection.close()


def acknowledged(folder: Path) -> list[int]:
    """Every value that a writer was told, in whatever order."""
    lines = [line for file in folder.iterdir() for line in file.read_bytes().splitlines()]
    return sorted(map(int, lines))


def writing(served: Served, folder: Path, pool: ThreadPoolExecutor) -> list[int]:
    jobs = [pool.submit(count, served, folder / str(n), INCREMENTS) for n in range(WRITERS)]
    return [job.result() for job in jobs]


def test_a_hundred_writers_lose_nothing(tmp_path: Path) -> None:
    """A hundred writers in two workers of four threads: every value from 1 is given out once."""
    options = ("--workers", "2", "--threads", "4", "--timeout", "100000")
    with serving.serving(APP, TESTS, *options) as served, ThreadPoolExecutor(WRITERS) as pool:
        assert writing(served, tmp_path, pool) == [200] * WRITERS
        assert served.get("/counter") == (200, str(WRITERS * INCREMENTS).encode())
    assert acknowledged(tmp_path) == list(range(1, WRITERS * INCREMENTS + 1))


def test_killed_workers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Workers are killed while they count: what was acknowledged is there, once; no more is there
    than that and what was under way."""
    options = ("--workers", "2", "--threads", "4", "--timeout", "100000")
    kills = 3
    with serving.serving(APP, TESTS, *options) as served, ThreadPoolExecutor(WRITERS + 1) as pool:
        writers = pool.submit(writing, served, tmp_path, pool)
        for _ in range(kills):
            before = len(acknowledged(tmp_path))
            wait_until(
                lambda seen=before: writers.done() or len(acknowledged(tmp_path)) > seen + 50,  # type: ignore[misc]
                "writers go on",
            )
            assert not writers.done(), "the writers were ready before the workers were killed"
            for pid in served.worker_pids():
                os.kill(pid, signal.SIGKILL)
        statuses = writers.result()
        wait_until(lambda: served.get("/counter")[0] == 200, "a worker serves again")
        total = int(served.get("/counter")[1])
    values = acknowledged(tmp_path)
    assert set(statuses) > {200}, "no request was hurt: nothing was tested"
    assert len(set(values)) == len(values)
    assert values[-1] <= total
    assert len(values) <= total <= len(values) + kills * 2 * 4
