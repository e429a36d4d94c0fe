# SPDX-License-Identifier: Apache-2.0
"""The two descriptors of a client: a program that goes on when its node has gone.

As `_transport`, but the end of the connection is told once, by whichever thread meets it, and from
then on nothing is read or written. What is written to a node that has gone is dropped: its end is
about to be read, and answers every call.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from time import monotonic

from ._hub_calls import nobody
from ._transport import Transport

SELECT_MAX = 1024  # FD_SETSIZE: descriptors from here on are not for select


class ClientTransport(Transport):
    """See the head of the module.

    Args:
        read_fd, write_fd: belong to it from now on.

    Attributes:
        on_end: called when there is nothing to read any more, in the thread that reads; perhaps
            several times.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        super().__init__(read_fd, write_fd)
        self.on_end: Callable[[], None] = nobody
        self._write_lock = threading.Lock()
        self._deadline: float | None = None  # of writes, once the program is about to leave

    def poll(self, timeout: float) -> bool:
        if self.has_ended:
            return True
        if self._read_fd < SELECT_MAX:
            return super().poll(timeout)
        ready = select.poll()
        ready.register(self._read_fd, select.POLLIN)
        return bool(ready.poll(max(0.0, timeout) * 1000))

    def _read(self) -> bytes:
        return b"" if self.has_ended else super()._read()

    def _end(self) -> None:
        self.has_ended = True
        self.on_end()

    def _break(self) -> None:
        """The node's end of the other direction follows."""

    def write(self, *parts: bytes) -> None:
        with self._write_lock:
            if self._write_fd < 0:
                return
            if self._deadline is None:
                super().write(*parts)
            else:
                self._write_until(memoryview(b"".join(parts)), self._deadline)

    def _write_until(self, data: memoryview, deadline: float) -> None:
        """Writes all of `data`, or drops the rest when the node does not take it in time."""
        ready = select.poll()
        ready.register(self._write_fd, select.POLLOUT)
        while data and (left := deadline - monotonic()) > 0:
            try:
                data = data[os.write(self._write_fd, data) :]
            except BlockingIOError:
                ready.poll(left * 1000)
            except OSError:
                return

    def limit_writes(self, seconds: float) -> bool:
        """From now on all writes together take no longer than that.

        Returns: False when a thread has been blocked in a write for so long.
        """
        if not self._write_lock.acquire(timeout=seconds):
            return False
        try:
            if self._write_fd >= 0:
                self._unblock_writes(seconds)
                self._deadline = monotonic() + seconds
        finally:
            self._write_lock.release()
        return True

    def _unblock_writes(self, seconds: float) -> None:
        os.set_blocking(self._write_fd, False)

    def close_write(self, seconds: float) -> bool:
        """Closes the descriptor to write to, which ends the connection at the node's side.

        Returns: False when a thread has been blocked in a write for `seconds`.
        """
        if not self._write_lock.acquire(timeout=seconds):
            return False
        try:
            fd, self._write_fd = self._write_fd, -1
        finally:
            self._write_lock.release()
        if fd >= 0:
            os.close(fd)
        return True

    def abort(self) -> None:
        """Ends whatever waits in a read; nothing is to be done: the node has closed its end."""

    def close_read(self) -> None:
        """Closes the other one; nobody may be reading, or about to."""
        self.has_ended = True
        fd, self._read_fd = self._read_fd, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Closes both; for a forked child, which has one thread."""
        self.has_ended = True
        with contextlib.suppress(OSError):
            super().close()
