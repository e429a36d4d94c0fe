# SPDX-License-Identifier: Apache-2.0
"""A program that is no worker, attached to a node: the whole API works in it, from any thread and
from any event loop, and the node executes the handlers that it registers.

Whoever waits reads, as in a worker. Threads that serve are started with the first handler. The end
of the connection ends no process: every call, stream and subscription that waits gets NodeDown,
later ones NotConnected.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from . import _calls, _hooks, _producers, _pubsub, _worker, codec
from ._attendant import Attendant, Kept
from ._calls_async import AsyncCall
from ._config import Config
from ._hub import NODE_ERROR, Hub, Transport
from ._serving import work
from ._wire import DRAIN, ERROR, FAULT, Message, ProtocolError, cut_text
from .errors import NotConnected

CLOSE_SECONDS = 1.0
FORKED = "it is a forked child: start or connect to a node of its own, or call from the parent"

log = logging.getLogger("hornbeam.client")


class Connection(Transport, Kept, Protocol):
    """Both directions of a connection that may end before the process; see `ClientTransport`.

    Attributes:
        on_end: called when there is nothing to read any more, in the thread that reads; perhaps
            several times.
    """

    on_end: Callable[[], None]

    # Of both bases, which each describe it.
    def poll(self, timeout: float) -> bool: ...
    def limit_writes(self, seconds: float) -> bool: ...
    def close_write(self, seconds: float) -> bool: ...
    def abort(self) -> None: ...
    def close_read(self) -> None: ...
    def close(self) -> None: ...


class Client:
    """One connection of this process; there is one at a time.

    Args:
        transport: the connection; it belongs to the client from now on.
        threads: how many run handlers at once.
        name: of the node, for NodeDown.
        advice: what NotConnected advises when the connection has ended.

    Attributes:
        failure: why it has ended, empty while it has not.
        refused: what the node has said of why it ends it.
    """

    def __init__(self, transport: Connection, threads: int, name: str, advice: str) -> None:
        self._transport = transport
        transport.on_end = lambda: self.lose("it has ended")
        self._threads = threads
        self._name = name
        self._advice = advice
        self._attendant: Attendant | None = None
        self._serving = threading.Lock()
        self.failure = self.refused = ""
        self.hub = Hub(self._transport, self._fail)
        self.hub.deliver[DRAIN] = self._drain
        self.hub.on_hook = self._serve
        _attached.append(self)

    def attach(self, seconds: float = _worker.GREETING_SECONDS) -> None:
        """Greets the node; then it is what this process is connected to.

        Args: seconds: for the greeting.
        Raises: ProtocolError, NotConnected: as `_worker.greet`.
        """
        config = _worker.greet(self.hub, seconds)
        self._check(config)
        self._attendant = Attendant(self.hub, self._transport, config.heartbeat, self._fail_of_ours)
        self._attendant.start()
        _worker.connect(self.hub)
        _worker.ready(self.hub)
        if self.hub.is_lost:
            _calls.disconnect(self.hub, self._advice)
            raise NotConnected("greeting", self.failure)

    def _check(self, config: Config) -> None:
        if config.interface != "client":
            raise ProtocolError("bad_message", "interface of BOOT: expected client")

    # Serving.

    def _serve(self) -> None:
        """Starts the threads that run handlers, once."""
        if not self._serving.acquire(blocking=False):
            return
        self.hub.thread_count = self._threads
        for number in range(1, self._threads + 1):
            name = f"hornbeam-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        try:
            work(self.hub, _worker.no_requests)
        except BaseException:  # what handlers raise is answered: this is a bug of ours
            log.exception("a thread that serves the node has failed")
            self._fail_of_ours()

    # The end.

    def _fail(self, hub: Hub, exc: ProtocolError) -> None:
        """The protocol was broken, or the node says why it gives up."""
        if exc.name != NODE_ERROR:
            log.error("the connection to node %s has failed: %s", self._name, exc)
            hub.send((ERROR, exc.name.encode(), cut_text(exc.text)))
            hub.flush()
        else:
            _, _, self.refused = exc.text.partition(": ")
        self.lose(exc.text)

    def _fail_of_ours(self) -> None:
        self.lose("this side has failed")
        self._transport.close_write(CLOSE_SECONDS)

    def _drain(self, _message: Message) -> None:
        self.lose("it was stopped")
        self._transport.close_write(CLOSE_SECONDS)

    def lose(self, reason: str) -> None:
        """Ends every wait for the node; again has no effect. For any thread."""
        hub = self.hub
        failure = (self._name, reason)
        details = codec.encode(dict(zip(("node", "reason"), failure, strict=True)))
        with hub.mutex:
            if hub.is_lost:
                return
            hub.is_lost = hub.drained = True
            self.failure = reason
            waiting = tuple(hub.calls.items())
            hub.calls.clear()
            for ident, pending in waiting:
                pending.answer = (FAULT, ident, b"node_down", details)
            hub.threads.wake_all()
        _calls.disconnect(hub, self._advice)
        for _, pending in waiting:
            if isinstance(pending, AsyncCall):
                pending.resolve()
        _pubsub.disconnect(hub, failure)
        self._end_streams()

    def _end_streams(self) -> None:
        """Nobody reads what handlers stream: those that wait for room are closed here, the others
        by the thread that runs them."""
        for producer in tuple(self.hub.producers.values()):
            with self.hub.mutex:
                producer.is_cancelled = True
                was_parked, producer.is_parked = producer.is_parked, False
            if was_parked:
                _producers.close(producer)

    def leave(self, seconds: float) -> bool:
        """Tells the node that this program leaves, after what it was told before.

        Returns: False when the node has not taken what is on its way for `seconds`.
        """
        if not self._transport.limit_writes(seconds):
            return False
        self.hub.flush_all()
        return self._transport.close_write(seconds)

    def close(self, seconds: float) -> None:
        """Lets go of everything, once the node has closed its end. Again has no effect."""
        self.lose("it was left")
        if self._attendant is not None:
            self._attendant.stop()
            self._attendant.join(seconds)
        self._transport.close_write(seconds)
        self._transport.abort()
        if self.hub.threads.retire(monotonic() + seconds):
            self._transport.close_read()
            if self in _attached:
                _attached.remove(self)

    def disown(self) -> None:
        """In a forked child: the connection belongs to the parent, and so do the threads that may
        have held the locks."""
        hub = self.hub
        hub.mutex = hub.threads.mutex = threading.Lock()
        _hooks.renew_lock()
        hub.is_lost = hub.drained = True
        _calls.disconnect(hub, FORKED)
        self._transport.close()
        _pubsub.disconnect(hub, (self._name, FORKED))


# Those that a forked child is to disown: from their beginning, so that none that is forked while
# one greets keeps a connection open, to the end of the last read.
_attached: list[Client] = []


def _in_forked_child() -> None:
    while _attached:
        _attached.pop().disown()


os.register_at_fork(after_in_child=_in_forked_child)
