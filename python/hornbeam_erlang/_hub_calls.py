# SPDX-License-Identifier: Apache-2.0
"""The hub's part for calls and streams in both directions: who gets an answer, who runs what the
node asks for.

Used by every thread of the process; the tables are guarded by the mutex of `Leadership`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from time import monotonic

from ._calls_async import AsyncCall, AsyncStream, AwaitedCalls
from ._flow import PendingCall, PendingStream, Producer
from ._leader import Leadership
from ._outbox import Outbox, Writer
from ._session import Session
from ._states import StateError
from ._wire import CALL, FAULT, OPEN, REVOKE, Message

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
        self.busy = 1
        self.thread_count = 1
        self.producers: dict[int, Producer] = {}
        self.ring: Callable[[], None] = nobody
        self.helpers: list[PendingCall] = []
        self.abandoned: deque[tuple[int, PendingCall | AsyncCall]] = deque()
        self.on_hook: Callable[[], None] = nobody
        self.on_ready: Callable[[], None] = nobody
        self.is_lost = False

    def send(self, message: Message, size: int = 0) -> None:
        """Queues one message of ours; `flush` puts it on its way. `size`: see `Outbox.put`."""
        self.session.send(message)
        self.outbox.put(message, size)

    def flush(self) -> None:
        """Puts all that is queued on its way."""
        if self.outbox.pending:
            self.outbox.flush()

    def revoke(self, ident: int) -> None:
        """Forgets call `ident` of ours whatever became of it. The caller holds the mutex."""
        self.calls.pop(ident, None)
        if ident in self.session.calls:
            # Its answer may come at this moment.
            with contextlib.suppress(StateError):
                self.send((REVOKE, ident))

    def revoke_abandoned(self) -> None:
        """Sends what could not be sent when it was abandoned; for the attendant."""
        while self.abandoned:
            ident, pending = self.abandoned.popleft()
            with self.mutex:
                self.revoke(ident)
            for message in tuple(pending.nested):
                self.queue(message)

    # Calls of the node that no thread is free for, for threads that wait.

    def is_full(self) -> bool:
        """Whether no thread is free to take work, or to read."""
        if self.threads.owner is not None and self.work:
            return True
        return self.busy >= self.thread_count

    def has_stuck_calls(self) -> bool:
        """Whether there are any. Quick, and may be wrong a moment later."""
        return self.is_full() and any(message[0] != OPEN for message in tuple(self.work))

    def take_stuck_call(self) -> Message | None:
        """The first of them."""
        with self.mutex:
            for message in tuple(self.work):
                if message[0] != OPEN:
                    self.work.remove(message)
                    return message
        return None

    # What arrives; runs in the thread that leads.

    def _call(self, message: Message) -> None:
        _, ident, origin, timeout, *_ = message
        self.deadlines[ident] = monotonic() + timeout / 1000
        if origin == 0:
            self.queue(message)
        elif not self.schedule(origin, message):
            # Its origin was given up while it was on its way: nobody waits who could run it.
            self.answer(ident, (FAULT, ident, b"cancelled", EMPTY_MAP))
            self.flush()

    def queue(self, message: Message) -> None:
        """Leaves `message` to any thread, or to the event loop."""
        self.work.append(message)
        self.ring()
        if self.threads.idle or self.helpers:
            with self.mutex:
                self.threads.rebalance()
                if not self.threads.idle and self.helpers:
                    self.threads.wake(self.helpers[0].waiter)

    def schedule(self, origin: int, message: Message) -> bool:
        """Leaves `message` to the thread that waits for our call `origin`, or to any where nobody
        keeps one for it. False when the call is over; then `message` is nowhere."""
        with self.mutex:
            pending = self.calls.get(origin)
            if isinstance(pending, PendingCall):
                pending.nested.append(message)
                self.threads.wake(pending.waiter)
        if isinstance(pending, AsyncCall):
            self.queue(message)
        return pending is not None

    def _stream(self, message: Message) -> None:
        _, ident, origin, timeout, *_ = message
        producer = self.producers[ident] = Producer(ident, origin, timeout / 1000)
        if origin == 0:
            self.queue(message)
        elif not self.schedule(origin, message):
            self.end_stream(producer, (FAULT, ident, b"cancelled", EMPTY_MAP))
            self.flush()

    def _item(self, message: Message) -> None:
        with self.mutex:
            pending = self.calls.get(message[1])
            if isinstance(pending, PendingStream | AsyncStream):
                pending.items.append(message[2])
                self.threads.wake(pending.waiter)
        if isinstance(pending, AsyncStream):
            pending.resolve()

    def _item_credit(self, message: Message) -> None:
        producer = self.producers.get(message[1])
        if producer is not None:
            self.unpark(producer, message)

    def unpark(self, producer: Producer, message: Message) -> None:
        """Sees to it that a thread looks after `producer`, if none does."""
        with self.mutex:
            if not producer.is_parked:
                return
            producer.is_parked = False
        if not (producer.origin and self.schedule(producer.origin, message)):
            self.queue(message)

    def end_stream(self, producer: Producer, message: Message) -> None:
        """Queues what ends the stream of `producer`, unless it has ended."""
        with self.mutex:
            if self.producers.pop(producer.ident, None) is not None:
                self.send(message, len(message[-1]))

    def _answer(self, message: Message) -> None:
        with self.mutex:
            pending = self.calls.pop(message[1], None)
            if pending is not None:
                pending.answer = message
                self.threads.wake(pending.waiter)
        if isinstance(pending, AsyncCall):
            pending.resolve()

    def _revoke(self, message: Message) -> None:
        # What runs cannot be stopped from outside; it answers when it is done.
        ident = message[1]
        producer = self.producers.get(ident)
        if producer is not None:
            producer.is_cancelled = True
            self.unpark(producer, message)
        elif self._remove_work(CALL, ident):
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


def nobody() -> None:
    """Stands for an attendant that has not been started, or for threads that serve already."""
