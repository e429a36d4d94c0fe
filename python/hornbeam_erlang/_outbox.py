# SPDX-License-Identifier: Apache-2.0
"""Gathers the worker's messages and writes many of them as one packet.

Any thread may `put`; any thread may `flush`. A message waits only for a reason: more answers are
about to follow. The thread that makes answers flushes before it blocks, and the attendant flushes
what an application keeps waiting.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Protocol

from ._wire import Message, packets

MAX_PENDING_BYTES = 131072
MAX_PENDING_SECONDS = 0.001


class Writer(Protocol):
    """Where packets go; see `Transport`."""

    def write(self, *parts: bytes) -> None: ...
    def finish(self) -> None: ...


class Outbox:
    """Messages on their way out.

    Attributes:
        pending: messages not written yet. Only appended to, and cut at its head by `flush`.
        held: answers that are complete unless the application adds to them: exchange id to the
            messages that say so as far as is known. Whoever pops an entry sends it.
        flushes: number of writes so far.
        sent_at: monotonic time of the last write.
        since: monotonic time from which what is pending has waited, at most.
    """

    def __init__(self, writer: Writer) -> None:
        self.pending: list[Message] = []
        self.held: dict[int, tuple[Message, ...]] = {}
        self.flushes = 0
        self.sent_at = monotonic()
        self._bytes = 0
        self.since = self.sent_at
        self._writer = writer
        self._lock = threading.Lock()

    def put(self, message: Message, size: int = 0) -> None:
        """Queues `message`; `size` is its share of `MAX_PENDING_BYTES`."""
        self.pending.append(message)
        # Not atomic: two threads may lose one of their additions, which delays a flush by one
        # answer.
        self._bytes += size

    def flush_if_due(self) -> None:
        """Flushes when much is pending or the oldest of it has waited long enough."""
        if self._bytes > MAX_PENDING_BYTES or monotonic() - self.since > MAX_PENDING_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes everything pending. Blocks while the pipe is full (see `Transport.write`)."""
        with self._lock:
            # A slice and a cut of the head: threads may go on appending, nothing is lost between
            # the two.
            batch = self.pending[:]
            if batch:
                del self.pending[: len(batch)]
                self._bytes = 0
                for parts in packets(batch):
                    self._writer.write(*parts)
                self.flushes += 1
                self.sent_at = monotonic()
            self.since = monotonic()

    def finish(self) -> None:
        """Writes everything pending, and blocks until the pipe has taken it."""
        self.flush()
        self._writer.finish()
