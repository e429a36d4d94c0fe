# SPDX-License-Identifier: Apache-2.0
"""Joins the threads of a worker to its one connection: who gets what arrives, and in which order
work starts.

Used by every thread of the process. Its tables are guarded by the mutex of `Leadership`; what
arrives is handed out by the thread that leads at that moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol, TypeAlias

from ._hub_calls import CallHub
from ._leader import Leadership, Reader, Waiter
from ._ledger import LIMIT as LIMIT_CELL
from ._ledger import STARTED as STARTED_CELL
from ._ledger import open_ledger, private_ledger
from ._outbox import Writer
from ._wire import (
    BINARY,
    BODY,
    BOOT,
    CALL,
    CANCEL,
    CAST,
    CLOSE,
    CREDIT,
    DRAIN,
    ERROR,
    EVENT,
    FAULT,
    HELLO,
    ITEM,
    ITEM_CREDIT,
    NAMES,
    OPEN,
    RESULT,
    RETURN,
    REVOKE,
    STARTED,
    STREAM,
    TEXT,
    WEBSOCKET,
    Message,
    ProtocolError,
    Splitter,
    parse,
)

DRAIN_POLL_SECONDS = 0.02  # a leader looks this often whether the last exchange has closed
NODE_ERROR = "error_from_node"

_OPENING = frozenset({OPEN, WEBSOCKET})

# What a worker that runs applications in threads does not take.
_UNSERVED = (WEBSOCKET, TEXT, BINARY, CLOSE)

# Ends the connection: of a worker with its process, so it does not return.
Fail: TypeAlias = Callable[["Hub", ProtocolError], None]


class Transport(Reader, Writer, Protocol):
    """Both directions of the connection."""


class Awaited(Protocol):
    """What a thread waits on; it names the thread to wake when something about it changes."""

    waiter: Any


class Hub(CallHub):
    """The connection as the threads of the worker see it.

    Attributes:
        work: exchanges, calls and casts that nobody has started, in the order of their arrival.
        calls: our calls by id.
        awaited: those of them that an event loop waits for.
        deadlines: the node's calls that wait for our answer, with the monotonic time until which
            they do.
        producers: the node's streams that are not over, by id.
        helpers: what threads wait for that would run other calls meanwhile.
        abandoned: calls and streams of ours that nobody reads any more, until REVOKE is sent.
        origins: for each thread that runs work, by its ident, the exchange it serves or 0.
        boot: BOOT, once it is there.
        taken: grows whenever a thread takes work; the end of the boot counts, too.
        busy: how many threads run one now; the main thread counts while it boots.
        thread_count: how many threads take work.
        deliver: who takes what arrives, by code.
        ring: called after each packet; wakes the attendant if it sleeps.
        endings: what to call when an exchange ends, or a call of the node, by its negated id.
        is_running: whether code of that exchange or call still runs.
        on_hook: called when a handler has been registered. on_ready: when the node was told that
            the application serves.
        is_lost: whether the connection has ended, and with it every wait; of a client only.
        flush_soon: puts all that is queued on its way before the thread that reads waits again.
    """

    def __init__(self, transport: Transport, fail: Fail) -> None:
        super().__init__(transport, lambda work: Leadership(transport, self._receive, work))
        self.origins: dict[int, int] = {}
        self.boot: Message | None = None
        self.taken = 0
        self.drained = False
        self.endings: dict[int, list[Callable[[], None]]] = {}
        self.is_running: Callable[[int], bool] = _always
        self.flush_soon: Callable[[], None] = self._flush_soon
        self._shared_ledger = False
        self._announced = 0  # the node knows that exchanges up to this id may start
        self._cells = private_ledger()
        self._fail = fail
        self._splitter = Splitter()
        self.deliver: dict[int, Callable[[Message], None]] = {
            HELLO: _take_note,
            BOOT: self._boot,
            OPEN: self.work.append,
            CAST: self.work.append,
            BODY: self._wake_exchange,
            CREDIT: self._wake_exchange,
            CANCEL: self._cancel,
            CALL: self._call,
            RESULT: self._answer,
            FAULT: self._answer,
            REVOKE: self._revoke,
            EVENT: _take_note,  # until something subscribes
            STREAM: self._stream,
            ITEM: self._item,
            ITEM_CREDIT: self._item_credit,
            DRAIN: self._drain,
            ERROR: _node_error,
            **dict.fromkeys(_UNSERVED, _refuse),
        }

    def use_ledger(self, path: bytes) -> None:
        """Shares the ledger at `path` with the node; raises as `open_ledger` does."""
        self._cells = open_ledger(path)
        self._shared_ledger = True

    # Sending.

    def _flush_soon(self) -> None:
        # A thread that serves requests flushes when it is done, and the attendant before that.
        if get_ident() not in self.origins:
            self.flush()

    def flush_all(self) -> None:
        """Puts all that is queued or held on its way."""
        if self.outbox.held:
            self.release_held()
        self.flush()

    def release_held(self) -> None:
        """Queues the answers that were held back in case the application had no more to say."""
        held = self.outbox.held
        while held:
            # Owners pop without the mutex. One that comes too late takes the mutex to wait for us.
            with self.mutex:
                try:
                    _, messages = held.popitem()
                except KeyError:
                    return
                for message in messages:
                    self.send(message)

    # Waiting.

    def take(self, waiter: Waiter) -> Message | None:
        """The next piece of work, started and entered in the ledger; None when the worker has
        drained.

        Waits without a deadline: for the node, whose end ends the process.
        """
        while not self.drained:
            message = self._pop(waiter)
            if message is not None:
                if message[0] != OPEN or self._start(message[1]):
                    return message
            elif self.outbox.pending:
                self.outbox.flush()
            else:
                self.threads.wait(waiter, self.threads.idle, self._has_work, None)
        return None

    def _has_work(self) -> bool:
        return bool(self.work) or self.drained

    def _pop(self, waiter: Waiter) -> Message | None:
        threads = self.threads
        with self.mutex:
            if not self.work:
                if waiter.busy:
                    waiter.busy = False
                    self.busy -= 1
                self._check_drained()
                return None
            message = self.work.popleft()
            self.taken += 1
            if not waiter.busy:
                waiter.busy = True
                self.busy += 1
            if message[0] == OPEN:
                self._cells[STARTED_CELL] = message[1]
            if threads.idle or threads.blocked:
                threads.rebalance()
        # Leaving the mutex is a memory barrier: the first cell is visible before `_start` reads
        # the second.
        return message

    def _check_drained(self) -> None:
        if self.threads.poll_seconds is not None and not self.busy and self.session.is_idle():
            self.drained = True
            self.threads.wake_all()

    def _start(self, ident: int) -> bool:
        """Starts exchange `ident`, which is in the ledger already, unless the node has taken it
        back."""
        limit = self._cells[LIMIT_CELL]
        if limit and ident >= limit:
            self.send((RETURN, [ident]))
            return False
        self.session.start(ident)
        if not self._shared_ledger and ident > self._announced:
            self._announce(ident)
        return True

    def _announce(self, ident: int) -> None:
        """Tells the node, before the application can do anything, that exchange `ident` starts,
        and with it those behind it: one write for all that have come together."""
        with self.mutex:
            opened = (
                message[1] for message in reversed(tuple(self.work)) if message[0] in _OPENING
            )
            last: int = max(ident, next(opened, 0))
        self.outbox.put((STARTED, last))
        self.flush()
        # Not before it is written: whoever sees it starts without another look.
        self._announced = last

    def begin(self, ident: int) -> bool:
        """Enters exchange `ident` in the ledger and starts it; False when the node has taken it
        back. For an event loop, which takes its work itself."""
        with self.mutex:
            self._cells[STARTED_CELL] = ident
            self.taken += 1
        return self._start(ident)

    def wait(self, awaited: Awaited, ready: Callable[[], object], seconds: float | None) -> bool:
        """Waits up to `seconds` until `ready()`, which something delivered to `awaited` makes true.

        Only the node makes it true, and the node's end ends the process: None relies on that.
        Everything queued is sent first: no answer of ours waits for this one. False: time is over.
        """
        deadline = None if seconds is None else monotonic() + seconds
        waiter = awaited.waiter = Waiter()
        try:
            in_time = True
            while in_time and not ready():
                self.flush_all()
                in_time = self.threads.wait(waiter, self.threads.blocked, ready, deadline)
            return bool(ready())
        finally:
            awaited.waiter = None
            with self.mutex:
                self.threads.rebalance()

    def lead_until(self, ready: Callable[[], object], deadline: float) -> None:
        """Sends everything queued and reads until `ready()`, but only where this thread may lead
        at once: a call that nobody contends for waits in no other way. Else there is `wait`."""
        self.flush_all()
        threads = self.threads
        if threads.try_to_lead():
            try:
                while not ready() and threads.read_by(deadline, self.busy <= 1):
                    self.flush_all()
            finally:
                threads.resign()

    def hand_back(self, taken: int) -> None:
        """Gives the node what nobody here will start soon, unless some was started since
        `self.taken` was seen to be `taken`: then some thread is free."""
        idents: list[int] = []
        with self.mutex:
            if self.taken != taken:
                return
            kept: list[Message] = []
            # An event loop takes its work without the mutex: one at a time, each is somebody's.
            with contextlib.suppress(IndexError):
                for _ in range(len(self.work)):
                    message = self.work.popleft()
                    if message[0] in (OPEN, WEBSOCKET):
                        idents.append(message[1])
                    else:
                        kept.append(message)
            self.work.extendleft(reversed(kept))
        if idents:
            self.send((RETURN, idents))
            self.flush()

    # What arrives; runs in the thread that leads.

    def _receive(self, data: bytes) -> None:
        try:
            for packet in self._splitter.feed(data):
                self._dispatch(parse(packet))
        except ProtocolError as exc:
            self._fail(self, exc)
        # What is pending now has waited since before this read, but its batch goes on.
        self.outbox.since = monotonic()

    def _dispatch(self, messages: list[Message]) -> None:
        session, deliver = self.session, self.deliver
        for message in messages:
            if session.receive(message):
                deliver[message[0]](message)
        self.ring()
        if self.threads.idle and self.work:
            with self.mutex:
                self.threads.rebalance()

    def _boot(self, message: Message) -> None:
        self.boot = message

    def _wake_exchange(self, message: Message) -> None:
        flow = self.session.flows.get(message[1])
        if flow is not None:
            with self.mutex:
                self.threads.wake(flow.waiter)

    def _cancel(self, message: Message) -> None:
        ident = message[1]
        if self._remove_work(OPEN, ident):
            self.send((RETURN, [ident]))
            self.flush()
        else:
            self._wake_exchange(message)

    def _drain(self, message: Message) -> None:
        # From here on nobody blocks in a read, so that whoever leads sees the last exchange close.
        self.threads.poll_seconds = DRAIN_POLL_SECONDS
        with self.mutex:
            self.threads.wake_all()

    def end(self, origin: int) -> None:
        """The code of that exchange or call has run; for the thread that ran it."""
        for ending in self.endings.pop(origin, ()):
            ending()


def _always(origin: int) -> bool:
    """For workers that run one piece of work in a thread, from its start to its end."""
    return True


def _take_note(message: Message) -> None:
    """For messages that change the session and nothing else."""


def _refuse(message: Message) -> None:
    raise ProtocolError("bad_state", f"{NAMES[message[0]]}: this worker takes none")


def _node_error(message: Message) -> None:
    name = message[1].decode("ascii", "replace")
    text = message[2].decode("utf-8", "replace")
    raise ProtocolError(NODE_ERROR, f"{name}: {text}")
