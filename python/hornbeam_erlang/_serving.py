# SPDX-License-Identifier: Apache-2.0
"""Takes work and runs it, one piece after the other: the loop of a thread that serves requests and
what the node calls here.

Runs in each of these threads, for every request.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TypeAlias

from . import _served
from ._hub import Hub
from ._leader import Waiter
from ._wire import OPEN, Message

Serve: TypeAlias = Callable[[Message], None]


def work(hub: Hub, serve: Serve) -> None:
    """Takes work and runs it until the worker has drained."""
    origins, outbox = hub.origins, hub.outbox
    thread = get_ident()
    waiter = Waiter()
    while (message := hub.take(waiter)) is not None:
        if message[0] == OPEN:
            origins[thread] = message[1]
            serve(message)
            if hub.endings:
                hub.end(message[1])
            outbox.flush_if_due()
            continue
        origins[thread] = 0
        _served.serve(hub, message)
