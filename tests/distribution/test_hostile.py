# SPDX-License-Identifier: Apache-2.0
"""A peer that knows the cookie, and means no good: it loses its connection and harms nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from distribution.beam import COOKIE, LONG, eventually, new_name, python
from hornbeam_erlang import _distribution_events as events
from hornbeam_erlang._distribution_connection import Connection, identity
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom, Pid, Ref
from unit.distribution.ends import framed, load, raw

REFUSED = [entry for entry in load("messages.json") if "must_fail" in entry]


class Peer:
    """A node made by hand: the protocol over a socket, and whatever a test wants to send."""

    def __init__(self, node: Node) -> None:
        self.name = new_name("peer")
        self.socket = socket.create_connection(("127.0.0.1", node.port), LONG)
        self.core = Connection.connect(identity(self.name, 9), COOKIE, node.name)
        self.pid = Pid(Atom(self.name), 1, 0, 9)
        while not self.core.connected:
            self.socket.sendall(self.core.data_to_send())
            self.core.receive(self.socket.recv(65536))

    def receive(self) -> list[object]:
        """What the node says next; empty when it has closed the connection."""
        said: list[object] = []
        try:
            while not said and (data := self.socket.recv(65536)):
                said.extend(self.core.receive(data))
        except ConnectionResetError:
            return []
        return said


@pytest.fixture(scope="module")
def target() -> Iterator[Node]:
    """A node without EPMD."""
    with python(epmd=False) as running:
        yield running


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry["name"])
def test_messages_that_are_none(target: Node, entry: dict[str, list[str]]) -> None:
    """The connection is closed, the node goes on."""
    peer = Peer(target)
    for packet in entry["packets"]:
        peer.socket.sendall(framed(raw(packet)))
    assert peer.receive() == []
    peer.socket.close()
    eventually(lambda: peer.name not in target.nodes(), "the connection is gone")
    assert target.ping(target.name)


def test_requests_that_make_no_sense(target: Node) -> None:
    """Processes that do not exist, pids of others, calls to services in no form they know."""
    peer = Peer(target)
    nobody = Pid(Atom(target.name), 12345, 0, target.creation)
    stranger = Pid(Atom("stranger@localhost"), 1, 0, 1)
    ref = Ref(Atom(peer.name), 9, (1, 2, 3))
    core, me = peer.core, peer.pid
    said = [
        core.send(me, nobody, 1),
        core.register_send(me, "nobody", 1),
        core.alias_send(me, ref, 1),
        core.unlink(7, me, nobody),
        core.exit(me, nobody, Atom("x")),
        core.exit2(me, nobody, Atom("kill")),
        core.demonitor(me, nobody, ref),
        core.monitor_exit(nobody, nobody, ref, 1),
        core.spawn_reply(ref, nobody, nobody),
        core.group_leader(me, nobody),
        core.send(me, target.pid, (Atom("io_request"), stranger, 1, 2)),
        core.send(me, target.pid, 5),
    ]
    for name in ("net_kernel", "rex"):
        for request in (
            1,
            (Atom("$gen_call"), 1, 2),
            (Atom("$gen_call"), (me, 1), (1, 2, 3, 4, 5)),
        ):
            said.append(core.register_send(me, name, request))
    peer.socket.sendall(b"".join(said))
    assert peer.receive() == [events.UnlinkAck(7, nobody, me)]
    peer.socket.sendall(core.spawn_request(ref, me, ("os", "system"), ["true"]))
    assert peer.receive() == [events.SpawnReply(ref, me, 0, Atom("notsup"))]
    peer.socket.sendall(core.spawn_request(ref, me, ("erpc", "execute_call"), [1, 2, 3, 4]))
    (answer,) = peer.receive()
    assert isinstance(answer, events.SpawnReply)
    peer.socket.close()


def test_links_of_others_are_not_noted(target: Node) -> None:
    """A node links and monitors for its own processes only."""
    peer = Peer(target)
    stranger = Pid(Atom("stranger@localhost"), 1, 0, 1)
    ref = Ref(Atom("stranger@localhost"), 1, (1, 2, 3))
    with target.process() as process:
        peer.socket.sendall(
            peer.core.link(stranger, process.pid)
            + peer.core.monitor(stranger, process.pid, ref)
            + peer.core.send(peer.pid, process.pid, "seen")
        )
        assert process.receive(LONG) == "seen"
        assert process.links == {}
        assert process.watchers == {}
    peer.socket.close()


def test_a_second_connection_of_the_same_name(target: Node) -> None:
    """The peer is asked whether the first is broken; if it says so the second takes its place."""
    first = Peer(target)
    second = Connection.connect(identity(first.name, 10), COOKIE, target.name)
    with socket.create_connection(("127.0.0.1", target.port), LONG) as connection:
        while not second.connected:
            connection.sendall(second.data_to_send())
            second.receive(connection.recv(65536))
        assert first.receive() == []
        first.socket.close()
        with target.process() as process:
            connection.sendall(
                second.send(Pid(Atom(first.name), 1, 0, 10), process.pid, "from the second")
            )
            assert process.receive(LONG) == "from the second"
