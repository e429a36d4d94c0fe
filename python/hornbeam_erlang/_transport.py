# SPDX-License-Identifier: Apache-2.0
"""The port's two descriptors: reads from 3, writes to 4 (PROTOCOL.md, section 2).

One thread reads at a time and one writes at a time; the hub and the outbox see to that. The end of
either direction means that the node is gone, and then this process ends at once, whatever the
application is doing; a client, which has a life of its own, is told (`_client_transport`).

Threads block in reads and writes. An event loop must not: under it the descriptors are
non-blocking, and what a full pipe does not take is kept, in order, until it takes more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

READ_FD = 3
WRITE_FD = 4
PIPE_BYTES = 1048576
READ_BYTES = 65536  # one read; requests rarely have more, and each read allocates it anew
POLL_SECONDS = 60.0
EXIT_NODE_GONE = 1
EXIT_PROTOCOL = 70  # EX_SOFTWARE of sysexits.h: one side broke the protocol, or a bug of ours
FLUSH_SECONDS = 0.2
# Bytes that are kept for a full pipe before writers block after all. Credit bounds what an
# application can have on its way; only a node that does not run lets it come to this.
MAX_KEPT = 67108864
MAX_PARTS = 1024  # of one write: IOV_MAX of Linux


class Transport:
    """A pair of descriptors. Not inherited by programs the application starts."""

    def __init__(self, read_fd: int = READ_FD, write_fd: int = WRITE_FD) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._read_bytes = READ_BYTES
        self._on_full: Callable[[], None] | None = None
        self._kept: list[bytes | memoryview] = []
        self._kept_bytes = 0
        self._lock = threading.Lock()  # of what is kept
        self.has_ended = False  # of a client: nothing can be read any more
        for fd in (read_fd, write_fd):
            os.set_inheritable(fd, False)
            os.set_blocking(fd, True)
            _enlarge(fd)

    def poll(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds; True when `read` would not block."""
        # Not a poll object: those refuse to be used by two threads, and the attendant looks, too.
        readable, _, _ = select.select([self._read_fd], (), (), max(0.0, timeout))
        return bool(readable)

    def read(self) -> bytes:
        """The next bytes. Blocks without a deadline: the node's end closes the descriptor, which
        ends the process."""
        while not (data := self._read()) and not self.has_ended:
            self.poll(POLL_SECONDS)
        return data

    def read_available(self) -> bytes:
        """The bytes that are there, empty when there are none."""
        if self._on_full is None and not self.poll(0):
            return b""
        return self._read()

    def _read(self) -> bytes:
        try:
            data = os.read(self._read_fd, self._read_bytes)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._end()
        # Long bodies fill the buffer again and again: read them in larger portions.
        self._read_bytes = PIPE_BYTES if len(data) == self._read_bytes else READ_BYTES
        return data

    def write(self, *parts: bytes) -> None:
        """Writes all of `parts`, or keeps what the pipe does not take (see the head of the module).

        Blocks only while the node's virtual machine itself does not run: a port is read whether or
        not its owner is busy, and a node that has died leaves EPIPE.
        """
        if self._on_full is not None:
            self._write_or_keep(parts)
            return
        try:
            rest = unwritten(parts, self._write(parts))
            while rest:
                rest = unwritten(rest, self._write(rest))
        except OSError:
            self._break()

    def _write(self, parts: Sequence[bytes | memoryview]) -> int:
        if len(parts) == 1:
            return os.write(self._write_fd, parts[0])
        return os.writev(self._write_fd, parts[:MAX_PARTS])

    def _end(self) -> None:
        """There is nothing to read any more."""
        end_process(EXIT_NODE_GONE)

    def _break(self) -> None:
        """Nobody reads any more."""
        end_process(EXIT_NODE_GONE)

    # Under an event loop.

    def unblock(self, on_full: Callable[[], None]) -> tuple[int, int]:
        """Never blocks from now on; `on_full` is called, in any thread, when something is kept and
        nothing was before.

        Returns: the descriptors to read from and to write to.
        """
        self._on_full = on_full
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        return self._read_fd, self._write_fd

    def _write_or_keep(self, parts: Sequence[bytes]) -> None:
        with self._lock:
            was_full = bool(self._kept)
            rest = unwritten(parts, 0 if was_full else self._write_some(parts))
            if not rest:
                return
            self._kept += rest
            self._kept_bytes += sum(map(len, rest))
        if self._on_full is not None and not was_full:
            self._on_full()
        if self._kept_bytes > MAX_KEPT:
            self.finish()

    def _write_some(self, parts: Sequence[bytes | memoryview]) -> int:
        try:
            return self._write(parts)
        except BlockingIOError:
            return 0
        except OSError:
            end_process(EXIT_NODE_GONE)

    def has_kept(self) -> bool:
        """Whether something waits for the pipe to take it."""
        return bool(self._kept)

    def write_kept(self) -> bool:
        """Writes what the pipe takes of what was kept. True when nothing is left."""
        with self._lock:
            while self._kept:
                whole = len(self._kept) <= MAX_PARTS
                written = self._write_some(self._kept)
                self._kept_bytes -= written
                self._kept = unwritten(self._kept, written)
                if self._kept and (whole or not written):
                    return False  # full again
            return True

    def finish(self) -> None:
        """Blocks until nothing is kept; the node's end ends the process."""
        while not self.write_kept():
            select.select((), [self._write_fd], (), POLL_SECONDS)

    def close(self) -> None:
        """Closes both descriptors; for a forked child, to which the connection does not belong."""
        for fd in (self._read_fd, self._write_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        # The child's next files get these numbers: never write to them.
        self._read_fd = self._write_fd = -1


def unwritten(parts: Sequence[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """What a write of `written` bytes has left of `parts`."""
    for index, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[index + 1 :]]
        written -= len(part)
    return []


def end_process(status: int) -> NoReturn:
    """Ends this process now: other threads may be stuck in the application, so nothing is waited
    for."""
    # The application may be stuck in a write and hold the lock of the very stream: flush on a
    # thread we can leave.
    flusher = threading.Thread(target=_flush_streams, daemon=True)
    with contextlib.suppress(RuntimeError):
        flusher.start()
        flusher.join(FLUSH_SECONDS)
    os._exit(status)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Their readers may be gone with the node; there is nobody left to tell.
        with contextlib.suppress(Exception):
            stream.flush()


def _enlarge(fd: int) -> None:
    """A larger pipe takes a whole batch in one write; where that is not allowed the default works
    as well."""
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, command, PIPE_BYTES)
