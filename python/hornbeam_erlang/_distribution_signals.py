# SPDX-License-Identifier: Apache-2.0
"""What one distributed node tells another, as bytes to send.

Pure, a mixin of the connection. Every method returns whole packets; large messages are cut into
fragments where the peer takes them. Atoms are written out, not cached: a cache saves some bytes of
a node's name and costs a look-up each, in Python more than it saves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from . import codec
from ._codec_common import MAX_DEPTH
from ._distribution_flags import Flag
from ._distribution_framing import FRAGMENT, fragments
from .terms import Atom, Pid, Ref

__all__ = ["TICK_PACKET", "Encoded", "Signals"]

TICK_PACKET: Final = b"\0\0\0\0"
"""Tells the peer that this side lives."""
MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of a message that is sent at most."""
_UNUSED: Final = Atom("")


class Encoded(bytes):
    """An external term with its version byte, to be sent as it is instead of a value."""

    __slots__ = ()


def external(term: object) -> bytes:
    """A value as an external term. Raises TermError."""
    if type(term) is Encoded:
        return term
    return codec.encode(term, max_size=MAX_MESSAGE)


class Signals:
    """The part of a connection that sends. A term may be `Encoded`.

    All of them raise TermError when a term cannot be sent; nothing has changed then.
    """

    def __init__(self) -> None:
        self.flags = Flag(0)
        self._header = b""
        self._has_sender = self._has_payload = self._has_fragments = False
        self._sequence = itertools.count(1)

    def agree(self, flags: Flag) -> None:
        """Takes what both nodes can do, once that is known."""
        self.flags = flags
        self._header = b"\x83D\0" if Flag.DIST_HDR_ATOM_CACHE in flags else b"p"
        self._has_sender = Flag.SEND_SENDER in flags
        self._has_payload = Flag.EXIT_PAYLOAD in flags
        self._has_fragments = Flag.FRAGMENTS in flags and Flag.DIST_HDR_ATOM_CACHE in flags

    def tick(self) -> bytes:
        """A sign of life."""
        return TICK_PACKET

    def send(self, sender: Pid, to: Pid, term: object) -> bytes:
        """A message to a process."""
        if self._has_sender:
            return self._emit((22, sender, to), external(term))
        return self._emit((2, _UNUSED, to), external(term))

    def register_send(self, sender: Pid, name: str, term: object) -> bytes:
        """A message to whoever has a name on the peer."""
        return self._emit((6, sender, _UNUSED, Atom(name)), external(term))

    def alias_send(self, sender: Pid, alias: Ref, term: object) -> bytes:
        """A message to an alias of a process."""
        return self._emit((33, sender, alias), external(term))

    def link(self, sender: Pid, to: Pid) -> bytes:
        """A link between two processes."""
        return self._emit((1, sender, to))

    def unlink(self, ident: int, sender: Pid, to: Pid) -> bytes:
        """The end of a link; `ident` is 1 to 2^64 - 1, and none that waits for its answer."""
        if Flag.UNLINK_ID in self.flags:
            return self._emit((35, ident, sender, to))
        return self._emit((4, sender, to))

    def unlink_ack(self, ident: int, sender: Pid, to: Pid) -> bytes:
        """The answer to an Unlink; empty for one without a number."""
        return self._emit((36, ident, sender, to)) if ident else b""

    def exit(self, sender: Pid, to: Pid, reason: object) -> bytes:
        """Tells a linked process that `sender` has ended."""
        return self._with_reason(24, 3, (sender, to), reason)

    def exit2(self, sender: Pid, to: Pid, reason: object) -> bytes:
        """exit/2: an exit signal without a link."""
        return self._with_reason(26, 8, (sender, to), reason)

    def monitor(self, sender: Pid, target: Pid | Atom, ref: Ref) -> bytes:
        """Asks to be told when a process, or who has a name, ends."""
        return self._emit((19, sender, target, ref))

    def demonitor(self, sender: Pid, target: Pid | Atom, ref: Ref) -> bytes:
        """Takes that back."""
        return self._emit((20, sender, target, ref))

    def monitor_exit(self, target: Pid | Atom, to: Pid, ref: Ref, reason: object) -> bytes:
        """Tells a process that what it monitors has ended."""
        return self._with_reason(28, 21, (target, to, ref), reason)

    def group_leader(self, sender: Pid, to: Pid) -> bytes:
        """Makes `sender` the group leader of a process."""
        return self._emit((7, sender, to))

    def spawn_request(
        self,
        ref: Ref,
        sender: Pid,
        entry: tuple[str, str],
        arguments: Sequence[object],
        options: Sequence[object] = (),
        group_leader: Pid | None = None,
    ) -> bytes:
        """Asks for a process that calls a function (module, function) with these arguments."""
        called = (Atom(entry[0]), Atom(entry[1]), len(arguments))
        command = (29, ref, sender, group_leader or sender, called, list(options))
        return self._emit(command, external(list(arguments)))

    def spawn_reply(self, ref: Ref, to: Pid, result: Pid | Atom, flags: int = 0) -> bytes:
        """Answers a SpawnRequest: the process, or an atom that says why there is none.

        Args:
            flags: 1: `to` is linked to it, 2: `to` monitors it by `ref`.
        """
        return self._emit((31, ref, to, flags, result))

    def _with_reason(
        self, payload_code: int, code: int, fields: tuple[object, ...], reason: object
    ) -> bytes:
        if self._has_payload:
            return self._emit((payload_code, *fields), external(reason))
        if type(reason) is Encoded:
            reason = codec.decode(reason, max_depth=MAX_DEPTH)
        return self._emit((code, *fields, reason))

    def _emit(self, command: tuple[object, ...], payload: bytes = b"") -> bytes:
        control = codec.encode(command)
        header = self._header
        if header == b"p":
            size = 1 + len(control) + len(payload)
            return b"".join((size.to_bytes(4, "big"), header, control, payload))
        if self._has_fragments and len(payload) > FRAGMENT - len(control):
            body = b"".join((control[1:], memoryview(payload)[1:]))
            return b"".join(fragments(next(self._sequence), body))
        size = 2 + len(control) + max(len(payload) - 1, 0)
        return b"".join(
            (size.to_bytes(4, "big"), header, memoryview(control)[1:], memoryview(payload)[1:])
        )
