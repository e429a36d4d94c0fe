# SPDX-License-Identifier: Apache-2.0
"""What a process has one of at a time: turns of threads, forked children; and that starting it
leaves nothing when it fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

import hornbeam_erlang
from hornbeam_erlang import CallTimeout
from hornbeam_erlang._node_process import NodeProcess
from hornbeam_erlang._process_wide import Current


@pytest.fixture
def busy() -> Iterator[None]:
    """Another thread has its turn and does not come to an end."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with Current.lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(30)
    yield
    done.set()
    thread.join()


def test_connect_waits_for_its_turn_no_longer_than_it_may(busy: None) -> None:
    """The deadline of a call holds while another thread connects, or starts a node, too."""
    with pytest.raises(CallTimeout, match="connect"):
        hornbeam_erlang.connect("nobody@localhost", "cookie", timeout_ms=20)


def test_a_forked_child_has_the_turn(busy: None) -> None:
    """The thread that held the lock is not there."""
    child = os.fork()
    if child == 0:
        os._exit(0 if Current.lock.acquire(timeout=0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_node_that_gets_no_second_pipe_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that were opened before the one that fails are closed."""
    pipes: list[tuple[int, int]] = []
    pipe = os.pipe

    def one() -> tuple[int, int]:
        if pipes:
            raise OSError("too many open files")
        pipes.append(pipe())
        return pipes[0]

    monkeypatch.setattr(os, "pipe", one)
    with pytest.raises(OSError, match="too many"):
        NodeProcess({}, (), {}, None)
    for fd in pipes[0]:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
