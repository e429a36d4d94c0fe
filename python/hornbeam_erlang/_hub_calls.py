# SPDX-License-Identifier: Apache-2.0
"""The hub's part for calls in both directions: who gets an answer, who runs a call of the node.

Used by every thread of the process; the tables are guarded by the mutex of `Leadership`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from ._calls_async import AsyncCall, AwaitedCalls
from ._flow import PendingCall
from ._leader import Leadership
from ._outbox import Outbox, Writer
from ._session import Session
from ._wire import CALL, FAULT, Message

EMPTY_MAP = b"\x83t\x00\x00\x00\x00"


class CallHub:
    """Base of `Hub`, which describes the attributes.

    Args: make_threads: makes the leadership for a queue of work.
    """

    def __init__(
        self, writer: Writer, make_threads: Callable[[deque[Message]], Leadership]
    ) -> None:
        self.session = Session()
        self.outbox = Outbox(writer)
        self.work: deque[Message] = deque()
        self.calls: dict[int, PendingCall | AsyncCall] = {}
        self.deadlines: dict[int, float] = {}
        self.threads = make_threads(self.work)
        self.mutex = self.threads.mutex
        self.awaited = AwaitedCalls(self.threads)

    def send(self, message: Message, size: int = 0) -> None:
        """Queues one message of ours; `flush` puts it on its way. `size`: see `Outbox.put`."""
        self.session.send(message)
        self.outbox.put(message, size)

    def flush(self) -> None:
        """Puts all that is queued on its way."""
        if self.outbox.pending:
            self.outbox.flush()

    # What arrives; runs in the thread that leads.

    def _call(self, message: Message) -> None:
        _, ident, origin, timeout, *_ = message
        self.deadlines[ident] = monotonic() + timeout / 1000
        if origin == 0:
            self.work.append(message)
            return
        with self.mutex:
            pending = self.calls.get(origin)
            if type(pending) is PendingCall:
                pending.nested.append(message)
                self.threads.wake(pending.waiter)
        if type(pending) is AsyncCall:
            self.work.append(message)  # whoever awaits keeps no thread on which it could nest
        elif pending is None:
            # Its origin was given up while it was on its way: nobody waits who could run it.
            self.answer(ident, (FAULT, ident, b"cancelled", EMPTY_MAP))
            self.flush()

    def _answer(self, message: Message) -> None:
        with self.mutex:
            pending = self.calls.pop(message[1], None)
            if pending is not None:
                pending.answer = message
                self.threads.wake(pending.waiter)
        if type(pending) is AsyncCall:
            pending.resolve()

    def _revoke(self, message: Message) -> None:
        # What runs cannot be stopped from outside; it answers when it is done.
        ident = message[1]
        if self._remove_work(CALL, ident):
            self.answer(ident, (FAULT, ident, b"cancelled", EMPTY_MAP))

    def _remove_work(self, code: int, ident: int) -> bool:
        with self.mutex:
            for index, message in enumerate(self.work):
                if message[0] == code and message[1] == ident:
                    del self.work[index]
                    return True
        return False

    # Answers to the node's calls; from any thread.

    def answer(self, ident: int, message: Message) -> bool:
        """Queues the answer to the node's call `ident`; False when it was answered before."""
        with self.mutex:
            if self.deadlines.pop(ident, None) is None:
                return False
            self.send(message, len(message[-1]))
        return True

    def answer_overdue(self) -> None:
        """Answers the node's calls whose time is over; for the attendant. What they run goes on,
        unheard."""
        now = monotonic()
        for ident, deadline in list(self.deadlines.items()):
            if deadline <= now:
                self.answer(ident, (FAULT, ident, b"timeout", EMPTY_MAP))
        self.flush()
