# SPDX-License-Identifier: Apache-2.0
"""One connection between distributed nodes without its socket: bytes in, events and bytes out.

Pure, and not locked: it belongs to whoever owns the transport, which may be an event loop or a
thread. What the peer sends goes to `receive`, which returns what it means; before the transport
waits again it writes `data_to_send()` (the core's own part of the handshake). Every method that
tells the peer something returns the bytes to write. Rules:

1. After a DistributionError the connection is of no use, and every further call raises it again.
2. Nothing is believed: sizes, counts and depth are bounded by `Limits` before memory is taken.
3. Payloads are external terms; nobody has looked at them but for where they end.
"""

from __future__ import annotations

import copy
from typing import Final, TypeAlias

from . import _distribution_control as control
from . import codec
from ._distribution_errors import DistributionError
from ._distribution_events import ControlEvent
from ._distribution_flags import OFFERED, Flag
from ._distribution_framing import (
    FIRST,
    HEADER_ROOM,
    NEXT,
    NORMAL,
    AtomCache,
    Fragments,
    Limits,
    Packets,
    Whole,
)
from ._distribution_greetings import MAX_GREETING, Identity
from ._distribution_handshake import Acceptor, Connected, ConnectionRequest, Initiator, Step
from ._distribution_signals import Encoded, Signals
from .errors import TermError

__all__ = ["Connection", "Encoded", "Event", "Tick", "identity"]

PASS_THROUGH: Final = 112
VERSION: Final = 131


class Tick:
    """The peer lives, and has nothing to say. There is one object of this class, `TICK`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Tick()"


TICK: Final = Tick()

Event: TypeAlias = Connected | ConnectionRequest | Tick | ControlEvent


def identity(name: str, creation: int, flags: Flag = OFFERED) -> Identity:
    """Who a node here says it is.

    Args:
        name: with its host: `name@host`; with Flag.NAME_ME the host alone.
        creation: u32, the number that EPMD gave, or a random one of at least 4 without EPMD.
        flags: what it can do.
    """
    return Identity(name, creation, flags)


class Connection(Signals):
    """The protocol of one connection.

    Attributes:
        local, peer: who this node and the other say they are; `peer` is None until Connected.
        flags: what both can do; of no meaning until Connected.
    """

    def __init__(
        self, handshake: Initiator | Acceptor, limits: Limits | None = None, *, tls: bool = False
    ) -> None:
        super().__init__()
        self.local = handshake.local
        self.peer: Identity | None = None
        self._handshake: Initiator | Acceptor | None = handshake
        self._limits = limits or Limits()
        self._packets = Packets(4 if tls else 2, MAX_GREETING)
        self._cache = AtomCache()
        self._controls = control.Controls()
        self._fragments = Fragments(self._limits)
        self._outgoing: list[bytes] = []
        self._error: DistributionError | None = None
        if isinstance(handshake, Initiator):
            self._greet(handshake.start())

    @classmethod
    def connect(
        cls,
        local: Identity,
        cookie: str,
        peer: str | None = None,
        *,
        challenge: int | None = None,
        limits: Limits | None = None,
        tls: bool = False,
    ) -> Connection:
        """The side that connects; `data_to_send` has the first message.

        Args:
            local: who this node says it is.
            cookie: the secret of the cluster, latin-1 text.
            peer: the name of the node that is expected there; None: any.
            challenge: u32; None: a random one.
            limits: what the peer may make this side keep.
            tls: whether all this is inside of TLS, where OTP gives messages of the handshake
                lengths of four bytes, too.

        Raises:
            ValueError: the cookie is not latin-1.
        """
        return cls(Initiator(local, cookie, peer, challenge), limits, tls=tls)

    @classmethod
    def accept(
        cls,
        local: Identity,
        cookie: str,
        *,
        challenge: int | None = None,
        limits: Limits | None = None,
        tls: bool = False,
    ) -> Connection:
        """The side that accepts; a ConnectionRequest comes first, and waits for `answer`.

        Raises:
            ValueError: the cookie is not latin-1.
        """
        return cls(Acceptor(local, cookie, challenge), limits, tls=tls)

    # -- in --------------------------------------------------------------------------------------

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What these bytes of the peer mean, with those before them.

        Raises:
            DistributionError: the peer broke the protocol; events of the same bytes are lost.
        """
        self._check()
        events: list[Event] = []
        try:
            self._packets.feed(data)
            while (packet := self._packets.next()) is not None:
                event = self._packet(packet)
                if event is not None:
                    events.append(event)
        except DistributionError as exc:
            # A copy: the one that is raised refers to the frame here, hence to the connection.
            self._error = copy.copy(exc)
            raise
        return events

    def eof(self) -> None:
        """To be called when the peer has closed; whole messages before that were all received.

        Raises:
            DistributionError: it closed in the middle of the handshake, or of a message.
        """
        self._check()
        waiting = self._packets.waiting()
        if isinstance(self._handshake, Initiator) and self._handshake.expects == "ack":
            reason = "the peer closed instead; the usual cause is another cookie"
            self._error = DistributionError("challenge_ack", "", reason)
        elif self._handshake is not None:
            reason = f"the peer closed in state '{self._handshake.expects}' of the handshake"
            self._error = DistributionError("handshake", "", reason)
        elif waiting:
            reason = f"the peer closed after {waiting} bytes of one"
            self._error = DistributionError("packet", "", reason)
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise copy.copy(self._error)

    def _packet(self, packet: bytes) -> Event | None:
        if self._handshake is not None:
            return self._greeting(self._handshake, self._handshake.receive(packet))
        if not packet:
            return TICK
        whole = self._message(packet)
        return None if whole is None else self._parsed(whole)

    def _message(self, packet: bytes) -> Whole | None:
        """The message of a packet, unless it is a fragment and others are missing."""
        if packet[0] == VERSION and len(packet) > 1 and Flag.DIST_HDR_ATOM_CACHE in self.flags:
            kind = packet[1]
            if kind == NORMAL:
                atoms, pos = self._cache.read(packet, 2)
                return Whole(packet, pos, atoms)
            if kind == FIRST:
                return self._fragments.first(packet, self._cache)
            if kind == NEXT:
                return self._fragments.next(packet)
        elif packet[0] == PASS_THROUGH:
            return Whole(packet, 1, [])
        reason = f"starts with {packet[:2].hex()}: neither a distribution header nor pass through"
        raise DistributionError("packet", "", reason)

    def _parsed(self, whole: Whole) -> ControlEvent | None:
        plain = whole.data[0] == PASS_THROUGH and whole.pos == 1
        field = "ControlMessage"
        try:
            start = whole.pos + _version(whole.data, whole.pos, plain)
            command, pos = codec.expand(
                whole.data, start, whole.atoms, max_size=control.MAX_CONTROL
            )
            payload = None
            if pos < len(whole.data):
                field = "Message"
                start = pos + _version(whole.data, pos, plain)
                payload, pos = codec.expand(
                    whole.data, start, whole.atoms, max_size=self._limits.message
                )
        except TermError as exc:
            raise DistributionError("message", field, exc.reason) from exc
        if pos != len(whole.data):
            raise DistributionError("message", "", f"{len(whole.data) - pos} bytes follow it")
        return self._controls.parse(command, payload)

    # -- the handshake ---------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """What this side has to say by itself, once: its part of the handshake."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def answer(self, status: str) -> bytes:
        """What to send to answer a ConnectionRequest; see `Acceptor.answer`.

        After `nok` and `not_allowed` the connection is to be closed.
        """
        if not isinstance(self._handshake, Acceptor):
            raise RuntimeError("no request waits for an answer on this connection")
        self._greeting(self._handshake, self._handshake.answer(status))
        return self.data_to_send()

    @property
    def waiting(self) -> int:
        """Bytes of the peer that make no whole packet yet."""
        return self._packets.waiting()

    @property
    def connected(self) -> bool:
        """Whether the handshake is over."""
        return self._handshake is None

    def _greet(self, message: bytes) -> None:
        self._outgoing.append(len(message).to_bytes(self._packets.width, "big") + message)

    def _greeting(
        self, handshake: Initiator | Acceptor, step: Step
    ) -> Connected | ConnectionRequest | None:
        for message in step.send:
            self._greet(message)
        self.local = handshake.local
        if isinstance(step.event, Connected):
            self.peer = step.event.peer
            self.agree(step.event.flags)
            self._handshake = None
            self._packets.width = 4
            self._packets.maximum = self._limits.message + HEADER_ROOM
        return step.event


def _version(data: bytes, pos: int, plain: bool) -> int:
    """Bytes of the version before the term at `pos`: one where there is no distribution header."""
    if not plain:
        return 0
    if data[pos : pos + 1] != b"\x83":
        raise TermError(f"byte 131 is expected, at byte {pos}")
    return 1
