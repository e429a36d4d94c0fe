# SPDX-License-Identifier: Apache-2.0
"""Providers of hooks on other machines: chosen by label, nested with workers of the node, and what
callers see when they end; and whom the node refuses."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from live import remote
from live.remote import COOKIE, WORKER, Place, ask, front
from live.serving import ROOT, Served, wait_until

HOOKS = ("--hooks", "apps.remote_cases")
GPU = (*HOOKS, "--label", "gpu=1")

App = tuple[Served, Place]


@pytest.fixture(scope="module")
def near() -> Iterator[App]:
    """A node with one worker, of one thread."""
    where = remote.place()
    with front("wsgi", where, "--workers", "1", "--remote-clients", "2") as served:
        yield served, where


def test_handlers_of_another_machine(near: App) -> None:
    """They are executed, streamed, run in the background; by label where labels are wanted; ten
    deep to and fro between two workers of one thread each; and are gone with their worker."""
    served, where = near
    assert ask(served, "far") == "NotRegistered"
    with remote.remote(where, *GPU) as worker:
        wait_until(lambda: ask(served, "far") == ["far", *worker.pids()], worker.errors())
        assert ask(served, "gpu?1") == ["far", *worker.pids()]
        assert ask(served, "gpu?2") == "NotRegistered"
        assert ask(served, "down?10") == ["far", "near"] * 5 + ["far"]
        assert ask(served, "items?40") == [n * n for n in range(40)]
        assert ask(served, "big?9000000") == 9_000_000
        assert ask(served, "task") is True
        worker.process.terminate()
        assert worker.process.wait(30) == 0, worker.errors()
    assert ask(served, "far") == "NotRegistered"


def test_a_provider_is_killed(near: App, tmp_path: Path) -> None:
    """The call that it had is NodeDown; another one takes its place."""
    served, where = near
    started = tmp_path / "started"
    provider = remote.remote(where, *GPU, REMOTE_STARTED=str(started))
    with provider as worker, ThreadPoolExecutor() as pool:
        wait_until(lambda: ask(served, "far") == ["far", *worker.pids()], worker.errors())
        [pid] = worker.pids()
        slow = pool.submit(ask, served, "slow?15")
        wait_until(started.exists, "it runs")
        os.kill(pid, signal.SIGKILL)
        assert slow.result(30) == "NodeDown"
        wait_until(lambda: ask(served, "far") not in ("NotRegistered", "NodeDown"), "again")
        assert worker.pids() != [pid]


REFUSALS = [
    (["nobody:app"], "does not serve nobody:app"),
    (["apps.remote_cases:wsgi"], "set its option remote_workers"),
    (["--hooks", "apps.there_is_none"], "no module named"),
    (["--cookie", "wrong", "apps.remote_cases:wsgi"], "cookie"),
]


@pytest.mark.parametrize(("options", "text"), REFUSALS, ids=["app", "enabled", "module", "cookie"])
def test_refused(near: App, options: list[str], text: str) -> None:
    """The command says why, and its status is 1."""
    _, where = near
    argv = [*WORKER, "--node", where.name, "--dist-port", str(where.port), "--app-dir", "tests"]
    variables = {**os.environ, "HORNBEAM_COOKIE": COOKIE}
    done = subprocess.run(
        [*argv, *options], cwd=ROOT, env=variables, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert text in done.stderr.decode()


def test_no_node() -> None:
    """Without a node the command gives up after the time that it was given."""
    where = remote.place()
    argv = [*WORKER, "--node", where.name, "--dist-port", str(where.port), "--cookie", "none"]
    done = subprocess.run(
        [*argv, "--connect-timeout", "0.5", "a:b"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert b"cannot be reached" in done.stderr
