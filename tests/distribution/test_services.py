# SPDX-License-Identifier: Apache-2.0
"""A Python node beside a hornbeam node, whose services are messages; and what else a program with
a Python node may be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hornbeam_erlang
from distribution.beam import COOKIE, LONG, eventually, new_name, python
from hornbeam_erlang.errors import NotConnected
from hornbeam_erlang.node import TLS, Node


def test_services_of_a_hornbeam_node() -> None:
    """State is used by calls of a registered process, from a node that knows nothing of it."""
    name, own = (new_name(start).replace("localhost", "127.0.0.1") for start in ("beam", "python"))
    with hornbeam_erlang.start(name=name, cookie=COOKIE), Node(own, cookie=COOKIE) as node:
        state = ("hornbeam_state", name)
        assert node.call(state, ("incr", ["visits", 1]), LONG) == ("ok", 1)
        assert node.call(state, ("set", ["key", {"a": b"x"}]), LONG)[0] == "ok"
        assert node.call(state, ("get", ["key"]), LONG) == ("ok", [{"a": b"x"}])
        assert hornbeam_erlang.state_get("visits") == 1


def test_a_forked_child(node: Node) -> None:
    """It has no part in the node: it is told so, its end leaves the node alone."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with node:
                node.nodes()
        except NotConnected as exc:
            os.write(writer, str(exc).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert "forked child" in said.read()
    assert os.waitpid(child, 0)[1] == 0
    with python() as friend:
        assert friend.ping(node.name)


FORKS = """
import os, signal, sys, time
from hornbeam_erlang.node import Node
node = Node(sys.argv[1], cookie=sys.argv[2]).start()
node.connect(sys.argv[3], timeout=60)
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
time.sleep(600)
"""


def test_a_forked_child_that_outlives_its_parent(node: Node) -> None:
    """The connections and the name of a node end with its program, whatever the program has
    forked."""
    name = new_name("forks")
    with node.process() as process:
        node.monitor_nodes(process)
        command = [sys.executable, "-c", FORKS, name, COOKIE, node.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            child = int(program.stdout.readline())
            assert process.receive(LONG) == ("nodeup", name)
            program.kill()
            try:
                # Far less than the tick time, after which any silent node is gone.
                assert process.receive(30.0) == ("nodedown", name)
                with Node(name, cookie=COOKIE) as again:
                    assert node.ping(again.name)
            finally:
                os.kill(child, signal.SIGKILL)


def test_a_node_that_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    """Neither threads nor descriptors."""
    missing = str(tmp_path / "missing.pem")
    node = python(tls=TLS(missing, missing, missing))

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    descriptors, threads = held()
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            node.start()
    # What tests before this one have closed may still be going away.
    eventually(lambda: held()[0] <= descriptors and held()[1] <= threads, "all is closed")


def test_the_module_has_the_name_of_a_function() -> None:
    """`hornbeam_erlang.node` is this module once it is imported, and can be called as before."""
    with pytest.raises(NotConnected):
        hornbeam_erlang.node()
