# SPDX-License-Identifier: Apache-2.0
"""What this worker subscribes to on the node, and which of its mailboxes get what arrives.

The worker has one subscription of the protocol (PROTOCOL.md, Events) for a topic or prefix, however
many requests, tasks and threads of it subscribe: a message crosses the connection once. `deliver`
runs in the thread that reads, everything else in the thread that subscribes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ._hub import Hub
from ._mailbox import Mailbox
from ._wire import EVENT_CREDIT, Message

CREDIT = 1024  # events the node may send before it hears that some were taken

Kind: TypeAlias = Literal["topic", "prefix", "internal"]
Channel: TypeAlias = tuple[Kind, str]


@dataclass(slots=True, eq=False)
class _Subscription:
    """One subscription of the worker.

    Attributes:
        ident: its number in the protocol.
        mailboxes: who gets its events; how often each of them has subscribed.
        taken: events that were taken since the last credit.
    """

    ident: int
    channel: Channel
    mailboxes: dict[Mailbox, int] = field(default_factory=dict)
    taken: int = 0


class Topics:
    """The subscriptions of this worker."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._mutex = threading.Lock()
        self._by_channel: dict[Channel, _Subscription] = {}
        self._by_ident: dict[int, _Subscription] = {}

    def add(self, channel: Channel, mailbox: Mailbox) -> list[object]:
        """Has `mailbox` get what is published from when the node knows of it.

        Returns: the arguments of the service `subscribe`, which is to be called next.
        """
        with self._mutex:
            subscription = self._by_channel.get(channel)
            if subscription is None:
                subscription = self._open(channel)
            boxes = subscription.mailboxes
            boxes[mailbox] = boxes.get(mailbox, 0) + 1
        kind, name = channel
        return [subscription.ident, kind, name]

    def _open(self, channel: Channel) -> _Subscription:
        hub = self._hub
        with hub.mutex:
            ident = hub.session.next_subscription()
            hub.send((EVENT_CREDIT, ident, CREDIT))
        subscription = _Subscription(ident, channel)
        self._by_channel[channel] = self._by_ident[ident] = subscription
        return subscription

    def remove(self, channel: Channel, mailbox: Mailbox) -> list[object] | None:
        """The opposite of `add`, once.

        Returns: the arguments of the service `unsubscribe`, which is to be called next; None when
        the mailbox has no subscription to the channel.
        """
        with self._mutex:
            subscription = self._by_channel.get(channel)
            if subscription is None or mailbox not in subscription.mailboxes:
                return None
            boxes = subscription.mailboxes
            boxes[mailbox] -= 1
            if not boxes[mailbox]:
                del boxes[mailbox]
            if not boxes:
                del self._by_channel[channel], self._by_ident[subscription.ident]
                self._hub.session.end_subscription(subscription.ident)
            return [subscription.ident]

    def close(self, failure: tuple[str, str]) -> None:
        """The connection has ended: closes every mailbox, see `Mailbox.close`."""
        for subscription in tuple(self._by_ident.values()):
            for mailbox in tuple(subscription.mailboxes):
                mailbox.close(failure)

    def deliver(self, message: Message) -> None:
        """Puts one EVENT of the node into the mailboxes it is for."""
        _, ident, lost, topic, payload = message
        subscription = self._by_ident.get(ident)
        if subscription is None:
            return  # it crossed the end of the subscription
        for mailbox in tuple(subscription.mailboxes):
            mailbox.put(topic, payload, lost)
        subscription.taken += 1
        if subscription.taken >= CREDIT // 2:
            self._grant(subscription)

    def _grant(self, subscription: _Subscription) -> None:
        taken, subscription.taken = subscription.taken, 0
        with self._mutex:
            if subscription.ident not in self._by_ident:
                return
            self._hub.send((EVENT_CREDIT, subscription.ident, taken))
        self._hub.flush()
