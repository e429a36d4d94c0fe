# SPDX-License-Identifier: Apache-2.0
"""Whoever waits reads: leader and followers on the reading side of one connection.

There is no reader thread. Of the threads that wait (for work, for the answer to a call, for a
request body, for credit) one, the leader, reads and hands out what arrives; the others sleep, each
on a lock of its own. A leader that got what it waited for wakes a sleeper to lead before it goes.
So a call that nobody contends for needs no hand-over between threads, which would cost more than
the call itself.

In a worker with an event loop its thread alone leads: what arrives while it does something else is
read by the attendant, so that nobody has to hurry.

Invariant, restored by `rebalance` whenever a thread stops waiting: work with an idle thread
asleep, or a sleeper without a leader, means that one sleeper has been woken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic, sleep
from typing import Any, Protocol

from ._spin import Spin, processors

RETIRE_SECONDS = 0.001  # a leader that has met the end of the connection resigns at once


class Reader(Protocol):
    """Where bytes come from; see `Transport`."""

    def poll(self, timeout: float) -> bool: ...
    def read(self) -> bytes: ...
    def read_available(self) -> bytes: ...


class Waiter:
    """One thread that may sleep. Its lock is held but for the moment in which it is woken.

    Attributes:
        busy: whether it runs a piece of work; for the hub's count of those that do.
    """

    __slots__ = ("busy", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.busy = False


class Leadership:
    """The threads that wait on one connection, and which of them reads.

    Attributes:
        mutex: guards all of this and the hub's tables; held for a few instructions at a time,
            never while blocking.
        idle: threads asleep that want work.
        blocked: threads asleep that want something of their own.
        work: what idle threads want.
        poll_seconds: when set, a leader reads for at most this long before it looks around.
        owner: ident of the one thread that may lead, that of an event loop; None: any may.
    """

    def __init__(self, reader: Reader, handle: Callable[[bytes], None], work: deque[Any]) -> None:
        self.mutex = threading.Lock()
        self.idle: dict[Waiter, None] = {}
        self.blocked: dict[Waiter, None] = {}
        self.poll_seconds: float | None = None
        self.owner: int | None = None
        self._owner_waiter: Waiter | None = None
        self._reader = reader
        self._handle = handle
        self.work = work
        self._leading = False
        self._spin = Spin(processors())

    def try_to_lead(self) -> bool:
        """Makes the calling thread the leader, unless another leads, or somebody must look around.

        Then it reads by `read_by` until it calls `resign`.
        """
        with self.mutex:
            if self._leading or self.poll_seconds is not None:
                return False
            if self.owner is not None and self.owner != get_ident():
                return False
            self._leading = True
        return True

    def read_by(self, deadline: float, may_spin: bool) -> bool:
        """Reads once; False when nothing came before `deadline` (monotonic).

        Args: may_spin: no other thread of this process would be kept from its work by it.
        """
        poll = self._reader.poll
        if not (may_spin and self._spin.finds(poll)) and not poll(deadline - monotonic()):
            return False
        self._handle(self._reader.read())
        return self.poll_seconds is None

    def resign(self) -> None:
        """Ends what `try_to_lead` began; a sleeper leads on."""
        with self.mutex:
            self._leading = False
            if self.idle or self.blocked:
                self.rebalance()

    def wait(
        self,
        waiter: Waiter,
        sleepers: dict[Waiter, None],
        ready: Callable[[], object],
        deadline: float | None,
    ) -> bool:
        """Leads for one read, or sleeps until woken, unless `ready()`. False when `deadline` has
        passed."""
        with self.mutex:
            if ready():
                return True
            owns = self.owner is None or self.owner == get_ident()
            lead = owns and not self._leading
            if lead:
                self._leading = True
            else:
                sleepers[waiter] = None
                if owns:
                    self._owner_waiter = waiter
        if lead:
            return self._lead(deadline)
        return self._sleep(waiter, sleepers, deadline)

    def _sleep(self, waiter: Waiter, sleepers: dict[Waiter, None], deadline: float | None) -> bool:
        timeout = -1.0 if deadline is None else max(0.0, deadline - monotonic())
        if waiter.lock.acquire(timeout=timeout):
            return True
        with self.mutex:
            if waiter in sleepers:
                del sleepers[waiter]
                return False
        # Woken after all, between the end of the wait and the mutex.
        waiter.lock.acquire()
        return True

    def _lead(self, deadline: float | None) -> bool:
        try:
            if self.poll_seconds is not None:
                if self._reader.poll(self.poll_seconds):
                    self._handle(self._reader.read())
                return deadline is None or monotonic() < deadline
            if deadline is not None and not self._reader.poll(deadline - monotonic()):
                return False
            self._handle(self._reader.read())
            return True
        finally:
            with self.mutex:
                self._leading = False

    def read_ready(self) -> bool:
        """Reads what is there, if nobody leads; for the attendant and event loops. True when
        something was read."""
        with self.mutex:
            if self._leading:
                return False
            self._leading = True
        try:
            data = self._reader.read_available()
            if data:
                self._handle(data)
            return bool(data)
        finally:
            with self.mutex:
                self._leading = False
                self.rebalance()

    def retire(self, deadline: float) -> bool:
        """Lets nobody lead any more, once whoever does has resigned; False when that was not before
        `deadline` (monotonic). For a connection that has ended."""
        while not self._leading_taken():
            if monotonic() > deadline:
                return False
            sleep(RETIRE_SECONDS)
        return True

    def _leading_taken(self) -> bool:
        with self.mutex:
            is_free, self._leading = not self._leading, True
        return is_free

    def has_leader(self) -> bool:
        """Whether a thread reads now; may change at once."""
        return self._leading

    def rebalance(self) -> None:
        """Wakes the one sleeper that the invariant asks for. The caller holds the mutex."""
        if self.idle and (self.work or not self._leading):
            self.wake(next(iter(self.idle)))
        elif self.blocked and not self._leading:
            self.wake(next(iter(self.blocked)) if self.owner is None else self._owner_waiter)

    def wake(self, waiter: Waiter | None) -> None:
        """Wakes `waiter` if it sleeps. The caller holds the mutex."""
        for sleepers in (self.idle, self.blocked):
            if waiter in sleepers:
                del sleepers[waiter]
                waiter.lock.release()

    def wake_all(self) -> None:
        """Wakes every sleeper. The caller holds the mutex."""
        for waiter in (*self.idle, *self.blocked):
            self.wake(waiter)
