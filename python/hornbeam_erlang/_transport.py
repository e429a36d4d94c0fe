# SPDX-License-Identifier: Apache-2.0
"""The port's two descriptors: blocking reads from 3, blocking writes to 4 (PROTOCOL.md, section 2).

One thread reads at a time and one writes at a time; the hub and the outbox see to that. The end of
either direction means that the node is gone, and then this process ends at once, whatever the
application is doing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import threading
from typing import NoReturn

READ_FD = 3
WRITE_FD = 4
PIPE_BYTES = 1048576
READ_BYTES = 65536  # one read; requests rarely have more, and each read allocates it anew
EXIT_NODE_GONE = 1
EXIT_PROTOCOL = 70  # EX_SOFTWARE of sysexits.h: one side broke the protocol, or a bug of ours
FLUSH_SECONDS = 0.2


class Transport:
    """A pair of descriptors. Not inherited by programs the application starts."""

    def __init__(self, read_fd: int = READ_FD, write_fd: int = WRITE_FD) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._read_bytes = READ_BYTES
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
        try:
            data = os.read(self._read_fd, self._read_bytes)
        except OSError:
            data = b""
        if not data:
            end_process(EXIT_NODE_GONE)
        # Long bodies fill the buffer again and again: read them in larger portions.
        self._read_bytes = PIPE_BYTES if len(data) == self._read_bytes else READ_BYTES
        return data

    def write(self, data: bytes) -> None:
        """Writes all of `data`.

        Blocks only while the node's virtual machine itself does not run: a port is read whether or
        not its owner is busy, and a node that has died leaves EPIPE.
        """
        try:
            written = os.write(self._write_fd, data)
            while written < len(data):
                written += os.write(self._write_fd, memoryview(data)[written:])
        except OSError:
            end_process(EXIT_NODE_GONE)

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
