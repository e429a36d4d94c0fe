# SPDX-License-Identifier: Apache-2.0
"""Lifespan (ASGI lifespan 2.0) in its three modes: per worker, startup before the first request,
shutdown after the last one.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from hornbeam_erlang.terms import Atom
from live.conftest import ASGI_SERVERS, ASKED, TESTS
from live.serving import Served, text, wait_until

Serve = Callable[..., AbstractContextManager[Served]]


class Log:
    """What the application has logged so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def count(self, line: str) -> int:
        return self.lines().count(line)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "lifespan.log")


@pytest.fixture
def serve(log: Log) -> Serve:
    """`serve(app, *options)`: a server of an app of `apps.lifespan_cases`."""
    run, usual = ASGI_SERVERS[ASKED]

    def one(app: str, *options: tuple[str, object]) -> AbstractContextManager[Served]:
        given = (*usual, *options)
        return run(f"apps.lifespan_cases:{app}", TESTS, *given, LIFESPAN_LOG=str(log.path))

    return one


def mode(name: str) -> tuple[str, object]:
    return ("lifespan", Atom(name))


@contextmanager
def refused(serve: Serve, app: str, *options: tuple[str, object]) -> Iterator[str]:
    """The server does not start; what it says."""
    with pytest.raises(AssertionError) as failure, serve(app, *options):
        pass
    yield str(failure.value)


@pytest.mark.parametrize("name", ["auto", "on"])
def test_startup_and_shutdown(serve: Serve, log: Log, name: str) -> None:
    """Startup comes before the first request, shutdown after TERM, and the server waits until it
    has completed.
    """
    with serve("state", mode(name)) as served:
        assert log.lines() == ["startup 3.0 2.0"]
        assert served.get()[0] == 200
        assert len(log.lines()) == 1
    assert log.lines() == ["startup 3.0 2.0", "shutdown", "shut down"]


def test_off(serve: Serve, log: Log) -> None:
    """`off`: the application is never asked, and there is no state."""
    with serve("state", mode("off")) as served:
        status, body = served.get()
    assert (status, log.lines()) == (200, [])
    assert body in (b"None", b"{}")


def test_state_holds_any_object(serve: Serve) -> None:
    """`state` holds objects that no codec knows; every request gets a shallow copy."""
    with serve("state") as served:
        first, second = served.get()[1].decode(), served.get()[1].decode()
    assert "'opaque': <opaque>" in first
    assert "'function': <built-in function len>" in first
    assert "'shared': []" in first
    assert "'shared': ['seen']" in second  # the same list
    assert "left behind" not in second  # another namespace


def test_state_loop_is_the_one_that_serves(serve: Serve) -> None:
    """Lifespan runs in the worker's loop."""
    with serve("state") as served:
        assert "'loop': 'uvloop'" in served.get()[1].decode()


@pytest.mark.parametrize("name", ["auto", "on"])
@pytest.mark.parametrize("app", ["failed", "failed_raising"])
def test_startup_failed_stops_the_start(serve: Serve, log: Log, name: str, app: str) -> None:
    """`startup.failed` stops the start with its message in every mode."""
    with refused(serve, app, mode(name)) as said:
        assert "the database is asleep" in said
    assert log.lines() == ["failed"]


def test_startup_failed_is_not_heard_when_off(serve: Serve, log: Log) -> None:
    """With `off` there is no startup that could fail."""
    with serve("failed", mode("off")) as served:
        assert served.get() == (200, b"hello")
    assert log.lines() == []


@pytest.mark.parametrize("app", ["raises", "ignores"])
def test_auto_goes_on_without(serve: Serve, log: Log, app: str) -> None:
    """`auto`: an app that does not speak lifespan, which raises or returns, is served without, and
    gets no shutdown.
    """
    with serve(app, mode("auto")) as served:
        assert served.get() == (200, b"hello")
    assert log.lines() == [{"raises": "raises", "ignores": "returns"}[app]]


def test_on_insists(serve: Serve) -> None:
    """`on`: an app that raises instead is not served; the exception is shown."""
    with refused(serve, "raises", mode("on")) as said:
        assert "LookupError: raised in the startup" in said


@pytest.mark.usefixtures("ours")
def test_on_wants_an_answer(serve: Serve) -> None:
    """`on`: an app that returns without an answer is not served either."""
    with refused(serve, "ignores", mode("on")) as said:
        assert "lifespan" in said


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("name", ["auto", "on"])
def test_startup_has_a_deadline(serve: Serve, name: str) -> None:
    """`lifespan_timeout`: a startup that hangs stops the start, and says so."""
    with refused(serve, "hangs", mode(name), ("lifespan_timeout", 300)) as said:
        assert "lifespan" in said


def test_app_that_returns_after_its_startup(serve: Serve, log: Log) -> None:
    """An app may end its lifespan early; it is served, and the end is clean."""
    with serve("returned") as served:
        assert served.get() == (200, b"hello")
    assert log.lines() == ["returned"]
    assert served.process.returncode in (0, -signal.SIGTERM)


def test_shutdown_failed_is_logged(serve: Serve, log: Log) -> None:
    """`shutdown.failed`: the message is logged, the server ends all the same."""
    with serve("shutdown_failed") as served:
        assert served.get() == (200, b"hello")
        served.process.terminate()
        served.process.wait(30)
        assert "the pool leaks" in text(served.stderr)
    assert "shut down" in log.lines()


@pytest.mark.usefixtures("ours")
def test_out_of_order_messages_raise(serve: Serve, log: Log) -> None:
    """The message at fault is quoted; the lifespan goes on."""
    with serve("wrong") as served:
        assert served.get() == (200, b"hello")
        first, second = log.lines()
    assert first.startswith("RuntimeError: ")
    assert "lifespan.shutdown.complete" in first
    assert second.startswith("RuntimeError: ")
    assert "http.response.start" in second
    assert log.lines()[-1] == "shutdown"


def test_background_task_runs_between_requests(serve: Serve, log: Log) -> None:
    """A task started in the lifespan runs while no request does, in the loop that serves, and is
    stopped by the shutdown.
    """
    with serve("background") as served:
        first, same, _ = json.loads(served.get()[1])
        assert same is True

        def ticked() -> bool:
            return bool(json.loads(served.get()[1])[0] > first + 20)

        wait_until(ticked, "the task has run between requests", 10)
    assert log.lines() == ["ticker stopped"]


@pytest.mark.usefixtures("ours")
def test_every_worker_has_its_own(serve: Serve, log: Log) -> None:
    """Each worker has a startup, a state and a shutdown of its own."""
    with serve("state", ("workers", 3)):
        assert log.lines() == ["startup 3.0 2.0"] * 3
    assert log.count("shutdown") == 3
    assert log.count("shut down") == 3


@pytest.mark.usefixtures("ours")
def test_worker_that_is_replaced_shuts_down(serve: Serve, log: Log) -> None:
    """Shutdown arrives when a worker is recycled, and the new one has a startup first."""
    with serve("state", ("max_requests", 5)) as served:
        for _ in range(20):
            assert served.get()[0] == 200
        wait_until(lambda: log.count("shut down") >= 3, "the recycled workers have shut down")
    lines = log.lines()  # once the last ones have ended as well
    assert lines.count("startup 3.0 2.0") == lines.count("shutdown") == lines.count("shut down")


@pytest.mark.usefixtures("ours")
def test_killed_worker_is_replaced_with_a_startup(serve: Serve, log: Log) -> None:
    """A worker that is killed has no shutdown; the one after it has its startup."""
    with serve("state") as served:
        (pid,) = served.worker_pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(log.lines()) == 2, "the next worker starts")
        wait_until(lambda: served.get()[0] == 200, "the next worker serves")
    assert log.count("startup 3.0 2.0") == 2
    assert log.count("shut down") == 1
