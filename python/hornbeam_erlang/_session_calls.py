# SPDX-License-Identifier: Apache-2.0
"""The part of `_session` that knows calls, streams of items and events (PROTOCOL.md, section 4.3).

Pure, with the rules of `_session`; a mixin of `Session` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ._flow import EventFlow, ItemFlow
from ._states import StateError, bad_state
from ._wire import (
    CALL,
    CAST,
    EVENT,
    EVENT_CREDIT,
    FAULT,
    ITEM,
    ITEM_CREDIT,
    MAX_CALLS,
    MAX_SUBSCRIPTIONS,
    NAMES,
    RESULT,
    REVOKE,
    STREAM,
    Message,
)

Receiver: TypeAlias = Callable[[Message], bool]
Sender: TypeAlias = Callable[[Message], None]


class CallSession:
    """Calls of both directions.

    Attributes:
        calls: ids of ours that wait for an answer, STREAM among them.
        served: ids of the node's that wait for our answer.
        streams, served_streams: what flows in those of them that are a STREAM.
        subscriptions: what was granted EVENT_CREDIT and has not ended.
    """

    def __init__(self) -> None:
        self.calls: set[int] = set()
        self.served: set[int] = set()
        self.streams: dict[int, ItemFlow] = {}
        self.served_streams: dict[int, ItemFlow] = {}
        self.subscriptions: dict[int, EventFlow] = {}
        self._last_open = 0
        self._last_call = 0
        self._last_served = 0
        self._last_subscription = 0

    def _call_receivers(self) -> dict[int, Receiver]:
        return {
            CALL: self._call,
            STREAM: self._stream,
            RESULT: self._answer,
            FAULT: self._answer,
            REVOKE: self._revoke,
            CAST: accept,
            ITEM: self._item,
            ITEM_CREDIT: self._item_credit,
            EVENT: self._event,
        }

    def _call_senders(self) -> dict[int, Sender]:
        return {
            CALL: self._send_call,
            STREAM: self._send_stream,
            RESULT: self._send_answer,
            FAULT: self._send_answer,
            REVOKE: self._send_revoke,
            ITEM: self._send_item,
            ITEM_CREDIT: self._send_item_credit,
            EVENT_CREDIT: self._send_event_credit,
        }

    def _receivers_while_loading(self) -> dict[int, Receiver]:
        """A worker that loads its application makes calls, and serves what is done for them."""
        receivers = self._call_receivers()
        del receivers[CAST]
        return {**receivers, CALL: self._nested(self._call), STREAM: self._nested(self._stream)}

    def _nested(self, receiver: Receiver) -> Receiver:
        def receive(message: Message) -> bool:
            if not message[2]:
                raise bad_state(message, "the worker is loading, and the call has no origin")
            return receiver(message)

        return receive

    # What the node sends.

    def _call(self, message: Message) -> bool:
        _, ident, origin, *_ = message
        if ident <= self._last_served:
            raise bad_state(message, f"the highest id so far is {self._last_served}")
        if origin > self._last_call:
            raise bad_state(message, f"the worker never made call {origin}, its origin")
        if len(self.served) >= MAX_CALLS:
            raise bad_state(message, f"{MAX_CALLS} calls are open")
        self._last_served = ident
        self.served.add(ident)
        return True

    def _stream(self, message: Message) -> bool:
        self._call(message)
        self.served_streams[message[1]] = ItemFlow()
        return True

    def _is_mine(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_call:
            raise bad_state(message, "the worker made no such call")
        return ident in self.calls

    def _answer(self, message: Message) -> bool:
        if not self._is_mine(message):
            return False
        self._forget_call(message[1])
        return True

    def _forget_call(self, ident: int) -> None:
        self.calls.discard(ident)
        if self.streams:
            self.streams.pop(ident, None)

    def _item(self, message: Message) -> bool:
        if not self._is_mine(message):
            return False
        flow = self.streams.get(message[1])
        if flow is None:
            raise bad_state(message, "the call is no STREAM")
        if flow.credit() <= 0:
            raise bad_state(message, f"more than the {flow.granted} items granted")
        flow.used += 1
        return True

    def _is_served(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_served:
            raise bad_state(message, "the node made no such call")
        return ident in self.served

    def _revoke(self, message: Message) -> bool:
        return self._is_served(message)

    def _item_credit(self, message: Message) -> bool:
        if not self._is_served(message):
            return False
        flow = self.served_streams.get(message[1])
        if flow is None:
            raise bad_state(message, "the call is no STREAM")
        flow.granted += message[2]
        return True

    def _event(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_subscription:
            raise bad_state(message, "the worker granted nothing for such a subscription")
        flow = self.subscriptions.get(ident)
        if flow is None:
            return False
        if flow.received >= flow.granted:
            raise bad_state(message, f"more than the {flow.granted} events granted")
        flow.received += 1
        return True

    # What the worker sends.

    def next_call(self) -> int:
        """The id for the next CALL or STREAM of the worker. Not atomic: the caller holds the hub's
        mutex."""
        return self._last_call + 1

    def _send_call(self, message: Message) -> None:
        _, ident, origin, *_ = message
        name = NAMES[message[0]]
        if ident <= self._last_call:
            raise StateError(f"{name} {ident}, the highest id so far is {self._last_call}")
        if len(self.calls) >= MAX_CALLS:
            raise StateError(f"{MAX_CALLS} calls are open")
        if origin > self._last_open:
            raise StateError(f"{name} {ident} for exchange {origin}, which was never opened")
        if -origin > self._last_served:
            raise StateError(f"{name} {ident} for call {-origin}, which the node never made")
        self._last_call = ident
        self.calls.add(ident)

    def _send_stream(self, message: Message) -> None:
        self._send_call(message)
        self.streams[message[1]] = ItemFlow()

    def _send_answer(self, message: Message) -> None:
        ident = message[1]
        if ident not in self.served:
            raise StateError(f"{NAMES[message[0]]} for call {ident}, which is not open")
        self.served.discard(ident)
        if self.served_streams:
            self.served_streams.pop(ident, None)

    def _send_item(self, message: Message) -> None:
        flow = self.served_streams.get(message[1])
        if flow is None:
            raise StateError(f"ITEM for call {message[1]}, which is no open STREAM")
        if flow.credit() <= 0:
            raise StateError(f"ITEM beyond the {flow.granted} items granted")
        flow.used += 1

    def _send_item_credit(self, message: Message) -> None:
        flow = self.streams.get(message[1])
        if flow is None:
            raise StateError(f"ITEM_CREDIT for call {message[1]}, which is no open STREAM")
        flow.granted += message[2]

    def _send_revoke(self, message: Message) -> None:
        if message[1] not in self.calls:
            raise StateError(f"REVOKE of call {message[1]}, which is not open")
        self._forget_call(message[1])

    def next_subscription(self) -> int:
        """The id for the next subscription. Not atomic: the caller holds the hub's mutex. The first
        EVENT_CREDIT with it makes the subscription known here."""
        return self._last_subscription + 1

    def _send_event_credit(self, message: Message) -> None:
        _, ident, events = message
        flow = self.subscriptions.get(ident)
        if flow is None:
            if ident <= self._last_subscription:
                raise StateError(f"EVENT_CREDIT for subscription {ident}, which has ended")
            if len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
                raise StateError(f"{MAX_SUBSCRIPTIONS} subscriptions are open")
            flow = self.subscriptions[ident] = EventFlow()
            self._last_subscription = ident
        flow.granted += events

    def end_subscription(self, ident: int) -> None:
        """Forgets subscription `ident`: events for it that are on their way are dropped."""
        self.subscriptions.pop(ident, None)


def accept(message: Message) -> bool:
    """For messages that change nothing here."""
    return True
