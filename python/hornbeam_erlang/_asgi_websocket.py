# SPDX-License-Identifier: Apache-2.0
"""One WebSocket: what `receive` and `send` do (ASGI WebSocket 2.5, and its denial response).

Runs in the loop's thread. Both directions are independent of each other, each under credit.
"""

from __future__ import annotations

from typing import Any

from . import _asgi_shared
from ._asgi_cycle import ClientDisconnected, Event, event_type, out_of_order, shortened
from ._asgi_headers import encode_headers, is_token
from ._asgi_http import DONE, START, HTTPCycle
from ._calls import call_service_async
from ._flow import SocketFlow, Window
from ._wire import (
    ACCEPT,
    BINARY,
    BODY_CREDIT,
    CLOSE,
    END,
    MAX_PAYLOAD,
    MAX_REASON,
    RESPONSE,
    TEXT,
    UNSENDABLE_CODES,
    WEBSOCKET_MESSAGE,
    Message,
)
from ._wsgi_headers import BadResponse

# Of the extension `hornbeam.topics`: `topic`, and `prefix` for all topics that start so.
JOIN, LEAVE = "hornbeam.topics.join", "hornbeam.topics.leave"
TOPICS_TIMEOUT_MS = 5000

# What became of the handshake, and of the socket.
ASKED, ACCEPTED, DENIED, CLOSED = range(4)
_EXPECTED = {
    ASKED: "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'",
    ACCEPTED: "'websocket.send' or 'websocket.close'",
    DENIED: "'websocket.http.response.body'",
    CLOSED: "nothing after the close",
}

# The event of the denial response that is due.
_DENIAL_EVENTS = {ASKED: "websocket.http.response.start", DENIED: "websocket.http.response.body"}

ABNORMAL = 1006  # RFC 6455, 7.4.1: no close frame said why
_DENIAL = "websocket."  # an event of the denial response is one of a response, with this before it


class WebSocketCycle(HTTPCycle):
    """One WebSocket. What it inherits serves the denial response.

    Attributes:
        flow: what has arrived, and credit.
        state: what became of it so far.
        owed: credit to be granted for messages that were received.
        is_connected: whether `websocket.connect` was received.
        closed: code and reason of the close that the application sent.
    """

    __slots__ = ("closed", "flow", "is_connected", "owed", "state")

    flow: SocketFlow
    state: int
    owed: int
    is_connected: bool
    closed: tuple[int, str]

    def __init__(self, connection: Any, message: Message) -> None:
        # Not that of asyncio.Task: see LazyTask.
        self.connection = connection
        self.ident = message[1]
        self.target = _asgi_shared.path(message[3]).target
        self.gone = b""
        self.waiters = ()
        self.phase = START
        self.is_head = False
        self.flow = connection.session.sockets[self.ident]
        self.state = ASKED
        self.owed = 0
        self.is_connected = False

    def window(self) -> Window:
        return self.flow

    # What the application receives.

    async def receive(self) -> Event:
        """ASGI's `receive`: the connect, messages in their order, then the disconnect."""
        if not self.is_connected:
            self.is_connected = True
            return {"type": "websocket.connect"}
        flow = self.flow
        while True:
            if flow.messages and self.state == ACCEPTED:
                return self._received(flow.messages.pop(0))
            end = self._end()
            if end is not None:
                return {"type": "websocket.disconnect", "code": end[0], "reason": end[1]}
            await self.change()

    def _received(self, message: Message) -> Event:
        code, _, data = message
        self.owed += len(data) + WEBSOCKET_MESSAGE
        if self.owed >= self.connection.session.request_window // 2:
            if self.flow.closed is None and not self.is_closed():
                self.connection.send((BODY_CREDIT, self.ident, self.owed))
            self.owed = 0
        if code == TEXT:
            return {"type": "websocket.receive", "text": data.decode()}
        return {"type": "websocket.receive", "bytes": data}

    def _end(self) -> tuple[int, str] | None:
        """Code and reason of the disconnect, None while the socket is open or may be."""
        if self.flow.closed is not None:
            code, reason = self.flow.closed
            return code, reason.decode()
        if self.state == CLOSED:
            return self.closed
        if self.gone or self.phase == DONE:
            return ABNORMAL, ""
        return None

    # What the application sends.

    async def send(self, event: Event) -> None:
        """ASGI's `send`.

        Raises: RuntimeError: the event is not legal now. BadResponse: it cannot be sent.
            ClientDisconnected: an OSError.
        """
        kind = event_type(event)
        state = self.state
        if self.gone or (self.flow.closed is not None and state == ACCEPTED):
            raise self._left()
        if kind == "websocket.send" and state == ACCEPTED:
            await self._send(event)
        elif kind == "websocket.close" and state == ACCEPTED:
            self._close(event)
        elif kind == "websocket.accept" and state == ASKED:
            self._accept(event)
        elif kind == "websocket.close" and state == ASKED:
            self._refuse()
        elif kind in (JOIN, LEAVE) and state == ACCEPTED:
            await self._change_topics(event)
        elif kind == _DENIAL_EVENTS.get(state):
            await super().send({**event, "type": kind.removeprefix(_DENIAL)})
            self.state = DENIED
        else:
            raise out_of_order(event, _EXPECTED[state])

    async def _send(self, event: Event) -> None:
        text, data = event.get("text"), event.get("bytes")
        if (text is None) == (data is None):
            raise RuntimeError(f"expected one of 'text' and 'bytes', got {shortened(event)}")
        code = BINARY if text is None else TEXT
        payload = _payload(data) if text is None else _text(text, "'text' of websocket.send")
        flow = self.flow
        while flow.credit() <= 0:
            await self.change()
            if self.gone or flow.closed is not None:
                raise self._left()
            if self.state != ACCEPTED:  # closed by another task meanwhile
                raise out_of_order(event, _EXPECTED[self.state])
        self.connection.send((code, self.ident, payload), len(payload))

    async def _change_topics(self, event: Event) -> None:
        kind = "prefix" if event.get("prefix") else "topic"
        arguments = [self.ident, kind, event.get("topic")]
        service = event["type"].removeprefix("hornbeam.")
        await call_service_async(service, arguments, {}, TOPICS_TIMEOUT_MS, event["type"])

    def _left(self) -> ClientDisconnected:
        code, reason = self._end() or (ABNORMAL, "")
        return ClientDisconnected(f"the client has left: {code} {reason}".rstrip())

    def _accept(self, event: Event) -> None:
        subprotocol = event.get("subprotocol")
        if subprotocol is not None and not is_token(subprotocol):
            raise BadResponse(f"subprotocol {subprotocol!r} is no token (RFC 6455, 4.1)")
        headers = encode_headers(event.get("headers") or ())
        headers.pop(b"connection", None)
        own = [name for name in headers if name.startswith(b"sec-websocket-")]
        if own:
            raise BadResponse(f"header {own[0]!r} is the server's, not the application's")
        chosen = None if subprotocol is None else subprotocol.encode("ascii")
        self.connection.send((ACCEPT, self.ident, chosen, headers))
        self.state = ACCEPTED

    def _refuse(self) -> None:
        self.connection.send_response((RESPONSE, self.ident, 403, {}, b""))
        self.state, self.phase = DENIED, DONE
        self.changed()

    def _close(self, event: Event) -> None:
        code, reason = event.get("code", 1000), event.get("reason") or ""
        if code is None:
            code = 1000
        if type(code) is not int or not 1000 <= code <= 4999 or code in UNSENDABLE_CODES:
            raise BadResponse(f"close code {code!r}: expected 1000..4999 but 1005, 1006, 1015")
        encoded = _text(reason, "'reason' of websocket.close")
        if len(encoded) > MAX_REASON:
            raise BadResponse(f"close reason of {len(encoded)} bytes, allowed are {MAX_REASON}")
        self.connection.send((CLOSE, self.ident, code, encoded))
        self.state, self.closed = CLOSED, (code, reason)
        self.changed()

    # How it ends.

    def wants_grace(self, reason: bytes) -> bool:
        # After the accept the application was told by CLOSE, and was given its time by the node.
        return self.state == ASKED and super().wants_grace(reason)

    def finish(self) -> None:
        if self.state in (ACCEPTED, CLOSED):
            self.connection.send((END, self.ident, {}))
        elif self.state == ASKED and not self.gone:
            text = "the application returned without accepting or closing the WebSocket"
            self.log(BadResponse(text), text)
            self.abort(b"no_response", text)
        else:
            super().finish()

    def raised(self, exc: BaseException) -> None:
        if isinstance(exc, ClientDisconnected) and self.flow.closed is not None:
            self.returned()
        else:
            super().raised(exc)


def _payload(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        text = f"'bytes' of websocket.send is of type {type(value).__name__}: {value!r:.80}"
        raise BadResponse(text)
    return _bounded(bytes(value))


def _text(value: Any, name: str) -> bytes:
    if not isinstance(value, str):
        raise BadResponse(f"{name}: expected str, got {type(value).__name__}: {value!r:.80}")
    try:
        return _bounded(value.encode())
    except UnicodeEncodeError as exc:
        raise BadResponse(f"{name} has {value[exc.start]!r}, which is not UTF-8") from None


def _bounded(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD:
        raise BadResponse(f"message of {len(payload)} bytes, allowed are {MAX_PAYLOAD}")
    return payload
