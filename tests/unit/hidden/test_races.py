# SPDX-License-Identifier: Apache-2.0
"""What happens at the same time in a Python node: threads that call while connections end, waits
that are given up while what they wait for comes. Without another node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._distribution_framing import Limits
from hornbeam_erlang._hidden_arrivals import Arrivals
from hornbeam_erlang._hidden_core import Core, Pending, Wire
from hornbeam_erlang._hidden_mailbox import Mailbox
from hornbeam_erlang._hidden_peers import Peers
from hornbeam_erlang._hidden_waits import Operation, awaiting, blocking
from hornbeam_erlang.errors import CallTimeout, Cancelled, NodeDown, NotConnected
from hornbeam_erlang.terms import Atom, Pid

PEER = "peer@h"
THERE = Pid(Atom(PEER), 1, 0, 3)


class Talk:
    """What a connection would say; nobody hears it."""

    def __getattr__(self, name: str) -> Callable[..., bytes]:
        return lambda *_: b""


class DeafWire:
    """A connection to a node that is lost as soon as something is written to it."""

    core: Any = Talk()

    def __init__(self) -> None:
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.on_write()

    def room(self) -> Future[None] | None:
        return None


class Setting:
    """A node's tables with one connection."""

    def __init__(self) -> None:
        self.core = Core("a@h", 3, self._connect)
        self.arrivals = Arrivals(self.core, lambda wire, event: None)
        self.wire = DeafWire()
        self.core.wires[PEER] = self.wire

    def _connect(self, node: str) -> Future[Wire]:
        failed: Future[Wire] = Future()
        failed.set_exception(NodeDown(node, "not there"))
        return failed

    def lose(self) -> None:
        """The connection ends."""
        self.core.wires.pop(PEER, None)
        self.arrivals.node_down(PEER)


class MeanwhilePending(Pending):
    """A request during whose inspection another thread makes one more."""

    core: Core

    @property
    def node(self) -> str:
        self.core.pending[self.core.identifiers.ref()] = Pending(PEER)
        return PEER

    @node.setter
    def node(self, node: str) -> None: ...


def test_calls_begin_while_a_connection_ends() -> None:
    """The end of a connection is told to whoever waits, whatever other threads ask meanwhile."""
    setting = Setting()
    waiting = [MeanwhilePending(PEER) for _ in range(3)]
    for pending in waiting:
        pending.core = setting.core
        setting.core.pending[setting.core.identifiers.ref()] = pending
    setting.lose()
    assert [pending.future.result(0)[0] for pending in waiting] == ["down"] * 3


@pytest.mark.parametrize("what", ["monitor", "link"])
def test_a_connection_that_ends_while_it_is_used_is_told_once(what: str) -> None:
    """Who monitors or links is told by the exception or by a message, never by both."""
    setting = Setting()
    process = setting.core.spawn()
    setting.wire.on_write = setting.lose
    operation = getattr(setting.core, what)(process, THERE)
    told = []
    try:
        blocking(operation, 1.0, what)
    except NodeDown:
        told.append("exception")
    told += ["message"] * len(process.mailbox)
    assert len(told) == 1


def test_processes_that_have_ended_are_given_nothing() -> None:
    """A name, a link, a monitor, news of nodes: nothing that nobody would ever take away again."""
    setting = Setting()
    core, process = setting.core, setting.core.spawn()
    core.end(process, Atom("normal"))
    with pytest.raises(NotConnected, match="has ended"):
        core.register("name", process)
    with pytest.raises(NotConnected, match="has ended"):
        core.watch_nodes(process, True)
    for operation in (core.link(process, THERE), core.monitor(process, THERE)):
        with pytest.raises(NotConnected, match="has ended"):
            blocking(operation, 1.0, "link")
    assert not core.names
    assert not core.node_watchers
    assert not process.links
    assert not process.monitors


def test_a_name_that_is_taken_leaves_no_process() -> None:
    """A process that cannot have its name is not there."""
    core = Setting().core
    core.spawn("taken")
    before = len(core.processes)
    with pytest.raises(ValueError, match="taken"):
        core.spawn("taken")
    assert len(core.processes) == before


def test_a_message_that_is_given_back_wakes_who_waits_next() -> None:
    """Of two receivers the first is given up when it has the message: the second one gets it."""
    mailbox = Mailbox(1000)
    first, second = mailbox.receive(), mailbox.receive()
    next(first)
    waiter = next(second)
    mailbox.put(codec.encode("for whoever is there"))
    with pytest.raises(CallTimeout):
        first.throw(CallTimeout("receive", 0))
    assert codec.decode(waiter.result(0)) == "for whoever is there"
    assert len(mailbox) == 0


def test_a_future_that_is_cancelled_cancels_no_task() -> None:
    """In an event loop, too, an operation that was given up elsewhere raises Cancelled; only the
    task's own cancellation is one."""

    def waits(future: Future[int]) -> Operation[None]:
        yield future

    async def run() -> None:
        future: Future[int] = Future()
        loop = asyncio.get_running_loop()
        loop.call_soon(future.cancel)
        with pytest.raises(Cancelled):
            await awaiting(waits(future), 60.0, "waiting")
        task = asyncio.ensure_future(awaiting(waits(Future()), 60.0, "waiting"))
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_connections_of_both_sides_that_fail_again_and_again() -> None:
    """Waiting for the other node's connection can be given up, and be done anew the next time."""

    async def run() -> None:
        peers = Peers(asyncio.get_running_loop(), "cookie", 60.0, Limits(), None)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await peers._from_there(PEER)
        assert not peers._arrived

    asyncio.run(run())


def test_a_connection_is_kept_by_one_task() -> None:
    """However often it is asked for while the node is not there."""

    async def run() -> None:
        peers = Peers(asyncio.get_running_loop(), "cookie", 60.0, Limits(), None)
        peers.addresses[PEER] = ("x" * 64 + ".h", 1)  # no host: never there
        for _ in range(5):
            peers.keep(PEER)
        assert len(asyncio.all_tasks()) == 2  # this one and that
        peers.kept.clear()

    asyncio.run(run())
