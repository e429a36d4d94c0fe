# SPDX-License-Identifier: Apache-2.0
"""The worker's side of one connection as a state machine (PROTOCOL.md, sections 4 to 7).

Pure: no descriptor, clock or thread. The reader passes every checked message of the node to
`receive`; every message of the worker passes `send` before it is queued. Both raise when the
message is not legal.

Rule 1: `receive` is called by one thread at a time. `send` is called by any thread, but by one
thread per exchange or call. So counters have one writer each: what was granted and what was used
are apart.
Rule 2: an exchange costs one dict entry; a `Flow` is made when credit, a streamed body or a CANCEL
asks for it.
Rule 3: what crossed the closing of its exchange or call is dropped: `receive` returns False.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ._flow import Flow
from ._states import (
    CLOSED,
    DRAINING,
    ENDED,
    EXCHANGE_CODES,
    GREETED,
    GREETING,
    LOADING,
    PHASES_TO_SEND,
    QUEUED,
    RUNNING,
    SERVING,
    TRANSITIONS,
)
from ._wire import (
    ABORT,
    BODY,
    BODY_CREDIT,
    BOOT,
    CALL,
    CANCEL,
    CAST,
    CREDIT,
    DATA,
    DRAIN,
    END,
    ERROR,
    FAILED,
    FAULT,
    FILE,
    HEAD,
    HELLO,
    MAX_CALLS,
    NAMES,
    OPEN,
    READY,
    RESPONSE,
    RESULT,
    RETURN,
    REVOKE,
    STARTED,
    VERSION_MAX,
    VERSION_MIN,
    Message,
    ProtocolError,
)


class StateError(RuntimeError):
    """This side is about to break the protocol: a bug in hornbeam, not in what the node sent."""


Receiver: TypeAlias = Callable[[Message], bool]


class Session:
    """One connection, seen from the worker. See the rules at the head of the module."""

    def __init__(self) -> None:
        self.phase = GREETING
        self.version = 0
        self.response_window = 0
        self.request_window = 0
        self.exchanges: dict[int, str] = {}
        self.flows: dict[int, Flow] = {}
        self.calls: set[int] = set()  # ours that wait for an answer
        self.served: set[int] = set()  # the node's that wait for our answer
        self._greeted = False
        self._last_open = 0
        self._last_call = 0
        self._last_served = 0
        self._receivers = self._all_receivers()
        self._current = self._receivers[GREETING]
        self._senders: dict[int, Callable[[Message], None]] = {
            HELLO: self._send_hello,
            READY: self._send_ready,
            FAILED: self._send_failed,
            ERROR: self._send_failed,
            RESPONSE: self.send_response,
            HEAD: self._send_step,
            DATA: self._send_data,
            FILE: self._send_step,
            END: self._send_step,
            ABORT: self._send_step,
            BODY_CREDIT: self._send_body_credit,
            RETURN: self._send_return,
            STARTED: self._send_step,
            CALL: self._send_call,
            RESULT: self._send_answer,
            FAULT: self._send_answer,
            REVOKE: self._send_revoke,
        }

    # What the node sends.

    def receive(self, message: Message) -> bool:
        """Takes one checked message of the node.

        Returns: True when it is to be acted on, False when it crossed the end of what it is about.
        Raises: ProtocolError: `bad_state`, or `version` for a HELLO that shares no version with us.
        """
        receiver = self._current.get(message[0])
        if receiver is None:
            raise _bad_state(message, f"the worker is {self.phase}")
        return receiver(message)

    def _all_receivers(self) -> dict[str, dict[int, Receiver]]:
        serving: dict[int, Receiver] = {
            OPEN: self._open,
            BODY: self._body,
            CREDIT: self._credit,
            CANCEL: self._cancel,
            CALL: self._call,
            RESULT: self._answer,
            FAULT: self._answer,
            REVOKE: self._revoke,
            CAST: _accept,
            DRAIN: self._drain,
            ERROR: _accept,
        }
        draining = {code: serving[code] for code in serving if code not in (OPEN, DRAIN)}
        return {
            GREETING: {HELLO: self._hello, ERROR: _accept},
            GREETED: {BOOT: self._boot, ERROR: _accept},
            LOADING: {ERROR: _accept},
            SERVING: serving,
            DRAINING: draining,
            ENDED: {},
        }

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._current = self._receivers[phase]

    def _hello(self, message: Message) -> bool:
        _, low, high, _ = message
        self.version = min(high, VERSION_MAX)
        if self.version < max(low, VERSION_MIN):
            text = f"the node speaks {low}..{high}, this worker {VERSION_MIN}..{VERSION_MAX}"
            raise ProtocolError("version", text)
        self._enter(GREETED)
        return True

    def _boot(self, message: Message) -> bool:
        self._enter(LOADING)
        return True

    def _drain(self, message: Message) -> bool:
        self._enter(DRAINING)
        return True

    def _open(self, message: Message) -> bool:
        ident = message[1]
        if ident <= self._last_open:
            raise _bad_state(message, f"the highest id so far is {self._last_open}")
        self._last_open = ident
        self.exchanges[ident] = QUEUED
        if type(message[9]) is not bytes:
            self.flows[ident] = Flow(self.response_window, 0, True)
        return True

    def _is_open(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_open:
            raise _bad_state(message, "the exchange was never opened")
        return ident in self.exchanges

    def flow(self, ident: int) -> Flow:
        """The flow of the open exchange `ident`, made now if it has none yet."""
        flow = self.flows.get(ident)
        if flow is not None:
            return flow
        # The reader and the exchange's thread may both come here: setdefault is one step under the
        # GIL.
        flow = self.flows.setdefault(ident, Flow(self.response_window, 0, False))
        if ident not in self.exchanges:
            self.flows.pop(ident, None)
        return flow

    def _body(self, message: Message) -> bool:
        _, ident, fin, data = message
        if not self._is_open(message):
            return False
        flow = self.flow(ident)
        if not flow.body_open:
            raise _bad_state(message, "its request body has ended")
        flow.body_received += len(data)
        if flow.body_received > flow.body_granted:
            raise _bad_state(message, f"more than the {flow.body_granted} bytes granted")
        if data:
            flow.chunks.append(data)
        if fin:
            flow.body_open = False
        return True

    def _credit(self, message: Message) -> bool:
        if not self._is_open(message):
            return False
        self.flow(message[1]).granted += message[2]
        return True

    def _cancel(self, message: Message) -> bool:
        if not self._is_open(message):
            return False
        flow = self.flow(message[1])
        if flow.cancelled:
            raise _bad_state(message, "the exchange was cancelled before")
        flow.cancelled = message[2] or b"client_gone"
        return True

    def _call(self, message: Message) -> bool:
        _, ident, origin, *_ = message
        if ident <= self._last_served:
            raise _bad_state(message, f"the highest id so far is {self._last_served}")
        if origin > self._last_call:
            raise _bad_state(message, f"the worker never made call {origin}, its origin")
        if len(self.served) >= MAX_CALLS:
            raise _bad_state(message, f"{MAX_CALLS} calls are open")
        self._last_served = ident
        self.served.add(ident)
        return True

    def _answer(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_call:
            raise _bad_state(message, "the worker made no such call")
        if ident not in self.calls:
            return False
        self.calls.discard(ident)
        return True

    def _revoke(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_served:
            raise _bad_state(message, "the node made no such call")
        return ident in self.served

    # What the worker sends.

    def send(self, message: Message) -> None:
        """Takes note of one message of the worker, which may be queued for sending afterwards.

        Raises: StateError: the message is not legal now.
        """
        code = message[0]
        if code not in EXCHANGE_CODES and code not in PHASES_TO_SEND[self.phase]:
            raise StateError(f"{NAMES[code]} while {self.phase}")
        sender = self._senders.get(code)
        if sender is not None:
            sender(message)

    def _send_hello(self, message: Message) -> None:
        if self._greeted:
            raise StateError("HELLO twice")
        self._greeted = True

    def _send_ready(self, message: Message) -> None:
        self._enter(SERVING)

    def _send_failed(self, message: Message) -> None:
        self._enter(ENDED)

    def _advance(self, code: int, ident: int) -> None:
        state = self.exchanges.get(ident, CLOSED)
        after = TRANSITIONS.get(state, {}).get(code)
        if after is None:
            raise StateError(f"{NAMES[code]} for exchange {ident}, which is {state}")
        if after is CLOSED:
            del self.exchanges[ident]
            self.flows.pop(ident, None)
        else:
            self.exchanges[ident] = after

    def start(self, ident: int) -> None:
        """The exchange `ident` starts; the ledger or STARTED tells the node."""
        if self.exchanges.get(ident) is not QUEUED:
            raise StateError(f"exchange {ident} cannot start")
        self.exchanges[ident] = RUNNING

    def send_response(self, message: Message) -> None:
        """`send` for RESPONSE alone, which every small answer pays for."""
        ident = message[1]
        if len(message[4]) > self.response_window:
            raise StateError(f"RESPONSE of {len(message[4])} bytes, the window is smaller")
        if self.exchanges.pop(ident, CLOSED) is not RUNNING:
            raise StateError(f"RESPONSE for exchange {ident}, which does not wait for it")
        if self.flows:
            self.flows.pop(ident, None)

    def _send_step(self, message: Message) -> None:
        self._advance(message[0], message[1])

    def _send_data(self, message: Message) -> None:
        _, ident, data = message
        self._advance(DATA, ident)
        flow = self.flow(ident)
        if len(data) > flow.credit():
            raise StateError(f"DATA of {len(data)} bytes, granted are {flow.credit()}")
        flow.sent += len(data)

    def _send_body_credit(self, message: Message) -> None:
        self._advance(BODY_CREDIT, message[1])
        self.flow(message[1]).body_granted += message[2]

    def _send_return(self, message: Message) -> None:
        for ident in message[1]:
            self._advance(RETURN, ident)

    def next_call(self) -> int:
        """The id for the next CALL of the worker. Not atomic: the caller holds the hub's mutex."""
        return self._last_call + 1

    def _send_call(self, message: Message) -> None:
        _, ident, origin, *_ = message
        if ident <= self._last_call:
            raise StateError(f"CALL {ident}, the highest id so far is {self._last_call}")
        if len(self.calls) >= MAX_CALLS:
            raise StateError(f"{MAX_CALLS} calls are open")
        if origin > self._last_open:
            raise StateError(f"CALL {ident} for exchange {origin}, which was never opened")
        self._last_call = ident
        self.calls.add(ident)

    def _send_answer(self, message: Message) -> None:
        if message[1] not in self.served:
            raise StateError(f"{NAMES[message[0]]} for call {message[1]}, which is not open")
        self.served.discard(message[1])

    def _send_revoke(self, message: Message) -> None:
        if message[1] not in self.calls:
            raise StateError(f"REVOKE of call {message[1]}, which is not open")
        self.calls.discard(message[1])

    def is_idle(self) -> bool:
        """Nothing is open: a draining worker may end."""
        return not (self.exchanges or self.served)


def _accept(message: Message) -> bool:
    return True


def _bad_state(message: Message, why: str) -> ProtocolError:
    about = f" {message[1]}" if len(message) > 1 and type(message[1]) is int else ""
    return ProtocolError("bad_state", f"{NAMES[message[0]]}{about}: {why}")
