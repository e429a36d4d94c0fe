# SPDX-License-Identifier: Apache-2.0
"""The connection of a worker that is attached over the Erlang distribution (PROTOCOL.md, section
2.2): packets travel as messages between two processes, one of them this program.

As `_transport`, of which it is one, over one socket: whoever waits reads. The node ends it by a
message or by closing; a node that is silent for longer than the tick time is given up, which is
looked at with every sign of life that is sent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from time import monotonic
from typing import NamedTuple

from . import codec
from ._distribution_connection import Connection, Event
from ._distribution_errors import DistributionError
from ._distribution_events import Send, SpawnRequest, Unlink
from ._distribution_signals import Encoded
from ._transport import PIPE_BYTES, Transport
from .terms import Atom, Pid

LEAVE_SECONDS = 2.0  # for the node to take what was sent, and to close
log = logging.getLogger("hornbeam.session")
SELECT_MAX = 1024  # FD_SETSIZE: descriptors from here on are not for select


class Session(NamedTuple):
    """What has been agreed with the node.

    Attributes:
        pid: who speaks for this program. owner: the process of the node.
        ticktime: seconds of silence after which either side gives up.
        early: what the node has said already.
    """

    pid: Pid
    owner: Pid
    ticktime: float
    early: list[Event]


class SessionTransport(Transport):
    """See the head of the module.

    Args:
        sock: connected, the handshake over; it belongs to this from now on.
        connection: the protocol on it.
    """

    def __init__(self, sock: socket.socket, connection: Connection, session: Session) -> None:
        self._write_order = threading.Lock()
        self._connection = connection
        self._session = session
        self._heard = monotonic()
        owner = b"\x83h\x02" + session.owner.external
        # What OTP 25 and OTP 26 make of an atom of ASCII.
        self._commands = (owner + b"h\x02w\x07commandm", owner + b"h\x02d\x00\x07commandm")
        self._closes = (owner + b"w\x05close", owner + b"d\x00\x05close")
        head = b"\x83h\x02" + codec.encode(session.pid)[1:] + b"h\x02"
        head += codec.encode(Atom("data"))[1:] + b"m"
        # What is the same in every message that is sent, and in every one that carries a packet:
        # all but the packet, which stands in it with its length.
        self._out = connection.send(session.pid, session.owner, Encoded(head))[4:]
        self._in = b""
        self._early = b"".join(self._packet(event) for event in session.early)
        _bound_silence(sock, session.ticktime)
        fd = sock.detach()
        super().__init__(fd, fd)

    # In.

    def poll(self, timeout: float) -> bool:
        if self._early:
            return True
        if self._read_fd < SELECT_MAX:
            return super().poll(timeout)
        ready = select.poll()
        ready.register(self._read_fd, select.POLLIN)
        return bool(ready.poll(max(0.0, timeout) * 1000))

    def read(self) -> bytes:
        # Once: what has come may be a sign of life and no more, and whoever waits has a deadline.
        return self._read()

    def _read(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        data = super()._read()
        if not data:
            return data
        self._heard = monotonic()
        if self._in and not self._connection.waiting:
            packet, data = self._plain(data)
            if not data:
                return packet
            return packet + self._received(data)
        return self._received(data)

    def _plain(self, data: bytes) -> tuple[bytes, bytes]:
        """The packets of the messages at the head of `data`, as long as they are whole and carry
        nothing else; and the rest, which is for the protocol."""
        start, packets, size = 0, [], len(self._in)
        while data.startswith(self._in, start + 4):
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > len(data):
                break
            packets.append(data[start + 4 + size : end])
            start = end
        return b"".join(packets), data[start:]

    def _received(self, data: bytes) -> bytes:
        fresh = not self._connection.waiting
        try:
            events = self._connection.receive(data)
        except DistributionError as exc:
            self._lose(f"the node broke the distribution: {exc}")
            return b""
        if len(events) == 1:
            packet = self._packet(events[0])
            if packet and fresh and data.endswith(packet) and not self._connection.waiting:
                # One message, and the only one: what is before its packet is before every other.
                self._in = data[4 : len(data) - len(packet)]
            return packet
        return b"".join(map(self._packet, events))

    def _packet(self, event: Event) -> bytes:
        """A packet with its length, as it stands in the message; empty for other events."""
        if type(event) is Send:
            payload = event.payload
            for command in self._commands:
                if payload.startswith(command):
                    return payload[len(command) :]
            if payload in self._closes:
                self._lose("the node has ended the session")
        elif type(event) is Unlink:
            self._answer(self._connection.unlink_ack(event.id, event.to, event.sender))
        elif type(event) is SpawnRequest:
            self._answer(self._connection.spawn_reply(event.ref, event.sender, Atom("notsup")))
        return b""

    def _lose(self, reason: str) -> None:
        log.warning("%s", reason)
        self._end()

    def _answer(self, data: bytes) -> None:
        with self._write_order:
            super().write(data)

    # Out.

    def write(self, *parts: bytes) -> None:
        """Sends one packet, which begins with its length."""
        if monotonic() - self._heard > self._session.ticktime:
            self._lose(f"the node was silent for {self._session.ticktime:g} s")
        size = len(self._out) + sum(map(len, parts))
        with self._write_order:
            super().write(b"".join((size.to_bytes(4, "big"), self._out, *parts)))

    def _send(self, message: object) -> None:
        session = self._session
        self._answer(self._connection.send(session.pid, session.owner, message))

    def leave(self, status: int) -> None:
        """Tells the node how this program ends, and waits a little until it knows."""
        self._send((self._session.pid, (Atom("exit_status"), status)))
        self.finish()
        sock = socket.socket(fileno=os.dup(self._write_fd))
        with sock, contextlib.suppress(OSError):
            sock.settimeout(LEAVE_SECONDS)
            sock.shutdown(socket.SHUT_WR)
            deadline = monotonic() + LEAVE_SECONDS
            # What is not read would make the kernel reset the connection, and lose what was sent.
            while sock.recv(PIPE_BYTES) and monotonic() < deadline:
                pass


def _bound_silence(sock: socket.socket, ticktime: float) -> None:
    """A write to a machine that has gone is given up by the kernel."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, int(ticktime * 1000))
