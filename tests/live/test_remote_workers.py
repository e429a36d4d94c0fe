# SPDX-License-Identifier: Apache-2.0
"""Workers of other machines serve requests as those of the node do: WSGI, ASGI, WebSockets, state,
messages, files; and what happens when they, their machine or the node end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from live import remote
from live.remote import Place, Remote, ask, front
from live.serving import Served, wait_until
from live.websocket import TEXT, frame, opened

App = tuple[Served, Place]


@pytest.fixture(scope="module")
def wsgi() -> Iterator[App]:
    """A node that has no workers of its own."""
    where = remote.place()
    options = ("--workers", "0", "--remote-workers", "2", "--threads", "2", "--net-ticktime", "4")
    with front("wsgi", where, *options) as served:
        yield served, where


def serves(served: Served, worker: Remote, count: int = 1) -> list[int]:
    """The process ids of the workers, once they serve."""
    pids: set[bytes] = set()

    def look() -> bool:
        assert worker.process.poll() is None, worker.errors()
        # As many at once as no single worker takes.
        with ThreadPoolExecutor(2 * count) as pool:
            answers = list(pool.map(lambda _: served.get("/lazy"), range(2 * count)))
        pids.clear()
        pids.update(body for status, body in answers if status == 200)
        return len(pids) == count

    wait_until(look, f"{count} serve: {worker.errors()}")
    return sorted(map(int, pids))


def test_serves_what_a_port_worker_serves(wsgi: App) -> None:
    """Requests, bodies larger than a window, files of the other machine, state, messages, and
    handlers that both sides have."""
    served, where = wsgi
    with remote.remote(where, "apps.remote_cases:wsgi") as worker:
        assert serves(served, worker) == worker.pids()
        first = ask(served, "state")
        assert ask(served, "state") == first + 1
        assert ask(served, "heard") == {"from": "far", "n": 1}
        assert ask(served, "far")[0] == "far"
        assert served.get("/file") == (200, b"line\n" * 50000)
        status, body = served.get("/named")
        assert (status, body[:4]) == (200, b"# SP")
        connection = served.connection()
        connection.request("POST", "/body", b"x" * 3_000_000)
        assert connection.getresponse().read() == b"3000000"
        connection.close()


def test_killed_in_the_middle_of_a_request(wsgi: App) -> None:
    """What it had started is 502 at once; the command replaces it, and requests that wait are
    served."""
    served, where = wsgi
    with remote.remote(where, "apps.remote_cases:wsgi") as worker, ThreadPoolExecutor() as pool:
        [pid] = serves(served, worker)
        before = ask(served, "started")
        running = pool.submit(served.get, "/sleep?30")
        wait_until(lambda: ask(served, "started") > before, "it has started")
        os.kill(pid, signal.SIGKILL)
        assert running.result(30)[0] == 502
        [other] = serves(served, worker)
        assert other != pid
        assert "attaching again" in worker.errors()


def test_drains(wsgi: App) -> None:
    """SIGTERM: what it holds is finished, new requests go elsewhere, the status is 0."""
    served, where = wsgi
    with (
        remote.remote(where, "apps.remote_cases:wsgi") as first,
        remote.remote(where, "apps.remote_cases:wsgi") as second,
        ThreadPoolExecutor() as pool,
    ):
        serves(served, first, 2)
        slow = [pool.submit(served.get, "/sleep?1") for _ in range(4)]
        first.process.terminate()
        answers = [pool.submit(served.get, "/who") for _ in range(20)]
        assert {answer.result(60)[0] for answer in answers} == {200}
        assert {each.result(60) for each in slow} == {(200, b'"far"')}
        assert first.process.wait(30) == 0, first.errors()
        assert serves(served, second) == second.pids()


def test_a_machine_that_is_silent(wsgi: App) -> None:
    """SIGSTOP for longer than the tick time: its request is 502, the next one is served elsewhere,
    and it attaches itself again when it goes on."""
    served, where = wsgi
    with (
        remote.remote(where, "apps.remote_cases:wsgi") as worker,
        remote.remote(where, "apps.remote_cases:wsgi") as other,
        ThreadPoolExecutor() as pool,
    ):
        [one, two] = serves(served, worker, 2)
        [stopped] = worker.pids()
        assert stopped in (one, two)
        os.kill(stopped, signal.SIGSTOP)
        try:
            answers = [pool.submit(served.get, "/sleep?0.2") for _ in range(8)]
            assert {answer.result(60)[0] for answer in answers} == {200, 502}
            assert {served.get("/who")[0] for _ in range(8)} == {200}
        finally:
            os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: worker.pids() not in ([], [stopped]), worker.errors())
        [_, _] = serves(served, other, 2)


def test_the_node_starts_again() -> None:
    """A worker whose node has gone attaches itself again when there is one."""
    where = remote.place()
    options = ("--workers", "0", "--remote-workers", "1")
    with ExitStack() as stack:
        with front("wsgi", where, *options) as served:
            worker = stack.enter_context(remote.remote(where, "apps.remote_cases:wsgi"))
            [first] = serves(served, worker)
            os.kill(served.node_pid(), signal.SIGKILL)
        with front("wsgi", where, *options) as served:
            [second] = serves(served, worker)
            assert second != first


def test_asgi() -> None:
    """An event loop at the other end: requests at once, a WebSocket, no path send."""
    where = remote.place()
    options = ("--workers", "0", "--remote-workers", "1", "--interface", "asgi")
    with front("asgi", where, *options) as served, ThreadPoolExecutor(8) as pool:
        with remote.remote(where, "apps.remote_cases:asgi"):
            wait_until(lambda: served.get("/")[0] == 200, "it serves")
            answers = list(pool.map(lambda _: ask(served, ""), range(40)))
            counts = sorted(count for _, count, _ in answers)
            assert counts == list(range(counts[0], counts[0] + 40))
            assert answers[0][2] == ["http.response.early_hint"]
            with opened(served, "/") as socket:
                assert socket.text() == "far"
                socket.send(frame(TEXT, b"hello"))
                assert socket.text() == "HELLO"
