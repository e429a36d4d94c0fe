# SPDX-License-Identifier: Apache-2.0
"""The public names of hornbeam_erlang, and what they do where there is no node."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from types import ModuleType

import pytest

import hornbeam_erlang
from hornbeam_erlang import _calls, _served, _state, aio, errors, terms
from hornbeam_erlang._calls import call_service
from hornbeam_erlang._served import register_service, unregister_service

EXPECTED = {
    *errors.__all__,
    *terms.__all__,
    "__version__",
    "call",
    "cast",
    "codec",
    *("get", "set", "delete", "incr", "decr", "pipeline"),
    *("publish", "subscribe", "unsubscribe", "receive_pubsub", "subscription", "lost_messages"),
    *("Published", "Subscription", "cached", "cache_clear", "cache_stats"),
    *("register_hook", "hook", "unregister_hook", "unhook", "call_timeout"),
    *("start", "Node", "Connection"),
    *("execute", "execute_async", "await_result", "stream", "stream_async"),
    *("rpc_call", "rpc_cast", "rpc_multicall", "node", "nodes", "connect", "disconnect", "ping"),
    *("monitor_nodes", "NodeEvent"),
    *(name for name in vars(_state) if name.startswith("state_")),
}


def test_public_names() -> None:
    """`__all__` is the documented surface, and every name in it is there."""
    assert set(hornbeam_erlang.__all__) == EXPECTED
    assert sorted(hornbeam_erlang.__all__) == hornbeam_erlang.__all__
    for name in hornbeam_erlang.__all__:
        assert getattr(hornbeam_erlang, name) is not None


def test_call_outside_a_worker() -> None:
    """Outside a worker `call` and `cast` raise NotConnected, which is a ConnectionError and says
    what to do."""
    _calls.connect(None, _calls.ADVICE)  # as in a program that never had a connection
    with pytest.raises(hornbeam_erlang.NotConnected) as caught:
        hornbeam_erlang.call("add", 1, 2)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, RuntimeError)
    assert "call('add')" in str(caught.value)
    assert "start the application with the command 'hornbeam" in str(caught.value)
    with pytest.raises(hornbeam_erlang.NotConnected, match=r"cast\('log'\)"):
        hornbeam_erlang.cast("log")


def test_state_outside_a_worker() -> None:
    """Every operation on the state raises NotConnected that names it; a pipeline does when it is
    sent."""
    with pytest.raises(hornbeam_erlang.NotConnected, match="state_get: this process is not"):
        hornbeam_erlang.state_get("key")
    pipeline = hornbeam_erlang.pipeline()
    pending = pipeline.incr("key")
    with pytest.raises(hornbeam_erlang.NotConnected, match="pipeline: this process is not"):
        pipeline.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="has not been sent"):
        pending.result()


def test_rpc_outside_a_worker() -> None:
    """Calls of other nodes raise NotConnected that names them; what is no list of arguments is a
    TypeError first."""
    call = ("worker@gpu", "lists", "reverse")
    with pytest.raises(hornbeam_erlang.NotConnected, match=r"rpc_call\('worker@gpu', 'lists'"):
        hornbeam_erlang.rpc_call(*call, [[1]], timeout_ms=100)
    with pytest.raises(hornbeam_erlang.NotConnected, match=r"rpc_cast\('worker@gpu', 'lists'"):
        hornbeam_erlang.rpc_cast(*call, [[1]])
    with pytest.raises(hornbeam_erlang.NotConnected, match="monitor_nodes"):
        hornbeam_erlang.monitor_nodes()
    with pytest.raises(TypeError, match="args: got str, expected a list or tuple"):
        hornbeam_erlang.rpc_call(*call, "text")
    with pytest.raises(ValueError, match="rpc_multicall: timeout_ms is 0"):
        hornbeam_erlang.rpc_multicall(["a@b"], "lists", "reverse", [[1]], 0)


def test_operations_look_like_functions() -> None:
    """What `help` shows of an operation is the function that is called, not the request behind
    it."""
    incr = hornbeam_erlang.state_incr
    shown = "(key: 'Key', delta: 'int' = 1, *, ttl_ms: 'int | None' = None) -> 'int'"
    assert str(inspect.signature(incr)) == shown
    assert (incr.__name__, incr.__module__) == ("state_incr", "hornbeam_erlang")
    assert (incr.__doc__ or "").startswith("Adds `delta`")
    assert inspect.get_annotations(incr)["return"] == "int"
    assert str(inspect.signature(hornbeam_erlang.state_info)) == "() -> 'dict[str, int | None]'"


@pytest.mark.parametrize("imported", ["hornbeam_erlang", "hornbeam_erlang.node"])
def test_async_twins(imported: str) -> None:
    """Each operation has a coroutine function of the same name, parameters and result in `aio`."""
    importlib.import_module(imported)
    for name in aio.__all__:
        twin, function = getattr(aio, name), getattr(hornbeam_erlang, name)
        if isinstance(function, ModuleType):  # hornbeam_erlang.node, once it was imported
            function = type(function).__call__
        if name == "pipeline":
            continue
        if name == "stream":
            assert [*inspect.signature(twin).parameters] == [
                *inspect.signature(function).parameters
            ]
            continue
        assert inspect.iscoroutinefunction(twin), name
        if name != "cached":  # what it computes with is awaited, too
            assert inspect.signature(twin) == inspect.signature(function)
        assert (twin.__doc__, twin.__module__) == (function.__doc__, "hornbeam_erlang.aio")
    assert {name for name in hornbeam_erlang.__all__ if name.startswith("state_")} < {*aio.__all__}


@pytest.mark.parametrize("timeout", [0, -1, 2**32])
def test_call_timeout_out_of_range(timeout: int) -> None:
    """A time that the protocol cannot carry is refused."""
    block = hornbeam_erlang.call_timeout(timeout)
    with pytest.raises(ValueError, match=f"timeout_ms is {timeout}, expected 1"):
        block.__enter__()


def test_hooks_outside_a_worker() -> None:
    """A module that registers handlers can be imported anywhere; executing raises NotConnected."""
    hornbeam_erlang.register_hook("h", len)
    hornbeam_erlang.unregister_hook("h")
    hornbeam_erlang.unregister_hook("h")
    with pytest.raises(hornbeam_erlang.NotConnected, match=r"execute\('h', 'x'\)"):
        hornbeam_erlang.execute("h", "x")
    with pytest.raises(hornbeam_erlang.NotConnected, match="stream: this process is not"):
        next(hornbeam_erlang.stream("h", "x"))


@pytest.mark.parametrize("path", ["", 1, None])
def test_hook_without_a_path(path: object) -> None:
    """A path is a text that is not empty."""
    with pytest.raises(TypeError, match="app_path is"):
        hornbeam_erlang.register_hook(path, len)  # type: ignore[arg-type]  # what is tested


def test_async_outside_a_worker() -> None:
    """Outside a worker the coroutines raise NotConnected, too."""
    with pytest.raises(hornbeam_erlang.NotConnected, match="state_get: this process is not"):
        asyncio.run(aio.state_get("key"))


@pytest.mark.parametrize("timeout", [0, -1, 2**32])
def test_timeout_out_of_range(timeout: int) -> None:
    """A timeout that the protocol cannot carry is refused before anything is sent."""
    with pytest.raises(ValueError, match=f"timeout_ms is {timeout}, expected 1"):
        call_service("s", [], {}, timeout, "s()")


def test_services_are_replaced_and_taken_away() -> None:
    """A name has one service at a time."""
    register_service("twice", len)
    register_service("twice", max)
    assert _served._services[b"twice"] is max
    unregister_service("twice")
    unregister_service("twice")
    assert b"twice" not in _served._services


def test_importing_starts_no_thread() -> None:
    """The package does nothing on import: no thread, no connection, no log handler."""
    assert not any(t.name.startswith("hornbeam") for t in threading.enumerate())
    assert _calls._hub is None
