# SPDX-License-Identifier: Apache-2.0
"""The public names of hornbeam_erlang, and what they do where there is no node."""

from __future__ import annotations

import threading

import pytest

import hornbeam_erlang
from hornbeam_erlang import _calls, errors, terms
from hornbeam_erlang._calls import call_service, register_service, unregister_service

EXPECTED = {
    *errors.__all__,
    *terms.__all__,
    "__version__",
    "call",
    "cast",
    "codec",
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
    with pytest.raises(hornbeam_erlang.NotConnected) as caught:
        hornbeam_erlang.call("add", 1, 2)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, RuntimeError)
    assert "call('add')" in str(caught.value)
    assert "start the application with the command 'hornbeam" in str(caught.value)
    with pytest.raises(hornbeam_erlang.NotConnected, match=r"cast\('log'\)"):
        hornbeam_erlang.cast("log")


@pytest.mark.parametrize("timeout", [0, -1, 2**32])
def test_timeout_out_of_range(timeout: int) -> None:
    """A timeout that the protocol cannot carry is refused before anything is sent."""
    with pytest.raises(ValueError, match=f"timeout_ms is {timeout}, expected 1"):
        call_service("s", [], {}, timeout, "s()")


def test_services_are_replaced_and_taken_away() -> None:
    """A name has one service at a time."""
    register_service("twice", len)
    register_service("twice", max)
    assert _calls._services[b"twice"] is max
    unregister_service("twice")
    unregister_service("twice")
    assert b"twice" not in _calls._services


def test_importing_starts_no_thread() -> None:
    """The package does nothing on import: no thread, no connection, no log handler."""
    assert not any(t.name.startswith("hornbeam") for t in threading.enumerate())
    assert _calls._hub is None
