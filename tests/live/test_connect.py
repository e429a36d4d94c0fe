# SPDX-License-Identifier: Apache-2.0
"""Programs that are attached to a node which runs already: with everything that a program with a
node of its own has, and gone when they are."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import hornbeam_erlang as hornbeam
from hornbeam_erlang import aio
from live.programs import Program, outcome, program
from live.serving import alive, wait_until

SECONDS = 30.0
COOKIE = secrets.token_hex(8)

# The node to attach to: that of another program, which registers a handler, too.
TARGET = """
import hornbeam_erlang as hornbeam, sys

node = hornbeam.start(name={name!r}, cookie={cookie!r}, remote_clients={limit})
hornbeam.register_hook("theirs", lambda action, number: 10 * number)
print(node.name, node.pid, flush=True)
import time; time.sleep(600)
"""
ATTACHED = """
import sys, time
import hornbeam_erlang as hornbeam

def show(what):
    sys.stdout.write(f"{{what}}\\n")
    sys.stdout.flush()

connection = hornbeam.connect({node!r}, {cookie!r})
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A node that runs: its name, its process, and the program that it belongs to."""

    name: str
    pid: int
    running: Program


def start_target(running: Program) -> Target:
    name, pid = running.line().split()
    return Target(name, int(pid), running)


def source(limit: int = 64) -> str:
    name = f"target-{os.getpid()}-{secrets.token_hex(4)}"
    return TARGET.format(name=name, cookie=COOKIE, limit=limit)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with program(source()) as running:
        yield start_target(running)


@pytest.fixture
def connection(target: Target) -> Iterator[hornbeam.Connection]:
    with hornbeam.connect(target.name, COOKIE) as made:
        yield made


def attached(target: Target, rest: str) -> str:
    return ATTACHED.format(node=target.name, cookie=COOKIE) + rest


def test_everything_works(target: Target, connection: hornbeam.Connection) -> None:
    """State, messages, handlers of both programs, streams, tasks, calls of nodes: as anywhere."""
    hornbeam.state_set("values", {"bytes": b"\xff", "text": "é", "big": 2**80})
    assert hornbeam.state_get("values") == {"bytes": b"\xff", "text": "é", "big": 2**80}
    assert (hornbeam.node(), connection.node) == (target.name, target.name)
    assert hornbeam.execute("theirs", "", 4) == 40
    hornbeam.register_hook("mine", lambda _action, number: iter(range(number)))
    assert list(hornbeam.stream("mine", "", 50)) == list(range(50))
    hornbeam.unregister_hook("mine")
    task = hornbeam.execute_async("theirs", "", 5)
    assert hornbeam.await_result(task) == 50
    with hornbeam.subscription("topic") as messages:
        assert hornbeam.publish("topic", "text") == 1
        assert messages.receive(SECONDS) == ("topic", "text")
    assert hornbeam.rpc_call(target.name, "erlang", "node", []) == target.name


def test_threads_and_loops(connection: hornbeam.Connection) -> None:
    """Threads and an event loop call at the same time; every increment counts once."""
    hornbeam.state_delete("together")

    async def count() -> list[int]:
        return await asyncio.gather(*(aio.state_incr("together") for _ in range(100)))

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(hornbeam.state_incr, "together") for _ in range(300)]
        counted = asyncio.run(count()) + [job.result(SECONDS) for job in jobs]
    assert sorted(counted) == list(range(1, 401))


@pytest.mark.parametrize("size", [65_500, 65_600, 3_000_000])
def test_large_values(connection: hornbeam.Connection, size: int) -> None:
    """Values around and far beyond the size of a fragment come back as they were."""
    data = os.urandom(size)
    hornbeam.state_set("large", data)
    assert hornbeam.state_get("large") == data


def test_from_a_loop(target: Target) -> None:
    """An event loop attaches its program, while it goes on."""

    async def main() -> int:
        with await aio.connect(target.name, COOKIE):
            return await aio.execute("theirs", "", 3)  # type: ignore[no-any-return]

    assert asyncio.run(main()) == 30


def test_close_and_again(target: Target) -> None:
    """A closed connection is no connection; closing again does nothing; another one can be made."""
    connection = hornbeam.connect(target.name, COOKIE)
    hornbeam.cast("nobody")
    connection.close()
    connection.close()
    with pytest.raises(hornbeam.NotConnected, match=r"connect again with hornbeam_erlang.connect"):
        hornbeam.state_get("x")
    with hornbeam.connect(target.name, COOKIE):
        assert hornbeam.node() == target.name
    assert not [fd for fd in os.listdir("/proc/self/fd") if _is_to(fd, target.pid)]


def _is_to(fd: str, pid: int) -> bool:
    """Whether a descriptor of ours is a TCP socket that is connected."""
    try:
        place = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    rows = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return any(place == f"socket:[{row.split()[9]}]" and row.split()[3] == "01" for row in rows)


def test_programs_serve_each_other(target: Target, connection: hornbeam.Connection) -> None:
    """A second attached program executes a handler of this one; both see one state."""
    hornbeam.register_hook("served", lambda _action, text: text[::-1])
    rest = "show((hornbeam.execute('served', '', 'abc'), hornbeam.state_incr('both')))\n"
    before = hornbeam.state_incr("both")
    status, lines, errors = outcome(attached(target, rest))
    assert (status, errors, lines) == (0, "", [str(("cba", before + 1))])
    hornbeam.unregister_hook("served")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_program_is_forgotten(target: Target, number: signal.Signals) -> None:
    """A program that is killed takes its handlers along, at once; the node goes on."""
    rest = "hornbeam.register_hook('short', lambda action: 1)\nshow('ready')\ntime.sleep(600)\n"
    with (
        hornbeam.connect(target.name, COOKIE),
        program(attached(target, rest)) as running,
    ):
        assert running.line() == "ready"
        assert hornbeam.execute("short", "") == 1
        running.send(number)
        assert running.status() == -number
        wait_until(lambda: not _is_served("short"), "its handler is gone")
    assert alive(target.pid)


def _is_served(path: str) -> bool:
    try:
        return bool(hornbeam.execute(path, "") == 1)
    except (hornbeam.NotRegistered, hornbeam.NodeDown):
        return False


def test_node_that_ends() -> None:
    """The node is killed: what waits gets NodeDown, what comes later NotConnected, and the program
    can attach itself to another one."""
    with program(source()) as first, program(source()) as second:
        one, two = start_target(first), start_target(second)
        hornbeam.connect(one.name, COOKIE)
        messages = hornbeam.subscription("never")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(messages.receive, None)
            os.kill(one.pid, signal.SIGKILL)
            with pytest.raises(hornbeam.NodeDown):
                waiting.result(SECONDS)
        with pytest.raises(hornbeam.NotConnected):
            hornbeam.state_get("x")
        with hornbeam.connect(two.name, COOKIE):
            assert hornbeam.node() == two.name


def test_forked_child(target: Target) -> None:
    """A forked child has no part in the connection, and may make one of its own."""
    rest = """
import os
child = os.fork()
if child == 0:
    try:
        hornbeam.state_get("x")
    except hornbeam.NotConnected as exc:
        show("forked child" in str(exc))
    connection.close()
    with hornbeam.connect(connection.node, sys.argv[-1] or None) as own:
        show(hornbeam.state_incr("forked"))
    sys.exit(0)
os.waitpid(child, 0)
show(hornbeam.state_incr("forked"))
hornbeam.state_delete("forked")
"""
    status, lines, errors = outcome(
        attached(target, rest).replace("sys.argv[-1] or None", repr(COOKIE))
    )
    assert (status, errors, lines) == (0, "", ["True", "1", "2"])


def test_refusals(target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another cookie, no cookie, no such node, no EPMD, a node that takes nobody: each is told."""
    with pytest.raises(hornbeam.NodeDown, match="cookie"):
        hornbeam.connect(target.name, "another")
    with pytest.raises(hornbeam.NodeDown, match="does not know a node of this name"):
        hornbeam.connect("nobody@127.0.0.1", COOKIE)
    with pytest.raises(hornbeam.NodeDown, match="cannot be reached"):
        hornbeam.connect(target.name, COOKIE, port=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HORNBEAM_COOKIE", raising=False)
    with pytest.raises(hornbeam.NotConnected, match="give the cookie of the node"):
        hornbeam.connect(target.name)
    monkeypatch.setenv("HORNBEAM_COOKIE", COOKIE)
    with hornbeam.connect(target.name):
        assert hornbeam.node() == target.name
    with program(source(limit=0)) as running:
        closed = start_target(running)
        with pytest.raises(hornbeam.NotConnected, match="set its option remote_clients"):
            hornbeam.connect(closed.name, COOKIE)


def test_start_and_connect(target: Target, connection: hornbeam.Connection) -> None:
    """A program that is attached starts no node, and connecting connects its node to others."""
    with pytest.raises(RuntimeError, match="connected to a node already"):
        hornbeam.start()
    with program(source()) as running:
        other = start_target(running)
        with hornbeam.connect(other.name) as second:
            assert second.node == other.name
            assert other.name in hornbeam.nodes()
        assert other.name not in hornbeam.nodes()
        assert hornbeam.node() == target.name
