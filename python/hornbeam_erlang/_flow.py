# SPDX-License-Identifier: Apache-2.0
"""What is open for longer than one message: exchanges that stream, and calls that wait for their
answer.

Pure. Each counter has one writer: what was granted and what was used are kept apart, so that the
reader and the thread that runs the exchange need no lock between them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ._wire import Message


class Flow:
    """One streaming exchange.

    Attributes:
        granted: response bytes the node has granted so far (written by the reader).
        sent: response bytes used of them (written by the thread that runs the exchange).
        body_granted, body_received: the same for the request body, the other way round.
        chunks: body bytes that have arrived and were not read yet.
        body_open: more BODY messages follow.
        cancelled: reason of the CANCEL, empty while there is none.
        waiter: whoever waits for any of this; belongs to the hub.
    """

    __slots__ = (
        "body_granted",
        "body_open",
        "body_received",
        "cancelled",
        "chunks",
        "granted",
        "sent",
        "waiter",
    )

    def __init__(self, granted: int, body_granted: int, body_open: bool) -> None:
        self.granted = granted
        self.sent = 0
        self.body_granted = body_granted
        self.body_received = 0
        self.chunks: deque[bytes] = deque()
        self.body_open = body_open
        self.cancelled = b""
        self.waiter: Any = None

    def credit(self) -> int:
        """Response bytes that may be sent now."""
        return self.granted - self.sent


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
