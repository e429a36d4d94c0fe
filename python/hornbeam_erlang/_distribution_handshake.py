# SPDX-License-Identifier: Apache-2.0
"""The distribution handshake, version 6, of the side that connects and of the side that accepts.

Pure state machines: a message in, messages to send and at most one event out. What follows in
which state is in a table of each; a message that does not belong there is a DistributionError.

    initiator   name ──► status ──► challenge ──► ack ──► connected
    acceptor    name ──► answer (of this program) [──► alive] ──► reply ──► connected
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final, NamedTuple, NoReturn, TypeAlias

from . import _distribution_greetings as greetings
from ._distribution_errors import DistributionError, Refused
from ._distribution_flags import Flag, missing
from ._distribution_greetings import Identity, Named

__all__ = ["Acceptor", "Connected", "ConnectionRequest", "HandshakeEvent", "Initiator", "Step"]

_COOKIE: Final = "the digest is of another cookie; both nodes need the same one"


class ConnectionRequest(NamedTuple):
    """A node wants to connect; it waits for `answer`."""

    peer: Identity


class Connected(NamedTuple):
    """The handshake is over: both sides know the cookie."""

    peer: Identity
    local: Identity  # another name than before where the peer was asked for one
    flags: Flag  # what both can do


HandshakeEvent: TypeAlias = ConnectionRequest | Connected


class Step(NamedTuple):
    """What a message has led to."""

    send: tuple[bytes, ...] = ()
    event: HandshakeEvent | None = None


def _check_flags(frame: str, peer: Identity) -> None:
    lacks = missing(peer.flags)
    if lacks:
        reason = f"{peer.name} cannot do what OTP 25 demands: {', '.join(lacks)}"
        raise DistributionError(frame, "Flags", reason)


class Initiator:
    """The side that connects.

    Args:
        local: who this node says it is; with Flag.NAME_ME its name is a host name only.
        cookie: the secret of the cluster, latin-1 text.
        peer: the name of the node that is expected there; None: any.
        number: the challenge, u32; None: a random one.
    """

    def __init__(
        self, local: Identity, cookie: str, peer: str | None = None, number: int | None = None
    ) -> None:
        self.local = local
        self.expects = "status"
        self._cookie = cookie
        self._peer_name = peer
        self._number = secrets.randbits(32) if number is None else number
        self._proof = greetings.digest(cookie, self._number)
        self._peer: Identity | None = None

    def start(self) -> bytes:
        """The first message."""
        return greetings.send_name(self.local)

    def receive(self, data: bytes) -> Step:
        """What follows from the next message.

        Raises:
            Refused: the peer does not want the connection.
            DistributionError: the message is not the one that is due, or not as it should be; in
                state `ack`: the peer has another cookie.
        """
        return _INITIATOR[self.expects](self, data)

    def _on_status(self, data: bytes) -> Step:
        answer = greetings.parse_status(data)
        self.expects = "challenge"
        if isinstance(answer, Named):
            return self._on_named(answer)
        if Flag.NAME_ME in self.local.flags:
            raise DistributionError("status", "Status", f"{answer!r} instead of a name")
        if answer in ("ok", "ok_simultaneous"):
            return Step()
        if answer == "alive":
            # Who connects has no connection: what the peer still has is one that broke.
            return Step((greetings.status("true"),))
        _refused(answer)

    def _on_named(self, answer: Named) -> Step:
        if Flag.NAME_ME not in self.local.flags:
            raise DistributionError("status", "named", "a name was given without being asked for")
        self.local = Identity(answer.name, answer.creation, self.local.flags & ~Flag.NAME_ME)
        return Step()

    def _on_challenge(self, data: bytes) -> Step:
        peer, number = greetings.parse_challenge(data)
        if self._peer_name is not None and peer.name != self._peer_name:
            reason = f"it is {peer.name} that answers, not {self._peer_name}"
            raise DistributionError("challenge", "Name", reason)
        _check_flags("challenge", peer)
        self._peer = peer
        self.expects = "ack"
        proof = greetings.digest(self._cookie, number)
        return Step((greetings.challenge_reply(self._number, proof),))

    def _on_ack(self, data: bytes) -> Step:
        if not hmac.compare_digest(greetings.parse_ack(data), self._proof):
            raise DistributionError("challenge_ack", "Digest", _COOKIE)
        self.expects = "nothing"
        assert self._peer is not None
        return Step((), Connected(self._peer, self.local, self.local.flags & self._peer.flags))


def _refused(answer: str) -> NoReturn:
    reasons = {
        "nok": "the peer is connecting to this node itself; its connection is the one to use",
        "not_allowed": "the peer does not allow this node (net_kernel:allow/1, or its flags)",
    }
    raise Refused(answer, reasons.get(answer, f"{answer!r} is no answer to a name"))


class Acceptor:
    """The side that accepts.

    Args:
        local: who this node says it is.
        cookie: the secret of the cluster, latin-1 text.
        number: the challenge, u32; None: a random one.
    """

    def __init__(self, local: Identity, cookie: str, number: int | None = None) -> None:
        self.local = local
        self.expects = "name"
        self._cookie = cookie
        self._number = secrets.randbits(32) if number is None else number
        self._proof = greetings.digest(cookie, self._number)
        self._peer: Identity | None = None

    def receive(self, data: bytes) -> Step:
        """What follows from the next message.

        Raises:
            Refused: the peer takes its request back.
            DistributionError: the message is not the one that is due, or not as it should be; in
                state `reply`: the peer has another cookie.
        """
        return _ACCEPTOR[self.expects](self, data)

    def answer(self, status: str) -> Step:
        """Answers a ConnectionRequest.

        Args:
            status: `ok`; `ok_simultaneous`: go on, a connection in the other direction is given
                up; `alive`: there is one already, is that one broken?; `nok`, `not_allowed`: the
                connection is to be closed once this is sent.

        Raises:
            ValueError: that is none of these.
            RuntimeError: no request waits for an answer.
        """
        if status not in greetings.ANSWERS:
            raise ValueError(f"the status is one of {', '.join(greetings.ANSWERS)}, not {status!r}")
        if self.expects != "answer":
            raise RuntimeError(f"no request waits for an answer, but the state is {self.expects}")
        said = greetings.status(status)
        if status in ("nok", "not_allowed"):
            self.expects = "nothing"
            return Step((said,))
        if status == "alive":
            self.expects = "alive"
            return Step((said,))
        return Step((said, self._challenge()))

    def _challenge(self) -> bytes:
        self.expects = "reply"
        return greetings.challenge(self.local, self._number)

    def _on_name(self, data: bytes) -> Step:
        peer = greetings.parse_name(data)
        if Flag.NAME_ME in peer.flags:
            raise DistributionError("send_name", "Flags", "NAME_ME: names are not given here")
        _check_flags("send_name", peer)
        self._peer = peer
        self.expects = "answer"
        return Step((), ConnectionRequest(peer))

    def _on_alive(self, data: bytes) -> Step:
        answer = greetings.parse_status(data)
        if answer == "true":
            return Step((self._challenge(),))
        if answer == "false":
            raise Refused("false", "the peer keeps the connection that there is")
        raise DistributionError("status", "Status", f"{answer!r} is no answer to 'alive'")

    def _on_reply(self, data: bytes) -> Step:
        reply = greetings.parse_reply(data)
        if not hmac.compare_digest(reply.digest, self._proof):
            raise DistributionError("challenge_reply", "Digest", _COOKIE)
        self.expects = "nothing"
        assert self._peer is not None
        proof = greetings.digest(self._cookie, reply.challenge)
        flags = self.local.flags & self._peer.flags
        return Step((greetings.ack(proof),), Connected(self._peer, self.local, flags))


def _too_early(_machine: Acceptor, _data: bytes) -> NoReturn:
    raise DistributionError("status", "", "the peer goes on before its name was answered")


def _too_late(_machine: object, _data: bytes) -> NoReturn:
    raise DistributionError("status", "", "the peer goes on after the handshake was over")


_INITIATOR = {
    "status": Initiator._on_status,
    "challenge": Initiator._on_challenge,
    "ack": Initiator._on_ack,
    "nothing": _too_late,
}
_ACCEPTOR = {
    "name": Acceptor._on_name,
    "answer": _too_early,
    "alive": Acceptor._on_alive,
    "reply": Acceptor._on_reply,
    "nothing": _too_late,
}
