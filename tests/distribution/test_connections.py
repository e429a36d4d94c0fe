# SPDX-License-Identifier: Apache-2.0
"""Connections between Python and Erlang nodes: made, refused, lost, and made again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distribution.beam import COOKIE, LONG, Beam, eventually, new_name, python
from hornbeam_erlang._distribution_errors import DistributionError
from hornbeam_erlang.errors import CallTimeout, NodeDown, NotConnected, RemoteError
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom
from ports import free_port


def test_another_cookie(beam: Beam) -> None:
    """Neither side lets the other in, and the error says what the usual cause is."""
    with python(cookie="another") as node:
        with pytest.raises(NodeDown, match="another cookie") as error:
            node.connect(beam.name)
        assert isinstance(error.value.__cause__, DistributionError)
        assert node.nodes() == []
        with python() as friend:
            here = Atom(node.name)
            assert friend.rpc_call(beam.name, "net_adm", "ping", [here], timeout=LONG) == "pang"


def test_nodes_that_are_not_there(node: Node) -> None:
    """Unknown names, hosts without an address, ports without a listener."""
    with pytest.raises(NodeDown, match="does not know"):
        node.send(("x", new_name("nobody")), 1)
    with pytest.raises(NodeDown, match="no address"):
        node.connect("x@host.invalid")
    with pytest.raises(NodeDown, match="cannot be reached"):
        node.connect(f"x@{'h' * 64}.invalid")  # no host can be called so
    name = new_name("nobody")
    with pytest.raises(NodeDown, match="cannot be reached"):
        node.connect(name, address=("127.0.0.1", free_port()))
    assert node.ping(name) is False


def test_a_port_where_nobody_greets(node: Node) -> None:
    """A connection that says nothing is given up when the caller's time is over."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = new_name("silent")
        with pytest.raises(CallTimeout):
            node.connect(name, address=silent.getsockname(), timeout=0.1)
        # Nothing is raised for one that is to be kept: it is tried again.
        node.connect(name, address=silent.getsockname(), timeout=0.1, keep=True)
        node.disconnect(name)


def test_a_port_where_something_else_listens(node: Node) -> None:
    """What is no handshake is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def talk() -> None:
            with other.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(NodeDown, match="Length of packet"):
            node.connect(new_name("web"), address=other.getsockname())
        thread.join(LONG)


def test_a_name_that_is_taken(node: Node) -> None:
    """EPMD has it already: the second node does not start, and leaves nothing behind."""
    threads = threading.active_count()
    second = Node(node.name, cookie=COOKIE)
    with pytest.raises(NotConnected, match="registered on this host already"):
        second.start()
    eventually(lambda: threading.active_count() <= threads, "its thread ends")
    with pytest.raises(NotConnected, match="was not started"):
        second.nodes()


def test_a_port_that_is_taken(node: Node) -> None:
    """The error names it."""
    second = python(port=node.port)
    with pytest.raises(NotConnected, match=f"cannot listen on localhost:{node.port}"):
        second.start()


def test_a_fixed_port_without_epmd(beam: Beam) -> None:
    """Two Python nodes find each other by an address; EPMD knows neither."""
    with python(epmd=False) as one, python(epmd=False) as two:
        # Whatever addresses the host has: the one that Erlang's nodes connect to.
        socket.create_connection(("127.0.0.1", two.port), LONG).close()
        assert one.ping(two.name) is False
        one.connect(two.name, address=("127.0.0.1", two.port))
        two.serve("answers", lambda request: request)
        assert one.call(("answers", two.name), 5) == 5
        assert two.nodes() == [one.name]


def test_a_node_that_does_not_listen(beam: Beam) -> None:
    """It connects to others, and they talk back over its connection."""
    with python(listen=False) as node:
        assert node.port == 0
        assert node.ping(beam.name)
        pong = node.rpc_call(beam.name, "net_adm", "ping", [Atom(node.name)])
        assert pong == "pong"


def test_both_connect_at_once(beam: Beam) -> None:
    """Of two connections at the same time one stays, and both sides are content."""
    for attempt in range(6):
        # The node with the greater name wins: once this one, once the other.
        with python("aaa" if attempt % 2 else "zzz") as node, python() as friend:
            friend.connect(beam.name)
            here = Atom(node.name)
            with ThreadPoolExecutor(2) as threads:
                there = threads.submit(
                    friend.rpc_call, beam.name, "net_kernel", "connect_node", [here], LONG
                )
                node.connect(beam.name, timeout=LONG)
                assert there.result(LONG) is True
            assert node.nodes() == [beam.name]
            assert node.rpc_call(beam.name, "erlang", "node", timeout=LONG) == beam.name


def test_a_node_that_is_killed() -> None:
    """Calls that wait fail at once; links, monitors and nodedown tell the others."""
    beam = Beam()
    try:
        with python() as node, node.process() as process:
            pid = node.rpc_call(beam.name, "node_peer", "spawn_idle", timeout=LONG)
            process.link(pid)
            ref = process.monitor(pid)
            node.monitor_nodes(process)
            with ThreadPoolExecutor(20) as threads:
                request = (Atom("late"), 60_000, 1)
                calls = [
                    threads.submit(node.call, ("peer", beam.name), request, LONG) for _ in range(10)
                ]
                calls += [
                    threads.submit(node.rpc_call, beam.name, "node_peer", "sleepy", [60_000], LONG)
                    for _ in range(10)
                ]
                eventually(lambda: pending(node) == 20, "all calls wait")
                beam.kill()
                for call in calls:
                    with pytest.raises(NodeDown, match="the connection was lost"):
                        call.result(LONG)
            seen = [process.receive(LONG) for _ in range(3)]
            assert ("EXIT", pid, "noconnection") in seen
            assert ("DOWN", ref, "process", pid, "noconnection") in seen
            assert ("nodedown", beam.name) in seen
            assert node.nodes() == []
            assert pending(node) == 0
    finally:
        beam.kill()


def pending(node: Node) -> int:
    """How many requests wait for an answer."""
    assert node._engine is not None
    return len(node._engine.core.pending)


def test_a_connection_that_is_kept() -> None:
    """It is made anew when the node comes back, also when the node was not there at first."""
    name = new_name("returns")
    with python() as node, node.process() as process:
        node.monitor_nodes(process)
        node.connect(name, keep=True)
        for _ in range(2):
            beam = Beam(name=name)
            try:
                assert process.receive(LONG) == ("nodeup", name)
                assert node.call(("peer", name), (Atom("echo"), 1), LONG) == 1
            finally:
                beam.kill()
            assert process.receive(LONG) == ("nodedown", name)
        assert node.disconnect(name) is False


def test_disconnect(beam: Beam) -> None:
    """Both sides see the end of the connection, and either can make a new one."""
    with python() as node:
        node.connect(beam.name)
        watcher = node.rpc_call(
            beam.name, "node_peer", "watch", [[(Atom("node"), Atom(node.name))]], timeout=LONG
        )
        assert node.disconnect(beam.name) is True
        eventually(lambda: node.nodes() == [], "the connection ends")
        seen = node.rpc_call(beam.name, "node_peer", "watched", [(watcher, 1)], timeout=LONG)
        assert seen == [("nodedown", node.name)]


def test_a_node_that_is_started_again(beam: Beam) -> None:
    """Its pids are those of a new incarnation; an old connection does not hold it up."""
    node = python()
    pids = set()
    for _ in range(3):
        with node:
            pids.add(node.pid)
            assert node.ping(beam.name, LONG)
    assert len(pids) == 3
    assert node.nodes is not None


def test_what_was_sent_before_the_end_arrives(beam: Beam, node: Node) -> None:
    """A node that stops has sent everything first."""
    node.call(("peer", beam.name), Atom("casts"), LONG)
    with python() as short:
        for number in range(2000):
            short.cast(("peer", beam.name), number, LONG)
    got: list[int] = []

    def all_there() -> bool:
        got.extend(node.call(("peer", beam.name), Atom("casts"), LONG))
        return len(got) >= 2000

    eventually(all_there, "all messages are there")
    assert got == list(range(2000))


def test_signs_of_life() -> None:
    """Two nodes that are silent stay connected; one that is stopped is noticed by either side."""
    beam = Beam("-kernel", "net_ticktime", "4")
    program = (
        "import sys, time\n"
        "from hornbeam_erlang.node import Node\n"
        "with Node(sys.argv[1], cookie=sys.argv[2], net_ticktime=4.0) as node:\n"
        "    node.connect(sys.argv[3])\n"
        "    print('connected', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    try:
        with python(net_ticktime=1.0) as node, python(net_ticktime=4.0) as quiet:
            quiet.connect(beam.name)
            child = subprocess.Popen(
                [sys.executable, "-c", program, new_name("child"), COOKIE, beam.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None
            assert child.stdout.readline() == b"connected\n"
            hidden = [str(n) for n in quiet.rpc_call(beam.name, "node_peer", "hidden")]
            (name,) = (n for n in hidden if n.startswith("child"))
            watcher = quiet.rpc_call(
                beam.name, "node_peer", "watch", [[(Atom("node"), Atom(name))]]
            )
            child.send_signal(signal.SIGSTOP)
            # Longer than a tick time passes here, in which `quiet` says nothing.
            with quiet.process() as process:
                quiet.monitor_nodes(process)
                with pytest.raises(CallTimeout):
                    process.receive(5.5)
            seen = quiet.rpc_call(beam.name, "node_peer", "watched", [(watcher, 1)], timeout=LONG)
            assert seen == [("nodedown", name)]
            child.kill()
            child.communicate()
            with node.process() as process:
                started = time.monotonic()
                node.connect(beam.name)
                node.monitor_nodes(process)
                beam.signal(signal.SIGSTOP)
                assert process.receive(LONG) == ("nodedown", beam.name)
                assert time.monotonic() - started >= 0.75
    finally:
        beam.signal(signal.SIGCONT)
        beam.kill()


def test_connections_that_prove_nothing(node: Node) -> None:
    """Whoever opens connections and says nothing, or nonsense, keeps none of them for long."""
    opened = [socket.create_connection(("localhost", node.port)) for _ in range(140)]
    try:
        # Beyond 128 the oldest are closed.
        for connection in opened[:10]:
            connection.settimeout(LONG)
            assert connection.recv(1) == b""
        opened[-1].sendall(os.urandom(64))
        opened[-1].settimeout(LONG)
        assert opened[-1].recv(1) == b""
    except ConnectionResetError:
        pass
    finally:
        for connection in opened:
            connection.close()
    with python() as friend:
        assert friend.ping(node.name)


def test_cookies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, else from the environment, else from a file if asked, which others may not read."""
    monkeypatch.delenv("HORNBEAM_COOKIE", raising=False)
    with pytest.raises(NotConnected, match="HORNBEAM_COOKIE"):
        Node("x")
    file = tmp_path / "cookie"
    file.write_text("secret\n")
    file.chmod(0o600)
    assert Node("x", cookie_file=file)._settings.cookie == "secret"
    monkeypatch.setenv("HORNBEAM_COOKIE", "variable")
    assert Node("x", cookie_file=file)._settings.cookie == "variable"
    assert Node("x", cookie="given")._settings.cookie == "given"
    with pytest.raises(ValueError, match="latin-1"):
        Node("x", cookie="€")


def test_names() -> None:
    """A name without a host gets this one's; what no node can be called is refused."""
    host = socket.gethostname().partition(".")[0]
    assert Node("x", cookie="c").name == f"x@{host}"
    for name in ("@h", "x@", "a@b@c", "", "x" * 256, "a\n@h"):
        with pytest.raises(ValueError, match="name@host"):
            Node(name, cookie="c")
    with pytest.raises(ValueError, match="net_ticktime"):
        Node("x", cookie="c", net_ticktime=0)


def until_timeout(node: Node, target: tuple[str, str]) -> int:
    """How many messages of 100,000 bytes go before one has to wait too long."""
    for sent in range(1000):
        try:
            node.cast(target, bytes(100_000), timeout=0.3)
        except CallTimeout:
            return sent
    raise AssertionError("nobody waits for the peer")


def test_a_peer_that_does_not_read() -> None:
    """Senders wait when 4 MiB are on their way, memory stays flat; all arrives once it reads."""
    beam = Beam()
    data = Atom("casts")
    try:
        with python() as node:
            target = ("peer", beam.name)
            node.call(target, data, LONG)
            beam.signal(signal.SIGSTOP)
            sent = until_timeout(node, target)
            for _ in range(50):
                with pytest.raises(CallTimeout):
                    node.cast(target, 1, timeout=0)
            assert node._engine is not None
            assert len(node._engine.peers.links[beam.name]._room) <= 1
            assert 40 < sent < 400  # 4 MiB, and what the kernel keeps
            assert node.nodes() == [beam.name]
            beam.signal(signal.SIGCONT)
            assert len(node.call(target, data, LONG)) == sent
    finally:
        beam.signal(signal.SIGCONT)
        beam.kill()


def test_what_would_block_the_node_s_own_loop(node: Node) -> None:
    """A coroutine function that other nodes call is told to use the form for await."""

    async def careless() -> object:
        return node.ping(node.name)

    async def careful() -> bool:
        return await node.aio.ping(node.name)

    node.allow("loop", "careless", careless)
    node.allow("loop", "careful", careful)
    with pytest.raises(RemoteError, match="would block the node's event loop"):
        node.rpc_call(node.name, "loop", "careless", timeout=LONG)
    assert node.rpc_call(node.name, "loop", "careful", timeout=LONG) is True


def test_timeouts_that_are_none(node: Node) -> None:
    """A negative timeout, or one that is no number, is a mistake and not a wait."""
    for timeout in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="0 or more seconds"):
            node.ping(node.name, timeout)
