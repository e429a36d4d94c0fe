# SPDX-License-Identifier: Apache-2.0
"""The attendant: the one daemon thread that looks after the connection while applications run.

It sends BEAT when nothing else was sent, puts answers on their way that a slow application keeps
waiting, hands exchanges back that will not start soon, answers calls whose time is over, and reads
while every other thread is busy, or waits in an event loop of its own. It sleeps while the worker
has no work, looks in every few milliseconds while it has, and blocks on the descriptor when nobody
else reads.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from time import monotonic, sleep
from typing import Protocol

from ._hub import Hub
from ._transport import EXIT_PROTOCOL, end_process
from ._wire import ABORT, BEAT, END, FAULT, RESPONSE, RESULT

TICK_SECONDS = 0.005
LINGER_TICKS = (
    20  # quiet ticks before it sleeps: a worker that is asked now and then need not ring each time
)
STUCK_TICKS = 2  # ticks without progress after which nothing unstarted will start soon
STUCK_LOOP_TICKS = 20  # the same for an event loop, which takes turns, and has no prefetch
STUCK_POLL_SECONDS = 0.025
OVERDUE_SECONDS = 0.25  # answers that an event loop awaits are given up this much late, at most
CLOSING = frozenset({RESPONSE, END, ABORT, RESULT, FAULT})  # a thread is done with something


class Kept(Protocol):
    """What it needs of the connection; see `Transport`."""

    def poll(self, timeout: float) -> bool: ...
    def has_kept(self) -> bool: ...
    def write_kept(self) -> bool: ...


class Attendant:
    """See the head of the module; `start` starts its thread.

    Args:
        heartbeat: milliseconds of silence before BEAT.
        on_bug: called in its thread when that has failed: without it the worker would seem stalled.
    """

    def __init__(
        self,
        hub: Hub,
        transport: Kept,
        heartbeat: int,
        on_bug: Callable[[], None] = lambda: end_process(EXIT_PROTOCOL),
    ) -> None:
        self._on_bug = on_bug
        self._thread = threading.Thread(target=self._run, name="hornbeam-attendant", daemon=True)
        self._hub = hub
        self._transport = transport
        self._heartbeat = heartbeat / 1000
        self._bell = threading.Event()
        self._asleep = False
        self._taken = -1
        self._flushes = -1
        self._stopped = False
        self._stuck = 0  # ticks since the last piece of work was started
        self._quiet = 0  # ticks since there was anything to do
        self._unread = 0  # ticks for which it still reads for event loops that do not
        self._looked = 0.0  # monotonic time of the last look for awaited answers that are overdue

    def start(self) -> None:
        """Starts the thread; unless it is stopped it ends with the process."""
        self._hub.ring = self._ring
        self._thread.start()

    def stop(self) -> None:
        """Has the thread end when it next looks; for connections that end before the process."""
        self._stopped = True
        self._bell.set()

    def join(self, seconds: float) -> None:
        """Waits for its end, unless it is what asks."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _ring(self) -> None:
        if self._asleep:
            self._bell.set()

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._pause()
                self._tick()
        except BaseException:  # a bug of ours
            traceback.print_exc()
            self._on_bug()

    def _pause(self) -> None:
        hub = self._hub
        if self._quiet > LINGER_TICKS:
            self._sleep()
        elif hub.threads.has_leader():
            sleep(TICK_SECONDS)
        elif self._unread or (self._stuck > STUCK_TICKS and hub.is_full()):
            # Wakes for a message or for the end of the node.
            self._transport.poll(min(STUCK_POLL_SECONDS, self._beat_in()))
        else:
            sleep(TICK_SECONDS)

    def _sleep(self) -> None:
        self._bell.clear()
        self._asleep = True
        # Work that came before the line above did not ring: look once more.
        seconds = min(OVERDUE_SECONDS, self._beat_in()) if self._hub.awaited else self._beat_in()
        if self._is_needed() or self._bell.wait(seconds):
            self._quiet = 0
        self._asleep = False

    def _is_needed(self) -> bool:
        hub = self._hub
        if hub.busy or hub.work or hub.outbox.pending or hub.awaited.unread:
            return True
        return bool(hub.threads.blocked) or self._transport.has_kept()

    def _beat_in(self) -> float:
        return max(0.0, self._hub.outbox.sent_at + self._heartbeat - monotonic())

    def _tick(self) -> None:
        hub = self._hub
        outbox = hub.outbox
        taken = hub.taken
        self._stuck = self._stuck + 1 if taken == self._taken else 0
        self._taken = taken
        if (outbox.pending or outbox.held) and outbox.flushes == self._flushes:
            if any(message[0] in CLOSING for message in outbox.pending):
                # Its thread is on its way to the next piece of work, which this answer may bring.
                self._stuck = 0
            hub.flush_all()
        self._flushes = outbox.flushes
        if hub.deadlines:
            hub.answer_overdue()
        if hub.abandoned:
            hub.revoke_abandoned()
        self._wake_overdue()
        self._quiet = 0 if self._is_needed() or not self._stuck else self._quiet + 1
        self._unread = LINGER_TICKS if hub.awaited.unread else max(0, self._unread - 1)
        if self._unread or (self._stuck and (hub.is_full() or hub.threads.blocked)):
            hub.threads.read_ready()
        limit = STUCK_TICKS if hub.threads.owner is None else STUCK_LOOP_TICKS
        if self._stuck >= limit and hub.is_full():
            hub.hand_back(taken)
        if self._transport.has_kept():
            self._transport.write_kept()
        self._beat()

    def _wake_overdue(self) -> None:
        now = monotonic()
        if self._hub.awaited and now - self._looked >= OVERDUE_SECONDS:
            self._looked = now
            self._hub.awaited.wake_overdue()

    def _beat(self) -> None:
        hub = self._hub
        if self._beat_in() == 0.0:
            # An event loop that does nothing for us may be busy with something else all the same.
            hub.threads.read_ready()
            hub.send((BEAT,))
            hub.flush()
