# SPDX-License-Identifier: Apache-2.0
"""The descriptors of a client: the end is told and ends no process, nothing blocks for ever."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from hornbeam_erlang._client_transport import SELECT_MAX, ClientTransport
from hornbeam_erlang._transport import PIPE_BYTES

SOON = 0.05
DEADLINE = 30.0


class Ends:
    """A transport and the node's ends of its two pipes."""

    def __init__(self) -> None:
        read_fd, self.to_client = os.pipe()
        self.from_client, write_fd = os.pipe()
        self.fds = read_fd, write_fd
        self.transport = ClientTransport(read_fd, write_fd)
        self.ends: list[int] = []
        self.transport.on_end = lambda: self.ends.append(1)

    def close(self) -> None:
        self.transport.close_write(DEADLINE)
        self.transport.close_read()
        for fd in (self.to_client, self.from_client):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_the_end_is_told(ends: Ends) -> None:
    """The node closes: what it sent before is read first, then the end is told; nobody waits."""
    os.write(ends.to_client, b"last")
    os.close(ends.to_client)
    ends.to_client = -1
    assert ends.transport.read() == b"last"
    assert ends.ends == []
    assert ends.transport.read() == b""
    assert (ends.ends, ends.transport.has_ended) == ([1], True)
    assert ends.transport.poll(DEADLINE)
    assert (ends.transport.read(), ends.transport.read_available()) == (b"", b"")


def test_writes_to_nobody_are_dropped(ends: Ends) -> None:
    """The node does not read any more: writes neither fail nor tell the end, which is about to be
    read."""
    os.close(ends.from_client)
    ends.from_client = -1
    ends.transport.write(b"lost")
    assert (ends.ends, ends.transport.has_ended) == ([], False)
    assert ends.transport.limit_writes(SOON)
    ends.transport.write(b"lost")


def test_writes_after_the_close_are_dropped(ends: Ends) -> None:
    """Closed once or twice, the number of the descriptor, which may be another file's, is left
    alone."""
    ends.transport.write(b"kept")
    assert ends.transport.close_write(SOON)
    assert ends.transport.close_write(SOON)
    reused = os.open(os.devnull, os.O_RDONLY)
    ends.transport.write(b"lost")
    os.close(reused)
    assert os.read(ends.from_client, 100) == b"kept"
    assert os.read(ends.from_client, 100) == b""


def test_limited_writes_give_up(ends: Ends) -> None:
    """A node that takes nothing keeps a program that leaves for no longer than it allows."""
    assert ends.transport.limit_writes(SOON)
    begin = monotonic()
    ends.transport.write(b"x" * (4 * PIPE_BYTES))
    ends.transport.write(b"y")
    assert monotonic() - begin < DEADLINE
    assert ends.transport.close_write(SOON)


def test_a_stuck_thread_is_noticed(ends: Ends) -> None:
    """A thread that is stuck in a write: whoever leaves is told so, in time."""
    stuck = threading.Thread(target=ends.transport.write, args=(b"x" * (4 * PIPE_BYTES),))
    stuck.start()
    while not os.read(ends.from_client, 1):
        pass
    assert not ends.transport.limit_writes(SOON)
    assert not ends.transport.close_write(SOON)
    os.close(ends.from_client)  # as when the node is killed
    ends.from_client = -1
    stuck.join(DEADLINE)
    assert not stuck.is_alive()


def test_high_descriptors() -> None:
    """Descriptors beyond what select can take are waited for all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SELECT_MAX + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    null = os.open(os.devnull, os.O_RDONLY)
    held = [null]
    try:
        while held[-1] < SELECT_MAX:
            held.append(os.dup(null))
        made = Ends()
        assert made.fds[0] > SELECT_MAX
        assert not made.transport.poll(0)
        os.write(made.to_client, b"there")
        assert made.transport.poll(DEADLINE)
        assert made.transport.read() == b"there"
        assert made.transport.read_available() == b""
        made.close()
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_forked_child_closes_its_copies(ends: Ends) -> None:
    """The copies of a forked child are closed, and closing them twice does no harm."""
    ends.transport.close()
    ends.transport.close()
    assert ends.transport.has_ended
    assert os.read(ends.from_client, 1) == b""
