# SPDX-License-Identifier: Apache-2.0
"""What is open for longer than one message: exchanges that stream, WebSockets, streams of items,
subscriptions, and calls that wait for their answer.

Pure. Each counter has one writer: what was granted and what was used are kept apart, so that the
reader and the thread that runs the exchange need no lock between them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ._wire import STREAM_ITEMS, Message


class Window:
    """What may be sent for one exchange, and what may arrive.

    Attributes:
        granted: bytes the node has granted so far (written by the reader).
        sent: bytes used of them (written by the thread that runs the exchange).
        body_granted, body_received: the same, the other way round.
        cancelled: reason of the CANCEL, empty while there is none.
        waiter: whoever waits for any of this; belongs to the hub.
    """

    __slots__ = ("body_granted", "body_received", "cancelled", "granted", "sent", "waiter")

    def __init__(self, granted: int, body_granted: int) -> None:
        self.granted = granted
        self.sent = 0
        self.body_granted = body_granted
        self.body_received = 0
        self.cancelled = b""
        self.waiter: Any = None

    def credit(self) -> int:
        """Bytes that may be sent now; of a WebSocket 0 or less while nothing may be sent."""
        return self.granted - self.sent


class Flow(Window):
    """One streaming HTTP exchange.

    Attributes:
        chunks: body bytes that have arrived and were not read yet.
        body_open: more BODY messages follow.
    """

    __slots__ = ("body_open", "chunks")

    def __init__(self, granted: int, body_granted: int, body_open: bool) -> None:
        super().__init__(granted, body_granted)
        self.chunks: deque[bytes] = deque()
        self.body_open = body_open


class SocketFlow(Window):
    """One WebSocket. `body_granted` counts from ACCEPT on; a message costs its bytes and
    `_wire.WEBSOCKET_MESSAGE`.

    Attributes:
        messages: TEXT and BINARY that have arrived and were not read yet, as the node sent them:
            `(code, id, data)`.
        closed: code and reason of the node's CLOSE, None while there is none. What came before it
            is in `messages` and is to be read first.
    """

    __slots__ = ("closed", "messages")

    def __init__(self, granted: int) -> None:
        super().__init__(granted, 0)
        # Not a deque, which takes ten times the memory while it is empty. Credit keeps it short.
        self.messages: list[Message] = []
        self.closed: tuple[int, bytes] | None = None


class ItemFlow:
    """One STREAM, on the side that asked for it or on the side that answers.

    Attributes:
        granted: items granted so far.
        used: items of them that were sent.
    """

    __slots__ = ("granted", "used")

    def __init__(self) -> None:
        self.granted = STREAM_ITEMS
        self.used = 0

    def credit(self) -> int:
        """Items that may be sent now."""
        return self.granted - self.used


class EventFlow:
    """Credit of one subscription.

    Attributes:
        granted: events granted so far.
        received: events of them that have arrived.
    """

    __slots__ = ("granted", "received")

    def __init__(self) -> None:
        self.granted = 0
        self.received = 0


class PendingCall:
    """A CALL of ours without its answer.

    Attributes:
        answer: the RESULT or FAULT, once it is there.
        nested: calls of the node that must run on the thread that waits here.
        waiter: that thread, while it waits; belongs to the hub.
    """

    __slots__ = ("answer", "nested", "waiter")

    def __init__(self) -> None:
        self.answer: Message | None = None
        self.nested: deque[Message] = deque()
        self.waiter: Any = None

    def is_done(self) -> bool:
        """Whether what its thread waits for is there."""
        return self.answer is not None

    def is_ready(self) -> bool:
        """Whether its thread has something to do."""
        return self.is_done() or bool(self.nested)


class PendingStream(PendingCall):
    """A STREAM of ours, of which each item and the end are waited for.

    Attributes: items: payloads that have arrived and were not read yet.
    """

    __slots__ = ("items",)

    def __init__(self) -> None:
        super().__init__()
        self.items: deque[bytes] = deque()

    def is_done(self) -> bool:
        """Whether there is an item, or the end."""
        return bool(self.items) or self.answer is not None


class Producer:
    """A STREAM of the node, on the way from its handler.

    Attributes:
        ident: its id.
        origin: our call in whose service it is, 0 for none.
        seconds: what one item may take.
        iterator: what the handler returned, once it has been called.
        is_parked: no thread looks after it: it waits for credit.
        is_cancelled: nobody wants more of it; whoever looks after it next closes the iterator.
    """

    __slots__ = ("ident", "is_cancelled", "is_parked", "iterator", "origin", "seconds")

    def __init__(self, ident: int, origin: int, seconds: float) -> None:
        self.ident = ident
        self.origin = origin
        self.seconds = seconds
        self.iterator: Any = None
        self.is_parked = False
        self.is_cancelled = False
