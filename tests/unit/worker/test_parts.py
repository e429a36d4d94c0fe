# SPDX-License-Identifier: Apache-2.0
"""The parts of a worker by themselves: ledger, descriptors, outbox, waiting threads, tracebacks,
log."""

from __future__ import annotations

import io
import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbeam_erlang import _ledger
from hornbeam_erlang._leader import Leadership, Waiter
from hornbeam_erlang._logging import FallbackHandler, install_fallback
from hornbeam_erlang._outbox import MAX_PENDING_BYTES, Outbox
from hornbeam_erlang._tracebacks import application_part, format_exception
from hornbeam_erlang._transport import Transport
from hornbeam_erlang._wire import FROM_WORKER, MAX_TEXT, Message, Splitter, cut_text, parse

# The ledger.


def test_ledger_is_two_little_endian_cells(tmp_path: Path) -> None:
    """What is stored is seen by whoever reads the file, as u64, and the other way round."""
    path = tmp_path / "ledger"
    path.write_bytes(bytes(16))
    cells = _ledger.open_ledger(os.fsencode(path))
    cells[_ledger.STARTED] = 2**63 - 1
    assert struct.unpack("<QQ", path.read_bytes()) == (2**63 - 1, 0)
    with path.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<Q", 77))
    assert cells[_ledger.LIMIT] == 77


@pytest.mark.parametrize("size", [0, 15, 17])
def test_ledger_of_another_size(tmp_path: Path, size: int) -> None:
    """A file that is no ledger is refused with its size."""
    path = tmp_path / "ledger"
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"has {size} bytes, expected 16"):
        _ledger.open_ledger(os.fsencode(path))


# Descriptors.


@pytest.fixture
def pipes() -> Iterator[tuple[Transport, int, int]]:
    """A transport, the end that feeds it and the end that drains it."""
    from_node, node_writes = os.pipe()
    node_reads, to_node = os.pipe()
    transport = Transport(from_node, to_node)
    yield transport, node_writes, node_reads
    transport.close()
    os.close(node_writes)
    os.close(node_reads)


def test_transport_reads(pipes: tuple[Transport, int, int]) -> None:
    """`poll` tells whether `read` would block."""
    transport, node_writes, _ = pipes
    assert not transport.poll(0)
    os.write(node_writes, b"abc")
    assert transport.poll(1)
    assert transport.read() == b"abc"
    assert not transport.poll(-1)


def test_transport_writes_all(pipes: tuple[Transport, int, int]) -> None:
    """A write that is larger than the pipe arrives whole."""
    transport, _, node_reads = pipes
    data = os.urandom(5_000_000)
    writer = threading.Thread(target=transport.write, args=(data,))
    writer.start()
    received = bytearray()
    while len(received) < len(data):
        received += os.read(node_reads, 1_000_000)
    writer.join(30)
    assert bytes(received) == data


def test_transport_is_not_inherited(pipes: tuple[Transport, int, int]) -> None:
    """Programs that the application starts do not get the descriptors."""
    transport, _, _ = pipes
    assert not os.get_inheritable(transport._read_fd)
    assert not os.get_inheritable(transport._write_fd)


def test_closed_transport_forgets_its_numbers() -> None:
    """After `close` the numbers belong to somebody else's files and are never used again."""
    read_fd, node_writes = os.pipe()
    node_reads, write_fd = os.pipe()
    transport = Transport(read_fd, write_fd)
    transport.close()
    assert (transport._read_fd, transport._write_fd) == (-1, -1)
    os.close(node_writes)
    os.close(node_reads)


# The outbox.


class Written:
    """Keeps what is written, as messages per packet."""

    def __init__(self) -> None:
        self.packets: list[list[Message]] = []

    def write(self, *parts: bytes) -> None:
        data = b"".join(parts)
        self.packets += [parse(packet, FROM_WORKER) for packet in Splitter().feed(data)]

    def finish(self) -> None:
        """Nothing is ever kept back here."""


def test_outbox_gathers() -> None:
    """Messages leave together, in order, in one packet; nothing is written when nothing is
    pending."""
    written = Written()
    outbox = Outbox(written)
    outbox.flush()
    for ident in range(1, 4):
        outbox.put((28, ident))
    assert written.packets == []
    outbox.flush()
    outbox.flush()
    assert written.packets == [[(28, 1), (28, 2), (28, 3)]]
    assert outbox.flushes == 1


@pytest.mark.parametrize(
    ("size", "due"), [(MAX_PENDING_BYTES, False), (MAX_PENDING_BYTES + 1, True)]
)
def test_outbox_flushes_when_much_is_pending(size: int, due: bool) -> None:
    """More than 64 KiB do not wait for the end of the batch."""
    written = Written()
    outbox = Outbox(written)
    outbox.since += 1000  # the batch has only just begun
    outbox.put((21, 1, b"x"), size)
    outbox.flush_if_due()
    assert bool(written.packets) is due


def test_outbox_flushes_when_the_oldest_has_waited() -> None:
    """Answers do not wait longer than a millisecond for those that follow."""
    written = Written()
    outbox = Outbox(written)
    outbox.put((6,))
    outbox.since -= 0.002
    outbox.flush_if_due()
    assert written.packets == [[(6,)]]


def test_outbox_loses_nothing_between_threads() -> None:
    """Threads that put while others flush: every message leaves exactly once, each thread's in
    order."""
    written = Written()
    outbox = Outbox(written)

    def work(number: int) -> None:
        for count in range(1, 501):
            outbox.put((28, number * 1000 + count))
            if count % 7 == 0:
                outbox.flush()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    outbox.flush()
    seen = [message[1] for packet in written.packets for message in packet]
    for number in range(1, 5):
        mine = [ident for ident in seen if ident // 1000 == number]
        assert mine == [number * 1000 + count for count in range(1, 501)]


# Leader and followers.


class Channel:
    """A reader whose bytes come from the test."""

    def __init__(self) -> None:
        self.items: deque[bytes] = deque()
        self.arrived = threading.Condition()
        self.reading = 0

    def put(self, item: bytes) -> None:
        with self.arrived:
            self.items.append(item)
            self.arrived.notify_all()

    def poll(self, timeout: float) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: bool(self.items), timeout)

    def read(self) -> bytes:
        with self.arrived:
            self.reading += 1
            assert self.reading == 1, "two threads read at once"
            assert self.arrived.wait_for(lambda: bool(self.items), 10)
            self.reading -= 1
            return self.items.popleft()

    def read_available(self) -> bytes:
        return self.read() if self.poll(0) else b""


class Box:
    """What one thread waits for."""

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.waiter = Waiter()


def test_one_reads_for_all() -> None:
    """Of many threads that wait, one at a time reads; each gets its own, in whatever order it
    arrives."""
    channel = Channel()
    boxes = {b"%d" % number: Box() for number in range(8)}

    def handle(data: bytes) -> None:
        box = boxes[data]
        box.value = data
        with leadership.mutex:
            leadership.wake(box.waiter)

    leadership = Leadership(channel, handle, deque())

    def work(box: Box) -> None:
        while box.value is None:
            leadership.wait(box.waiter, leadership.blocked, lambda: box.value, None)
        with leadership.mutex:
            leadership.rebalance()

    threads = [threading.Thread(target=work, args=(box,)) for box in boxes.values()]
    for thread in threads:
        thread.start()
    for name in (b"3", b"0", b"7", b"1", b"6", b"2", b"5", b"4"):
        channel.put(name)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not leadership.blocked


def test_wait_ends_at_its_deadline() -> None:
    """A leader and a follower both stop waiting when their time is over, and leave nothing
    behind."""
    leadership = Leadership(Channel(), lambda data: None, deque())
    results: list[bool] = []

    def work() -> None:
        from time import monotonic

        deadline = monotonic() + 0.05
        results.append(leadership.wait(Waiter(), leadership.blocked, lambda: False, deadline))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [False, False]
    assert not leadership.blocked
    assert not leadership.has_leader()


def test_wait_does_not_read_when_it_is_ready() -> None:
    """What is there already is not waited for."""
    leadership = Leadership(Channel(), lambda data: None, deque())
    assert leadership.wait(Waiter(), leadership.idle, lambda: True, None)


# Texts.


def test_text_is_cut() -> None:
    """The text of ABORT and its like is cut at the front, since a traceback ends with what
    matters."""
    assert cut_text("x" * MAX_TEXT) == b"x" * MAX_TEXT
    cut = cut_text("x" * MAX_TEXT + "the error")
    assert len(cut) == MAX_TEXT
    assert cut.startswith(b"[...] x")
    assert cut.endswith(b"the error")
    assert cut_text("\udc80") == b"\\udc80"


def test_traceback_without_our_frames() -> None:
    """Frames that lead from hornbeam to the application are left out; an error of our own keeps
    its frames."""
    with pytest.raises(ValueError, match="16") as caught:
        _ledger.open_ledger(b"/dev/null")
    own = caught.value
    assert "open_ledger" in format_exception(own)
    assert application_part(None) is None


# The log.


@pytest.fixture
def loggers() -> Iterator[logging.Logger]:
    """The logger `hornbeam` without handlers, put back afterwards."""
    log = logging.getLogger("hornbeam")
    saved, log.handlers[:] = log.handlers[:], []
    yield log
    log.handlers[:] = saved


def bare_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away pytest's own handlers, which it adds before each test."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_log_falls_back_to_stderr(
    loggers: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without any configuration our records go to stderr, with time, process, level and name."""
    bare_root(monkeypatch)
    install_fallback()
    logging.getLogger("hornbeam.wsgi").error("it failed")
    line = capsys.readouterr().err
    assert line.endswith(f"[{os.getpid()}] ERROR hornbeam.wsgi: it failed\n")


def test_log_leaves_a_configured_application_alone(
    loggers: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An application that configures the root logger, at any time, gets our records there only."""
    bare_root(monkeypatch)
    install_fallback()
    stream = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(stream))
    logging.getLogger("hornbeam.wsgi").error("it failed")
    assert stream.getvalue() == "it failed\n"
    assert capsys.readouterr().err == ""


def test_log_keeps_a_handler_of_the_application(loggers: logging.Logger) -> None:
    """An application that gave the logger `hornbeam` a handler keeps it, and no other is added."""
    own = logging.NullHandler()
    loggers.addHandler(own)
    install_fallback()
    assert loggers.handlers == [own]
    assert not any(isinstance(handler, FallbackHandler) for handler in loggers.handlers)
