# SPDX-License-Identifier: Apache-2.0
"""A Python node beside a hornbeam node, whose services are messages; and what else a program with
a Python node may be."""

from __future__ import annotations

import os

import pytest

import hornbeam_erlang
from distribution.beam import COOKIE, LONG, new_name, python
from hornbeam_erlang.errors import NotConnected
from hornbeam_erlang.node import Node


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


def test_the_module_has_the_name_of_a_function() -> None:
    """`hornbeam_erlang.node` is this module once it is imported, and can be called as before."""
    with pytest.raises(NotConnected):
        hornbeam_erlang.node()
