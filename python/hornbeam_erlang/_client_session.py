# SPDX-License-Identifier: Apache-2.0
"""The connection of a client that is attached over the Erlang distribution: messages between two
processes, as in `_session_transport`, whose end is told, as in `_client_transport`.

Both directions are one socket: this one is shut down in one direction, then in the other, and
closed last.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from ._client_transport import ClientTransport
from ._session_transport import SessionTransport
from .terms import Atom


class ClientSession(SessionTransport, ClientTransport):
    """See the head of the module; made by `_attach.attach`."""

    def poll(self, timeout: float) -> bool:
        return self.has_ended or super().poll(timeout)

    def _lose(self, reason: str) -> None:
        self._end()  # whoever waits is told

    def _end(self) -> None:
        super()._end()
        self.abort()  # a thread that reads might wait for a node that is silent for good

    def _unblock_writes(self, seconds: float) -> None:
        # Not O_NONBLOCK, which would hold for reads, too.
        whole, part = divmod(max(seconds, 0.001), 1)
        option = struct.pack("ll", int(whole), int(part * 1_000_000))
        with _socket(self._write_fd) as shared:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, option)

    def close_write(self, seconds: float) -> bool:
        """Says that this program leaves, and closes this direction.

        Returns: False when a thread has been blocked in a write for `seconds`.
        """
        if not self.limit_writes(seconds):
            return False
        if self._write_fd >= 0:
            self._send((self._session.pid, (Atom("exit_status"), 0)))
        with self._write_lock:
            fd, self._write_fd = self._write_fd, -1
            if fd >= 0:
                _shut_down(fd, socket.SHUT_WR)
        return True

    def abort(self) -> None:
        """Ends whatever waits in a read or in a write."""
        if self._read_fd >= 0:
            _shut_down(self._read_fd, socket.SHUT_RDWR)


def _socket(fd: int) -> socket.socket:
    return socket.socket(fileno=os.dup(fd))


def _shut_down(fd: int, how: int) -> None:
    # It may be shut down already, by either side.
    with contextlib.suppress(OSError), _socket(fd) as shared:
        shared.shutdown(how)
