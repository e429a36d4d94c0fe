# SPDX-License-Identifier: Apache-2.0
"""One HTTP request and its response: what `receive` and `send` do (ASGI HTTP 2.5).

Runs in the loop's thread. A response that is whole and small leaves as one RESPONSE; any other as
HEAD, DATA under credit, and END.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ._asgi_body import Body
from ._asgi_cycle import Cycle, Event, event_type, out_of_order
from ._asgi_extensions import early_hints, file_message, push_message, trailers
from ._asgi_headers import encode_headers
from ._flow import Window
from ._wire import DATA, END, HEAD, RESPONSE, Message
from ._wsgi_headers import BadResponse, Headers
from ._wsgi_response import MAX_DATA, LengthMismatch, NoResponse

# What `send` waits for.
START, FIRST, MORE, TRAILERS, DONE = range(5)
_EXPECTED = {
    START: "'http.response.start'",
    FIRST: "'http.response.body'",
    MORE: "'http.response.body'",
    TRAILERS: "'http.response.trailers'",
}


class HTTPCycle(Cycle):
    """One request.

    Attributes:
        phase: what `send` waits for.
        body: the request body, or None once it was received.
        is_head: whether the response is to have no body.
        status, headers, has_trailers: of `http.response.start`.
        length: its Content-Length.
        sent: body bytes sent.
    """

    __slots__ = (
        "body",
        "has_trailers",
        "headers",
        "is_head",
        "length",
        "phase",
        "sent",
        "status",
        "trailers",
    )

    phase: int
    status: int
    headers: Headers
    body: bytes | Body | None
    is_head: bool
    has_trailers: bool
    trailers: dict[bytes, bytes]
    files: ClassVar[bool] = True  # whether the node can send files of this machine
    length: int | None
    sent: int

    def __init__(self, connection: Any, message: Message) -> None:
        # Not that of asyncio.Task: see LazyTask.
        self.connection = connection
        self.ident = message[1]
        self.target = (message[3], message[4])
        self.gone = b""
        self.waiters = ()
        self.phase = START
        self.is_head = message[3] == b"HEAD"
        body = message[9]
        self.body = body if type(body) is bytes else Body(self, body[0])

    def window(self) -> Window:
        """The credit of the exchange."""
        return self.connection.session.flow(self.ident)

    # What the application receives.

    async def receive(self) -> Event:
        """ASGI's `receive`: the body, then `http.disconnect` once the exchange is over."""
        body = self.body
        if isinstance(body, bytes):
            self.body = None
            if not self.gone and self.phase != DONE:
                return {"type": "http.request", "body": body, "more_body": False}
        elif body is not None and self.phase != DONE:
            event = await body.receive()
            if event is not None:
                return event
        while not self.gone and self.phase != DONE:
            await self.change()
        if self.gone:
            self.knows = True
        return {"type": "http.disconnect"}

    # What the application sends.

    async def send(self, event: Event) -> None:
        """ASGI's `send`.

        Raises: RuntimeError: the event is not legal now. BadResponse: it cannot be sent.
            LengthMismatch: the body is not as long as Content-Length says. ClientDisconnected.
        """
        try:
            kind = event["type"]
        except (TypeError, KeyError):
            kind = event_type(event)
        if self.gone:
            raise self.left()
        phase = self.phase
        if kind == "http.response.body" and (phase == FIRST or phase == MORE):
            body = event.get("body", b"")
            if type(body) is not bytes:
                body = _bytes(body)
            if event.get("more_body"):
                await self._send_part(body, True)
            elif phase == MORE or not self._try_whole(body):
                await self._send_part(body, False)
        elif kind == "http.response.start" and phase == START:
            self._start(event)
        else:
            await self._send_other(kind, event)

    def _start(self, event: Event) -> None:
        status = event.get("status")
        if type(status) is not int:
            status = _status(status)
        if not 200 <= status <= 999:
            raise BadResponse(f"status {status}: expected 200..999")
        headers = encode_headers(event.get("headers") or ())
        length = headers.get(b"content-length")
        self.length = None if length is None else int(length)
        self.status, self.headers = status, headers
        self.has_trailers = bool(event.get("trailers"))
        self.sent = 0
        self.phase = FIRST

    async def _send_other(self, kind: str, event: Event) -> None:
        phase = self.phase
        if kind == "http.response.pathsend" and phase == FIRST:
            self._send_file(event)
        elif kind == "http.response.trailers" and phase == TRAILERS:
            self.trailers.update(trailers(event))
            if not event.get("more_trailers"):
                self._complete()
        elif kind == "http.response.early_hint" and phase in (START, FIRST):
            self.connection.send(early_hints(self.ident, event))
        elif kind == "http.response.push" and phase in (START, FIRST, MORE):
            self.connection.send(push_message(self.ident, event))
        elif kind == "http.response.early_hint" and phase == MORE:
            return  # too late for the client; ASGI lets the server ignore it
        elif phase == DONE:
            raise out_of_order(event, "nothing after the response is complete")
        else:
            raise out_of_order(event, _EXPECTED[phase])

    def _try_whole(self, body: bytes) -> bool:
        """Sends the response if it can leave as one message; its body is known to be whole."""
        if self._has_no_body():
            self._end_without_body(len(body))
            return True
        if self.length is None:
            if not self.has_trailers and len(body) > self.connection.session.response_window:
                self.headers[b"content-length"] = b"%d" % len(body)
                self.length = len(body)
        elif self.length > len(body):
            raise self._mismatch(len(body))
        elif self.length < len(body):
            return False
        if self.has_trailers or len(body) > self.connection.session.response_window:
            return False
        self.phase = DONE
        self.connection.send_response((RESPONSE, self.ident, self.status, self.headers, body))
        if self.waiters:
            self.changed()
        return True

    async def _send_part(self, body: bytes, more: bool) -> None:
        if self._has_no_body():
            if not more:
                self._end_without_body(None)
            return
        room = len(body) if self.length is None else self.length - self.sent
        if body or more:
            self._send_head()
        await self._send_data(body[:room])
        if len(body) > room:
            raise self._mismatch(f"at least {self.sent + len(body) - room}")
        if not more:
            if self.length is not None and self.sent < self.length:
                raise self._mismatch(self.sent)
            self._send_head()
            self._finish_body()

    def _send_head(self) -> None:
        if self.phase == FIRST:
            self.phase = MORE
            self.connection.send((HEAD, self.ident, self.status, self.headers))

    async def _send_data(self, data: bytes) -> None:
        if not data:
            return
        flow = self.window()
        start, end = 0, len(data)
        while start < end:
            credit = flow.credit()
            if credit <= 0:
                await self.change()
                if self.gone:
                    raise self.left()
                continue
            count = min(credit, MAX_DATA)
            piece = data if count >= end and not start else data[start : start + count]
            self.connection.send((DATA, self.ident, piece), len(piece))
            self.sent += len(piece)
            start += len(piece)

    def _send_file(self, event: Event) -> None:
        if not self.files:
            raise RuntimeError(
                "http.response.pathsend is no extension of this scope: send http.response.body"
            )
        message = file_message(self.ident, event, self.length)
        if self._has_no_body():
            return self._end_without_body(None if message is None else message[4])
        count = 0 if message is None else message[4]
        if self.length is None:
            self.headers[b"content-length"] = b"%d" % count
        elif count < self.length:
            raise self._mismatch(count)
        self._send_head()
        if message is not None:
            self.connection.send(message)
        self.sent += count
        return self._finish_body()

    def _finish_body(self) -> None:
        self.trailers = {}
        if self.has_trailers:
            self.phase = TRAILERS
        else:
            self._complete()

    def _has_no_body(self) -> bool:
        return self.is_head or self.status in (204, 304)

    def _end_without_body(self, count: int | None) -> None:
        if self.status == 204:
            self.headers.pop(b"content-length", None)  # RFC 9110, 8.6
        elif self.is_head and self.length is None and count and self.status != 304:
            self.headers[b"content-length"] = b"%d" % count
        self.phase = DONE
        self.connection.send_response((RESPONSE, self.ident, self.status, self.headers, b""))
        self.changed()

    def _complete(self) -> None:
        self.phase = DONE
        self.connection.send((END, self.ident, self.trailers))
        self.changed()

    # How it ends.

    def returned(self) -> None:
        super().returned()
        self.body = None  # it knows the cycle

    def finish(self) -> None:
        if self.gone:
            self.abort(b"cancelled", "")
            return
        text = {
            START: "the application returned without an answer",
            FIRST: "the application returned without a body for its answer",
        }.get(self.phase, "the application returned before its answer was complete")
        self.log(NoResponse(text), text)
        self.abort(b"no_response", text)

    def raised(self, exc: BaseException) -> None:
        super().raised(exc)
        self.phase = DONE
        self.body = None

    def _mismatch(self, count: object) -> LengthMismatch:
        return LengthMismatch(f"Content-Length is {self.length}, the body has {count} bytes")


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise BadResponse(f"body is of type {type(value).__name__}, expected bytes: {value!r:.80}")


def _status(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # http.HTTPStatus
    raise BadResponse(f"status {value!r}: expected an int 200..999")
