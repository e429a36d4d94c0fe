# SPDX-License-Identifier: Apache-2.0
"""Programs in other languages use the services of a node: what they write, byte for byte, over a
connection of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from hornbeam_erlang.terms import Atom
from live import nodes
from live.dialects import Dialect, Program, jinterface, program, pyrlang
from live.serving import EXAMPLES, Served, serving

OK = Atom("ok")


class Front(NamedTuple):
    """A node that serves the example of the program in C, and its name."""

    name: str
    served: Served


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    name = nodes.named("interop")
    folder = EXAMPLES / "c_node"
    options = ("--sname", name, "--workers", "1")
    with serving("app:application", folder, *options, **nodes.VARIABLES) as served:
        yield Front(name, served)


@pytest.fixture(params=[jinterface, pyrlang], ids=["jinterface", "pyrlang"])
def client(request: pytest.FixtureRequest, front: Front) -> Iterator[Program]:
    dialect: Dialect = request.param
    with program(nodes.named("client"), front.name, nodes.COOKIE, dialect) as running:
        yield running


def test_values_come_back(client: Program) -> None:
    """Numbers of every size, binaries, strings and nested terms are stored as they were sent; a
    string of the language is a list of characters, and a key that is one is another key."""
    values: list[tuple[Any, Any]] = [
        (1, 1),
        (-1, -1),
        (1 << 27, 1 << 27),
        (-(1 << 31), -(1 << 31)),
        (1 << 62, 1 << 62),
        (0.1, 0.1),
        ("text", [116, 101, 120, 116]),
        ("ж", [1078]),
        ("", []),
        ("ж".encode(), "ж"),
        ((Atom("bytes"), b"ab"), b"ab"),
        (True, True),
        ([(Atom("a"), [1, b"b"])], [("a", [1, "b"])]),
        (client.pid, client.pid),
    ]
    for value, back in values:
        assert client.call("hornbeam_state", (Atom("set"), [b"key", value])) == (OK, None)
        assert client.call("hornbeam_state", (Atom("get"), [b"key"])) == (OK, [back])
    assert client.call("hornbeam_state", ("get", ["key"])) == (OK, [])


def test_operations_are_text(client: Program) -> None:
    """Operations and keywords may be strings of the language; keywords may be pairs."""
    request = ("set", [b"short", 1], [("ttl_ms", 60000)])
    assert client.gen_call("hornbeam_state", request) == (OK, None)
    assert client.gen_call(
        "hornbeam_state", (Atom("timeout"), 20000, (b"incr", [b"short", 2]))
    ) == (
        OK,
        3,
    )


def test_handlers_and_failures(client: Program) -> None:
    """A handler in a Python worker is executed; a failure has its name and a map."""
    greet = (Atom("execute"), ["greeter", "Hello", "Jörg".encode()])
    assert client.call("hornbeam_hooks", greet) == (OK, "Hello, Jörg!")
    error, (name, details) = client.call("hornbeam_hooks", (Atom("execute"), ["nobody", "x"]))
    assert (error, name, details) == ("error", "not_registered", {"service": "nobody"})
    error, (name, details) = client.call("hornbeam_hooks", (Atom("execute"), ["greeter", "x"]))
    assert (error, name, details["type"]) == ("error", "handler_error", "TypeError")


def test_subscribers_get_messages(client: Program, front: Front) -> None:
    """A process of the program gets what a web application publishes."""
    assert client.call("hornbeam_topics", (Atom("subscribe"), ["news"])) == (OK, None)
    assert front.served.get("/announce?one") == (200, b"1 told\n")
    assert client.receive() == ("hornbeam_pubsub", "news", "one")
    assert client.call("hornbeam_topics", (Atom("unsubscribe"), ["news"])) == (OK, None)
    assert front.served.get("/announce?two") == (200, b"0 told\n")


def test_maps_of_pyrlang(front: Front) -> None:
    """A dict is a map, also as keywords of a request; None is undefined."""
    name = nodes.named("client")
    with program(name, front.name, nodes.COOKIE, pyrlang) as client:
        request = ("set", [b"map", {b"k": [None, {b"in": 1.5}]}], {"ttl_ms": 60000})
        assert client.call("hornbeam_state", request) == (OK, None)
        stored = client.call("hornbeam_state", ("get", [b"map"]))
        assert stored == (OK, [{"k": [None, {"in": 1.5}]}])
