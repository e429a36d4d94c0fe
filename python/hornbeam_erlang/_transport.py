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
from collections import deque
from collections.abc import Callable
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


class Transport:
    """A pair of descriptors. Not inherited by programs the application starts."""

    def __init__(self, read_fd: int = READ_FD, write_fd: int = WRITE_FD) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._read_bytes = READ_BYTES
        self._on_full: Callable[[], None] | None = None
        self._kept: deque[memoryview] = deque()
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

    def write(self, data: bytes) -> None:
        """Writes all of `data`, or keeps what the pipe does not take (see the head of the module).

        Blocks only while the node's virtual machine itself does not run: a port is read whether or
        not its owner is busy, and a node that has died leaves EPIPE.
        """
        if self._on_full is not None:
            self._write_or_keep(data)
            return
        try:
            written = os.write(self._write_fd, data)
            while written < len(data):
                written += os.write(self._write_fd, memoryview(data)[written:])
        except OSError:
            self._break()

    def _end(self) -> None:
        """There is nothing to read any more."""
        end_process(EXIT_NODE_GONE)

    def _break(self) -> None:
        """Nobody reads any more."""
        end_process(EXIT_NODE_GONE)

    # Under an event loop.

    def unblock(self, on_full: Callable[[], None]) -> tuple[int, int]:
        """Never blocks from now on; `on_full` is called, in any thread, when something is kept.

        Returns: the descriptors to read from and to write to.
        """
        self._on_full = on_full
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        return self._read_fd, self._write_fd

    def _write_or_keep(self, data: bytes) -> None:
        with self._lock:
            written = 0 if self._kept else self._write(data)
            if written == len(data):
                return
            self._kept.append(memoryview(data)[written:])
            self._kept_bytes += len(data) - written
        if self._on_full is not None:
            self._on_full()
        if self._kept_bytes > MAX_KEPT:
            self.finish()

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._write_fd, data)
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
                view = self._kept[0]
                written = self._write(view)
                self._kept_bytes -= written
                if written < len(view):
                    self._kept[0] = view[written:]
                    return False
                self._kept.popleft()
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
