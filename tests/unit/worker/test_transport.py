# SPDX-License-Identifier: Apache-2.0
"""Descriptors under an event loop: nothing blocks, nothing is lost, and the order stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from hornbeam_erlang import _transport
from hornbeam_erlang._transport import Transport, unwritten


@dataclass
class Ends:
    """A transport under an event loop, the node's ends, and how often it said that it is full."""

    transport: Transport
    node_writes: int
    node_reads: int
    full: list[int] = field(default_factory=list)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += os.read(self.node_reads, count - len(data))
        return data


@pytest.fixture
def ends() -> Iterator[Ends]:
    from_node, node_writes = os.pipe()
    node_reads, to_node = os.pipe()
    ends = Ends(Transport(from_node, to_node), node_writes, node_reads)
    assert ends.transport.unblock(lambda: ends.full.append(1)) == (from_node, to_node)
    yield ends
    ends.transport.close()
    os.close(node_writes)
    os.close(node_reads)


def test_read_available(ends: Ends) -> None:
    """Nothing there is no end and no wait."""
    assert ends.transport.read_available() == b""
    os.write(ends.node_writes, b"abc")
    assert ends.transport.read_available() == b"abc"
    assert ends.transport.read_available() == b""


def test_read_waits(ends: Ends) -> None:
    """`read` waits all the same, for who has to have an answer."""
    writer = threading.Timer(0.05, os.write, (ends.node_writes, b"late"))
    writer.start()
    assert ends.transport.read() == b"late"
    writer.join()


def test_full_pipe(ends: Ends) -> None:
    """What a full pipe does not take is kept and told, and leaves in order as the pipe takes it."""
    data = os.urandom(3_000_000)
    for start in range(0, len(data), 500_000):
        ends.transport.write(data[start : start + 500_000])
    assert ends.full
    assert ends.transport.has_kept()
    assert not ends.transport.write_kept()
    received = b""
    while not ends.transport.write_kept():
        received += os.read(ends.node_reads, 65536)
    assert not ends.transport.has_kept()
    assert received + ends.read(len(data) - len(received)) == data


def test_writes_after_the_pipe_was_full(ends: Ends) -> None:
    """A later write does not overtake what is kept."""
    first = b"1" * 2_000_000
    ends.transport.write(first)
    reader = threading.Thread(target=lambda: received.append(ends.read(len(first) + 1)))
    received: list[bytes] = []
    reader.start()
    ends.transport.write(b"2")
    ends.transport.finish()
    reader.join(30)
    assert received == [first + b"2"]


def test_parts_are_one_after_the_other(ends: Ends) -> None:
    """Parts leave in their order, more than one write takes, through a pipe that is full."""
    parts = [os.urandom(size) for size in (10, 1_100_000, 1, 300_000)] + [
        b"%d" % i for i in range(3000)
    ]
    ends.transport.write(*parts)
    assert ends.transport.has_kept()
    data = b"".join(parts)
    received = b""
    while not ends.transport.write_kept():
        received += os.read(ends.node_reads, 100_000)
    assert received + ends.read(len(data) - len(received)) == data


def test_parts_to_a_blocking_pipe() -> None:
    """Without an event loop a write returns when all parts are in the pipe."""
    (from_node, node_writes), (node_reads, to_node) = os.pipe(), os.pipe()
    transport = Transport(from_node, to_node)
    parts = [b"h" * 100, b"x" * 3_000_000, b"t" * 70_000]
    writer = threading.Thread(target=transport.write, args=parts)
    writer.start()
    received = b""
    while len(received) < 3_070_100:
        received += os.read(node_reads, 65536)
    writer.join(30)
    assert received == b"".join(parts)
    for fd in (from_node, node_writes, node_reads, to_node):
        os.close(fd)


def test_a_full_pipe_is_told_once(ends: Ends) -> None:
    """Whoever is told waits until all is written; what is kept meanwhile is no news."""
    for _ in range(5):
        ends.transport.write(b"x" * 1_000_000)
    assert len(ends.full) == 1
    while not ends.transport.write_kept():
        os.read(ends.node_reads, 1_000_000)
    for _ in range(5):
        ends.transport.write(b"x" * 1_000_000)
    assert len(ends.full) == 2


@pytest.mark.parametrize(
    ("written", "left"),
    [(0, [b"ab", b"c", b"def"]), (1, [b"b", b"c", b"def"]), (2, [b"c", b"def"]), (3, [b"def"])]
    + [(5, [b"f"]), (6, [])],
)
def test_unwritten(written: int, left: list[bytes]) -> None:
    """What a write has left begins within a part or between two."""
    assert unwritten([b"ab", b"c", b"def"], written) == left


def test_too_much_is_kept(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound writers block after all."""
    monkeypatch.setattr(_transport, "MAX_KEPT", 100_000)
    writer = threading.Thread(target=ends.transport.write, args=(b"x" * 3_000_000,))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    assert ends.read(3_000_000) == b"x" * 3_000_000
    writer.join(30)
    assert not writer.is_alive()
