# SPDX-License-Identifier: Apache-2.0
"""Messages and calls between a Python node and an Erlang one, in both directions."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from distribution.beam import COOKIE, LONG, Beam
from hornbeam_erlang.errors import (
    CallTimeout,
    HandlerError,
    NotRegistered,
    RemoteError,
    TermError,
)
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom, Pid, Ref

VALUES: list[Any] = [
    None, True, 0, -(1 << 70), 1.5, "text", b"\xff", [1, "a"], (Atom("ok"), {"k": [(), {}]}),
    {1: {2: b"x"}, (Atom("a"),): []},
]  # fmt: skip


def erlang(node: Node, beam: Beam, function: str, *args: object) -> Any:
    return node.rpc_call(beam.name, "node_peer", function, args, timeout=LONG)


def test_a_python_node_is_a_hidden_one(node: Node, beam: Beam) -> None:
    """nodes(hidden) of the Erlang node has it, nodes() has not; ping works in both directions."""
    assert node.ping(beam.name)
    assert node.name in erlang(node, beam, "hidden")
    assert node.name not in node.rpc_call(beam.name, "erlang", "nodes")
    assert node.nodes() == [beam.name]
    assert node.rpc_call(beam.name, "net_adm", "ping", [Atom(node.name)]) == "pong"
    assert COOKIE not in repr(node)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back(node: Node, beam: Beam, value: Any) -> None:
    """A gen_server of the Erlang node gives back what it was given, of the same type."""
    back = node.call(("peer", beam.name), (Atom("echo"), value), LONG)
    assert back == value
    assert type(back) is type(value)


def test_processes_receive_what_is_sent_to_pid_name_and_alias(node: Node, beam: Beam) -> None:
    """A Python process is known by its pid and by its names."""
    with node.process("known") as process:
        for to in (process.pid, (Atom("known"), Atom(node.name))):
            node.send(("peer", beam.name), (Atom("send_back"), to, "hello"))
            assert process.receive(LONG) == "hello"
        node.register("second", process)
        process.send("second", b"by name")
        assert process.receive(LONG) == b"by name"
        assert node.whereis("second") == process.pid
        node.unregister("second")
        assert node.whereis("second") is None
        with pytest.raises(ValueError, match="is taken"):
            node.process("known")
    assert not process.alive
    assert node.whereis("known") is None


def test_messages_keep_their_order(node: Node, beam: Beam) -> None:
    """Ten thousand messages arrive in the order in which they were sent, in both directions."""
    with node.process() as process:
        erlang(node, beam, "burst", process.pid, 10_000)
        received = [process.receive(LONG)[1] for _ in range(10_000)]
    assert received == list(range(1, 10_001))
    node.call(("peer", beam.name), Atom("casts"), LONG)
    for number in range(2000):
        node.cast(("peer", beam.name), number, LONG)
    assert node.call(("peer", beam.name), Atom("casts"), LONG) == list(range(2000))


def test_more_atoms_than_the_cache_holds(node: Node, beam: Beam) -> None:
    """Atoms are right whether the peer sends them, or refers to where it has put them."""
    with node.process() as process:
        erlang(node, beam, "each_atom", process.pid, 3000)
        names = [f"atom_{number}" for number in range(1, 3001)]
        for turn in (1, 2):
            for name in names:
                assert process.receive(LONG) == (name, turn, name)


@pytest.mark.parametrize("size", [1 << 16, 1 << 20, 10 << 20])
def test_large_messages(node: Node, beam: Beam, size: int) -> None:
    """Ten megabytes in fragments, in both directions."""
    with node.process() as process:
        erlang(node, beam, "large", process.pid, size)
        assert process.receive(LONG) == "0123456789abcdef" * (size // 16)
    data = bytes(range(256)) * (size // 256)
    assert node.call(("peer", beam.name), (Atom("echo"), data), LONG) == data


def test_the_largest_message(node: Node, beam: Beam) -> None:
    """More than what a value is elsewhere (32 MiB) arrives; more than 64 MiB is not sent."""
    size = 40 << 20
    with node.process() as process:
        erlang(node, beam, "large", process.pid, size)
        assert len(process.receive(LONG)) == size
        with pytest.raises(TermError, match="larger than"):
            process.send(("peer", beam.name), bytes(64 << 20))


def test_large_messages_of_many_processes_in_turns(node: Node, beam: Beam) -> None:
    """Fragments of several senders come mixed; each message is put together from its own."""
    with node.process() as process:
        for _ in range(20):
            node.rpc_cast(beam.name, "node_peer", "large", [process.pid, 300_000])
        for _ in range(20):
            assert process.receive(LONG) == "0123456789abcdef" * (300_000 // 16)


def test_calls_that_fail(node: Node, beam: Beam) -> None:
    """Each failure has its exception."""
    with pytest.raises(NotRegistered):
        node.call(("nobody", beam.name), 1, LONG)
    with pytest.raises(CallTimeout, match="no reply within"):
        node.call(("peer", beam.name), (Atom("late"), 60_000, 1), 0.05)
    with pytest.raises(TermError):
        node.call(("peer", beam.name), object())
    with pytest.raises(RemoteError) as error:
        erlang(node, beam, "no_such_function")
    assert (error.value.class_, error.value.reason) == ("error", "undef")
    with pytest.raises(RemoteError, match="exit"):
        node.rpc_call(beam.name, "erlang", "exit", ["why"])
    with pytest.raises(RemoteError, match="throw"):
        node.rpc_call(beam.name, "erlang", "throw", ["why"])


def test_late_replies_are_nobody_s(node: Node, beam: Beam) -> None:
    """A reply that comes too late is not taken for that of a later call."""
    with pytest.raises(CallTimeout):
        node.call(("peer", beam.name), (Atom("late"), 100, "late"), 0.01)
    for number in range(300):
        assert node.call(("peer", beam.name), (Atom("echo"), number), LONG) == number


def test_a_server_that_ends_during_a_call(node: Node, beam: Beam) -> None:
    """The caller gets the reason."""
    started = node.rpc_call(
        beam.name, "gen_server", "start", [Atom("node_peer"), [], []], timeout=LONG
    )
    assert isinstance(started[1], Pid)
    with pytest.raises(RemoteError) as error:
        node.call(started[1], Atom("crash"), LONG)
    assert (error.value.class_, error.value.reason) == ("exit", "crashed")


def test_erlang_calls_python_ten_thousand_times_at_once(node: Node, beam: Beam) -> None:
    """Every one of 10,000 processes gets its own reply, from a plain server and an async one."""

    async def answer(request: object) -> object:
        await asyncio.sleep(0)
        return Atom("got"), request

    with node.serve("plain", lambda request: (Atom("got"), request)), node.serve("async", answer):
        for name in ("plain", "async"):
            server = (Atom(name), Atom(node.name))
            assert erlang(node, beam, "call_many", server, 10_000) == 10_000


def test_python_calls_erlang_ten_thousand_times_at_once(node: Node, beam: Beam) -> None:
    """10,000 calls of one event loop wait together; each gets its own reply."""

    async def ask() -> list[Any]:
        target = ("peer", beam.name)
        calls = [node.aio.call(target, (Atom("echo"), n), LONG) for n in range(10_000)]
        return await asyncio.gather(*calls)

    assert asyncio.run(ask()) == list(range(10_000))


def test_threads_call_at_once(node: Node, beam: Beam) -> None:
    """Calls of 16 threads do not take each other's replies."""

    def ask(start: int) -> bool:
        target = ("peer", beam.name)
        return all(
            node.call(target, (Atom("echo"), n), LONG) == n for n in range(start, start + 50)
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(0, 16_000, 1000)))


def test_servers_that_fail(node: Node, beam: Beam) -> None:
    """A call that raises fails for its caller at once, with the traceback; the server goes on."""

    def divide(request: Any) -> float:
        return float(1 / request)

    with node.serve("divides", divide) as server:
        target = (Atom("divides"), Atom(node.name))
        kind, reason = erlang(node, beam, "call_one", target, 0, 30_000)
        assert kind == "exit"
        assert reason[:3] == ("python_error", "ZeroDivisionError", "division by zero")
        assert "in divide" in reason[3]
        with pytest.raises(HandlerError) as error:
            node.call("divides", 0)
        assert error.value.type == "ZeroDivisionError"
        assert erlang(node, beam, "call_one", target, 2, 30_000) == (Atom("reply"), 0.5)
    kind, reason = erlang(node, beam, "call_one", target, 2, 30_000)
    assert (kind, reason) == ("exit", "noproc")
    assert not server.alive


class Worst(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("exc", "name", "text"),
    [
        (OSError("caf\udce9"), "OSError", "caf\\udce9"),  # the name of a file that is no UTF-8
        (SystemExit(3), "SystemExit", "3"),
        (Worst(), "Worst", "<exception str() failed>"),
    ],
    ids=["surrogate", "exit", "no text"],
)
@pytest.mark.parametrize("kind", ["thread", "loop", "function", "coroutine"])
def test_whatever_is_raised(
    node: Node, kind: str, exc: BaseException, name: str, text: str
) -> None:
    """The caller is told at once, the next call is answered: nothing ends a server or node."""

    def fails(request: Any) -> Any:
        if request == "fail":
            raise exc
        return request

    async def fails_awaited(request: Any) -> Any:
        return fails(request)

    function = fails if kind in ("thread", "function") else fails_awaited
    with node.serve("raises", function):
        node.allow("raises", "it", function)

        def ask(request: str) -> Any:
            if kind in ("thread", "loop"):
                return node.call("raises", request, LONG)
            return node.rpc_call(node.name, "raises", "it", [request], LONG)

        with pytest.raises((HandlerError, RemoteError)) as error:
            ask("fail")
        told: Any = error.value.args
        assert (told[1][1:3] if isinstance(error.value, RemoteError) else told[:2]) == (name, text)
        assert ask("more") == "more"


@pytest.mark.parametrize("kind", ["server", "function"])
def test_a_coroutine_that_cancels_itself(node: Node, kind: str) -> None:
    """Its caller is told, and does not wait until its time is over."""

    async def cancels(_request: Any) -> None:
        raise asyncio.CancelledError

    with node.serve("cancels", cancels):
        node.allow("cancels", "it", cancels)

        def ask() -> Any:
            if kind == "server":
                return node.call("cancels", 1, LONG)
            return node.rpc_call(node.name, "cancels", "it", [1], LONG)

        with pytest.raises((HandlerError, RemoteError), match=r"[Cc]ancelled"):
            ask()


def test_casts_and_other_messages(node: Node, beam: Beam) -> None:
    """A server has a function for each kind of message."""
    seen: list[Any] = []
    done = threading.Event()

    def info(message: Any) -> None:
        seen.append(("info", message))
        done.set()

    with node.serve("hears", cast=lambda m: seen.append(("cast", m)), info=info):
        target = (Atom("hears"), Atom(node.name))
        node.rpc_call(beam.name, "gen_server", "cast", [target, 1])
        node.rpc_call(beam.name, "erlang", "send", [target, 2])
        assert done.wait(LONG)
    assert sorted(seen) == [("cast", 1), ("info", 2)]


def test_functions_that_are_allowed(node: Node, beam: Beam) -> None:
    """rpc and erpc of the Erlang node call what is on the list, plain or async, nothing else."""

    async def later(value: object) -> object:
        await asyncio.sleep(0)
        return [value]

    node.allow("sums", "add", lambda a, b: a + b)
    node.allow("sums", "later", later)
    missing: dict[str, int] = {}
    node.allow("sums", "bad", lambda: missing["key"])
    here = Atom(node.name)
    call = ("rpc", "call")
    assert node.rpc_call(beam.name, *call, [here, Atom("sums"), Atom("add"), [1, 2]]) == 3
    assert node.rpc_call(beam.name, *call, [here, Atom("sums"), Atom("later"), [1]]) == [1]
    bad = node.rpc_call(beam.name, *call, [here, Atom("sums"), Atom("bad"), []])
    assert bad[0] == "badrpc"
    assert bad[1][1][0][:2] == ("python_error", "KeyError")
    for module, function in (("os", "system"), ("sums", "sub"), ("builtins", "eval")):
        entry = [here, Atom(module), Atom(function), ["1"]]
        refused = node.rpc_call(beam.name, *call, entry)
        assert refused[1][1][0] == "undef"
    erpc = [here, Atom("sums"), Atom("add"), [b"a", b"b"]]
    assert node.rpc_call(beam.name, "erpc", "call", erpc) == b"ab"
    with pytest.raises(RemoteError, match="undef"):
        node.rpc_call(beam.name, "erpc", "call", [here, Atom("sums"), Atom("sub"), []])


def test_functions_that_are_cast_and_those_of_rex(node: Node, beam: Beam) -> None:
    """rpc:cast runs a function; so does a call of rex, as old nodes make it."""
    called = threading.Event()
    node.allow("notes", "set", called.set)
    node.rpc_call(beam.name, "rpc", "cast", [Atom(node.name), Atom("notes"), Atom("set"), []])
    assert called.wait(LONG)
    node.allow("notes", "three", lambda: 3)
    leader = node.rpc_call(beam.name, "erlang", "group_leader")
    request: Any = (Atom("call"), Atom("notes"), Atom("three"), [], leader)
    rex = (Atom("rex"), Atom(node.name))
    assert erlang(node, beam, "call_one", rex, request, 30_000) == (Atom("reply"), 3)


def test_processes_are_not_spawned(node: Node, beam: Beam) -> None:
    """spawn of an Erlang node starts nothing in Python."""
    pid = node.rpc_call(
        beam.name, "erlang", "spawn", [Atom(node.name), Atom("os"), Atom("cmd"), ["true"]]
    )
    assert isinstance(pid, Pid)
    ref = node.rpc_call(beam.name, "erlang", "monitor", [Atom("process"), pid])
    assert isinstance(ref, Ref)


def test_what_erlang_functions_print(
    node: Node, beam: Beam, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that prints does not wait for ever for an answer; what it prints is logged."""
    with caplog.at_level("INFO", "hornbeam.distribution.output"):
        assert node.rpc_call(beam.name, "io", "put_chars", ["printed text"], timeout=LONG) == "ok"
        assert node.rpc_call(beam.name, "io", "format", ["~p", [1]], timeout=LONG) == "ok"
    assert "printed text" in caplog.text


def test_the_same_from_an_event_loop(node: Node, beam: Beam) -> None:
    """Everything that waits has a form for await, which does not block its loop."""

    async def run() -> None:
        target, here = ("peer", beam.name), Atom(node.name)
        assert await node.aio.ping(beam.name)
        assert await node.aio.rpc_call(beam.name, "erlang", "node") == beam.name
        await node.aio.cast(target, "casted")
        assert "casted" in await node.aio.call(target, Atom("casts"))
        with node.process() as process:
            waiting = asyncio.ensure_future(process.aio.receive(LONG))
            await asyncio.sleep(0)
            await node.aio.send(process.pid, "woken")
            assert await waiting == "woken"
            with pytest.raises(CallTimeout):
                await process.aio.receive(0.01)
            await process.aio.monitor(("nobody", beam.name))
            down = await process.aio.receive(LONG)
            assert (down[0], down[4]) == ("DOWN", "noproc")
        await node.aio.rpc_cast(beam.name, "rpc", "call", [here, here, here, []])
        await node.aio.connect(beam.name)

    asyncio.run(run())


def test_a_receive_that_is_cancelled_loses_nothing(node: Node) -> None:
    """A message that arrives while its receiver is being cancelled is there for the next one."""

    async def run() -> None:
        with node.process() as process:
            for number in range(200):
                waiting = asyncio.ensure_future(process.aio.receive(LONG))
                await asyncio.sleep(0)
                process.send(process.pid, number)
                waiting.cancel()
                results = await asyncio.gather(waiting, return_exceptions=True)
                if isinstance(results[0], asyncio.CancelledError):
                    assert await process.aio.receive(LONG) == number
                else:
                    assert results[0] == number

    asyncio.run(run())
