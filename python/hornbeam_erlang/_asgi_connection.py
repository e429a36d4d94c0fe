# SPDX-License-Identifier: Apache-2.0
"""The connection to the node as an event loop sees it: what arrives together is handled in one
turn and answered in one write.

Runs in the loop's thread but for `arrived`. The hub leaves what arrives for the loop in its `work`,
whichever thread reads: the loop, when the descriptor is readable; the application's code in the
loop's thread that makes a blocking call; or the attendant, while the loop is busy.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TypeAlias

from ._asgi_cycle import Cycle
from ._asgi_task import Runner
from ._hub import Hub
from ._transport import EXIT_PROTOCOL, Transport, end_process
from ._wire import CALL, ITEM_CREDIT, STREAM, Message, ProtocolError

GRACE_SECONDS = 1.0  # an application that ignores that its client has left gets as long to end

Handler: TypeAlias = Callable[[Message], None]
Fail: TypeAlias = Callable[[Hub, ProtocolError], None]


class Connection:
    """See the head of the module.

    Args:
        handlers: who handles the messages of the node, by code; in the loop's thread.
        fail: ends the process because the protocol was broken.

    Attributes:
        cycles: the exchanges whose applications wait, by id.
        starting: id of the exchange whose application was called last.
        runner: starts the tasks of the requests.
        drained: done once DRAIN has come and nothing is open any more.
    """

    def __init__(
        self, hub: Hub, transport: Transport, loop: asyncio.AbstractEventLoop, fail: Fail
    ) -> None:
        self.hub = hub
        self.session = hub.session
        self.loop = loop
        self.runner = Runner(loop)
        self.cycles: dict[int, Cycle] = {}
        self.starting = 0
        self.handlers: dict[int, Handler] = {}
        self.drained: asyncio.Future[None] = loop.create_future()
        self.is_draining = False
        self._thread = get_ident()
        self._transport = transport
        self._fail = fail
        self._in_turn = False
        self._turn_is_due = False
        self._flush_is_due = False
        self._overdue: deque[tuple[float, int]] = deque()

    def start(self, handlers: dict[int, Handler]) -> None:
        """Reads from now on, and routes what `handlers` are for to them."""
        hub = self.hub
        self.handlers = handlers
        hub.threads.owner = self._thread
        # The hub itself sees to calls and streams: some belong to a thread that waits.
        routed = handlers.keys() - {CALL, STREAM, ITEM_CREDIT}
        hub.deliver.update(dict.fromkeys(routed, hub.work.append))
        hub.flush_soon = self.flush_soon
        hub.is_running = self.is_running
        ring = hub.ring

        def arrived() -> None:
            ring()
            self.arrived()

        hub.ring = arrived
        read_fd, self._write_fd = self._transport.unblock(self._pipe_is_full)
        self.loop.add_reader(read_fd, self._guard, self._readable)

    def stop(self) -> None:
        """Sends what is left, and lets go of the loop."""
        self.loop.remove_reader(self._transport.unblock(_nobody)[0])
        self.loop.remove_writer(self._write_fd)
        self.hub.outbox.finish()

    # Turns.

    def _guard(self, callback: Callable[[], None]) -> None:
        """Runs `callback`; an exception that gets here is a bug of hornbeam."""
        try:
            callback()
        except ProtocolError as exc:
            self._fail(self.hub, exc)
        except BaseException:
            traceback.print_exc()
            end_process(EXIT_PROTOCOL)

    def _readable(self) -> None:
        self.hub.busy = 1
        self._in_turn = True
        self.hub.threads.read_ready()
        self._turn()

    def arrived(self) -> None:
        """Something may have been left in `work`: sees to a turn. From any thread."""
        if self.hub.work and not self._in_turn and not self._turn_is_due:
            self._turn_is_due = True
            if get_ident() == self._thread:
                self.loop.call_soon(self._guard, self._turn)
            else:
                self.loop.call_soon_threadsafe(self._guard, self._turn)

    def _turn(self) -> None:
        hub = self.hub
        work, handlers, outbox = hub.work, self.handlers, hub.outbox
        hub.busy = 1
        hub.taken += 1
        self._in_turn = True
        self._turn_is_due = False
        while work:
            try:
                message = work.popleft()
            except IndexError:  # the attendant has handed it back meanwhile
                break
            handlers[message[0]](message)
            outbox.flush_if_due()
        hub.flush()
        self._in_turn = False
        hub.busy = 0
        # What another thread has left since the last look has not asked for a turn.
        self.arrived()
        if self.is_draining:
            self.check_drained()

    # Sending.

    def send(self, message: Message, size: int = 0) -> None:
        """Queues one message; it leaves at the end of this turn of the loop."""
        self.hub.send(message, size)
        if not self._in_turn:
            self.flush_soon()

    def send_response(self, message: Message) -> None:
        """`send` for RESPONSE, the most frequent of all."""
        self.session.send_response(message)
        self.hub.outbox.put(message, len(message[4]))
        if not self._in_turn:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Puts what is queued on its way at the end of this turn of the loop. From any thread."""
        if get_ident() != self._thread:
            self.hub.flush()
        elif not self._in_turn and not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self._guard, self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self.hub.flush()
        if self.is_draining:
            self.check_drained()

    def _pipe_is_full(self) -> None:
        self.hub.ring()
        if get_ident() == self._thread:
            self._wait_for_pipe()
        else:
            self.loop.call_soon_threadsafe(self._wait_for_pipe)

    def _wait_for_pipe(self) -> None:
        if self._transport.has_kept():
            self.loop.add_writer(self._write_fd, self._guard, self._writable)

    def _writable(self) -> None:
        if self._transport.write_kept():
            self.loop.remove_writer(self._write_fd)

    # Requests whose applications wait.

    def cancel(self, cycle: Cycle, reason: bytes) -> None:
        """The node wants no answer of `cycle` any more."""
        cycle.cancelled_by_node(reason)
        if not cycle.wants_grace(reason):
            cycle.cancel()
            return
        if not self._overdue:
            self.loop.call_later(GRACE_SECONDS, self._guard, self._cancel_overdue)
        self._overdue.append((self.loop.time() + GRACE_SECONDS, cycle.ident))

    def _cancel_overdue(self) -> None:
        overdue, now = self._overdue, self.loop.time()
        while overdue and overdue[0][0] <= now:
            cycle = self.cycles.get(overdue.popleft()[1])
            if cycle is not None and not cycle.knows:
                cycle.cancel()
        if overdue:
            self.loop.call_later(overdue[0][0] - now, self._guard, self._cancel_overdue)

    def is_running(self, origin: int) -> bool:
        """Whether the application still runs for that exchange, or call (its negated id)."""
        return origin in self.cycles or origin == self.starting or -origin in self.hub.deadlines

    def ended(self, cycle: Cycle) -> bool:
        """The application has ended its work for `cycle`. Whether its exchange is still open."""
        self.cycles.pop(cycle.ident, None)
        if self.hub.endings:
            self.hub.end(cycle.ident)
        if self.is_draining:
            self.flush_soon()
        return cycle.ident in self.session.exchanges

    # The end.

    def drain(self) -> None:
        """Nothing new comes from now on."""
        self.is_draining = True

    def check_drained(self) -> None:
        """Notices that nothing is open any more; what applications do after their answers
        counts."""
        if self.drained.done() or self.hub.work or self.runner.waiting:
            return
        if self.session.is_idle():
            self.drained.set_result(None)


def _nobody() -> None:
    """For a pipe that is written to the end at once."""
