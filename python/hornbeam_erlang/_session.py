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

from ._flow import Flow, SocketFlow, Window
from ._session_calls import CallSession, Receiver, Sender, accept
from ._states import (
    ACCEPTED,
    ASKED,
    CLOSED,
    CLOSING,
    DRAINING,
    ENDED,
    EXCHANGE_CODES,
    GREETED,
    GREETING,
    LOADING,
    OFFERED,
    PHASES_TO_SEND,
    QUEUED,
    RUNNING,
    SERVING,
    STARTS,
    TRANSITIONS,
    StateError,
    bad_state,
)
from ._wire import (
    ABORT,
    ACCEPT,
    BINARY,
    BODY,
    BODY_CREDIT,
    BOOT,
    CANCEL,
    CLOSE,
    CREDIT,
    DATA,
    DRAIN,
    END,
    ERROR,
    FAILED,
    FILE,
    HEAD,
    HELLO,
    INFORM,
    NAMES,
    OPEN,
    PUSH,
    READY,
    RESPONSE,
    RETURN,
    STARTED,
    TEXT,
    VERSION_MAX,
    VERSION_MIN,
    WEBSOCKET,
    WEBSOCKET_MESSAGE,
    Message,
    ProtocolError,
)


class Session(CallSession):
    """One connection, seen from the worker. See the rules at the head of the module.

    Attributes:
        exchanges: the state of every open exchange, a word of `_states`.
        flows: what flows in HTTP exchanges that stream.
        sockets: what flows in WebSockets, from WEBSOCKET until they are closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.phase = GREETING
        self.version = 0
        self.response_window = 0
        self.request_window = 0
        self.exchanges: dict[int, str] = {}
        self.flows: dict[int, Flow] = {}
        self.sockets: dict[int, SocketFlow] = {}
        self._greeted = False
        self._receivers = self._all_receivers()
        self._current = self._receivers[GREETING]
        self._senders: dict[int, Sender] = {
            HELLO: self._send_hello,
            READY: self._send_ready,
            FAILED: self._send_failed,
            ERROR: self._send_failed,
            RESPONSE: self.send_response,
            DATA: self._send_data,
            BODY_CREDIT: self._send_body_credit,
            RETURN: self._send_return,
            ACCEPT: self._send_accept,
            TEXT: self._send_socket_message,
            BINARY: self._send_socket_message,
            **dict.fromkeys((HEAD, FILE, END, ABORT, STARTED), self._send_step),
            **dict.fromkeys((INFORM, PUSH, CLOSE), self._send_step),
            **self._call_senders(),
        }

    # What the node sends.

    def receive(self, message: Message) -> bool:
        """Takes one checked message of the node.

        Returns: True when it is to be acted on, False when it crossed the end of what it is about.
        Raises: ProtocolError: `bad_state`, or `version` for a HELLO that shares no version with us.
        """
        receiver = self._current.get(message[0])
        if receiver is None:
            raise bad_state(message, f"the worker is {self.phase}")
        return receiver(message)

    def _all_receivers(self) -> dict[str, dict[int, Receiver]]:
        serving: dict[int, Receiver] = {
            OPEN: self._open,
            WEBSOCKET: self._websocket,
            BODY: self._body,
            TEXT: self._socket_message,
            BINARY: self._socket_message,
            CLOSE: self._close,
            CREDIT: self._credit,
            CANCEL: self._cancel,
            DRAIN: self._drain,
            ERROR: accept,
            **self._call_receivers(),
        }
        draining = {code: serving[code] for code in serving if code not in (OPEN, WEBSOCKET, DRAIN)}
        return {
            GREETING: {HELLO: self._hello, ERROR: accept},
            GREETED: {BOOT: self._boot, ERROR: accept},
            LOADING: {ERROR: accept, **self._receivers_while_loading()},
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

    def _new_exchange(self, message: Message, state: str) -> int:
        ident: int = message[1]
        if ident <= self._last_open:
            raise bad_state(message, f"the highest id so far is {self._last_open}")
        self._last_open = ident
        self.exchanges[ident] = state
        return ident

    def _open(self, message: Message) -> bool:
        ident = self._new_exchange(message, QUEUED)
        if type(message[9]) is not bytes:
            self.flows[ident] = Flow(self.response_window, 0, True)
        return True

    def _websocket(self, message: Message) -> bool:
        ident = self._new_exchange(message, OFFERED)
        self.sockets[ident] = SocketFlow(self.response_window)
        return True

    def _is_open(self, message: Message) -> bool:
        ident = message[1]
        if ident > self._last_open:
            raise bad_state(message, "the exchange was never opened")
        return ident in self.exchanges

    def flow(self, ident: int) -> Flow:
        """The flow of the open HTTP exchange `ident`, made now if it has none yet."""
        flow = self.flows.get(ident)
        if flow is not None:
            return flow
        # The reader and the exchange's thread may both come here: setdefault is one step under the
        # GIL.
        flow = self.flows.setdefault(ident, Flow(self.response_window, 0, False))
        if ident not in self.exchanges:
            self.flows.pop(ident, None)
        return flow

    def _window(self, ident: int) -> Window:
        return self.sockets.get(ident) or self.flow(ident)

    def _body(self, message: Message) -> bool:
        _, ident, fin, data = message
        if not self._is_open(message):
            return False
        if ident in self.sockets:
            raise bad_state(message, "the exchange is a WebSocket")
        flow = self.flow(ident)
        if not flow.body_open:
            raise bad_state(message, "its request body has ended")
        flow.body_received += len(data)
        if flow.body_received > flow.body_granted:
            raise bad_state(message, f"more than the {flow.body_granted} bytes granted")
        if data:
            flow.chunks.append(data)
        if fin:
            flow.body_open = False
        return True

    def _socket(self, message: Message) -> SocketFlow | None:
        """The WebSocket that `message` is for; None when it crossed the end of it."""
        if not self._is_open(message):
            return None
        flow = self.sockets.get(message[1])
        if flow is None:
            raise bad_state(message, "the exchange is no WebSocket")
        state = self.exchanges[message[1]]
        if flow.closed is not None or flow.cancelled:
            raise bad_state(message, "the node has closed or cancelled the WebSocket")
        if state is CLOSING:
            return None
        if state is not ACCEPTED:
            raise bad_state(message, f"the WebSocket is {state}")
        return flow

    def _socket_message(self, message: Message) -> bool:
        flow = self._socket(message)
        if flow is None:
            return False
        if flow.body_received >= flow.body_granted:
            raise bad_state(message, f"more than the {flow.body_granted} bytes granted")
        flow.body_received += len(message[2]) + WEBSOCKET_MESSAGE
        flow.messages.append(message)
        return True

    def _close(self, message: Message) -> bool:
        flow = self._socket(message)
        if flow is None:
            return False
        flow.closed = message[2], message[3]
        return True

    def _credit(self, message: Message) -> bool:
        if not self._is_open(message):
            return False
        flow = self._window(message[1])
        flow.granted += message[2]
        return True

    def _cancel(self, message: Message) -> bool:
        if not self._is_open(message):
            return False
        flow = self._window(message[1])
        if flow.cancelled:
            raise bad_state(message, "the exchange was cancelled before")
        flow.cancelled = message[2] or b"client_gone"
        return True

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
            self.sockets.pop(ident, None)
        else:
            self.exchanges[ident] = after

    def start(self, ident: int) -> None:
        """The exchange `ident` starts; the ledger or STARTED tells the node."""
        after = STARTS.get(self.exchanges.get(ident, CLOSED))
        if after is None:
            raise StateError(f"exchange {ident} cannot start")
        self.exchanges[ident] = after

    def send_response(self, message: Message) -> None:
        """`send` for RESPONSE alone, which every small answer pays for."""
        ident = message[1]
        if len(message[4]) > self.response_window:
            raise StateError(f"RESPONSE of {len(message[4])} bytes, the window is smaller")
        state = self.exchanges.pop(ident, CLOSED)
        if state is not RUNNING and state is not ASKED:
            raise StateError(f"RESPONSE for exchange {ident}, which does not wait for it")
        if self.flows:
            self.flows.pop(ident, None)
        if self.sockets:
            self.sockets.pop(ident, None)

    def _send_step(self, message: Message) -> None:
        self._advance(message[0], message[1])

    def _send_data(self, message: Message) -> None:
        _, ident, data = message
        self._advance(DATA, ident)
        flow = self._window(ident)
        if len(data) > flow.credit():
            raise StateError(f"DATA of {len(data)} bytes, granted are {flow.credit()}")
        flow.sent += len(data)

    def _send_body_credit(self, message: Message) -> None:
        self._advance(BODY_CREDIT, message[1])
        flow = self._window(message[1])
        flow.body_granted += message[2]

    def _send_return(self, message: Message) -> None:
        for ident in message[1]:
            self._advance(RETURN, ident)

    def _send_accept(self, message: Message) -> None:
        ident = message[1]
        # Before the state, which lets the reader take messages.
        if self.exchanges.get(ident) is ASKED:
            self.sockets[ident].body_granted = self.request_window
        self._advance(ACCEPT, ident)

    def _send_socket_message(self, message: Message) -> None:
        code, ident, data = message
        self._advance(code, ident)
        flow = self.sockets[ident]
        if flow.credit() <= 0:
            raise StateError(f"{NAMES[code]} beyond the {flow.granted} bytes granted")
        flow.sent += len(data) + WEBSOCKET_MESSAGE

    def is_idle(self) -> bool:
        """Nothing is open: a draining worker may end."""
        return not (self.exchanges or self.served)
