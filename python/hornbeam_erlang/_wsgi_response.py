# SPDX-License-Identifier: Apache-2.0
"""One WSGI response on its way: `start_response`, `write`, and what the returned iterable yields
(PEP 3333).

Runs in the thread that serves the request. A response that is small and whole leaves as one
RESPONSE; any other as HEAD, DATA under credit, and END. Each chunk is on its way before the
application is asked for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeAlias

from ._hub import Hub
from ._wire import DATA, END, FILE, HEAD, RESPONSE
from ._wsgi_file import FileWrapper, Region
from ._wsgi_headers import BadResponse, Headers, encode_headers, status_code
from ._wsgi_input import WAIT_GRACE_SECONDS

MAX_DATA = 262144  # bytes in one DATA: a large chunk must not hold up other answers

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


class NoResponse(RuntimeError):
    """The application returned or yielded without having called `start_response`."""


class LengthMismatch(RuntimeError):
    """The body is longer or shorter than the Content-Length the application gave."""


class ExchangeCancelled(ConnectionAbortedError):
    """Nobody waits for this response any more; the application is asked for nothing further."""


class Response:
    """The response to one exchange.

    Attributes:
        code, headers, length: of `start_response`; 0 before it; `length` is Content-Length.
        sent: body bytes sent or held.
        timeout: milliseconds that the exchange may be without progress, 0 for any number.
    """

    headers: Headers

    def __init__(self, hub: Hub, ident: int, is_head: bool) -> None:
        self.hub = hub
        self.ident = ident
        self.is_head = is_head
        self.code = 0
        self.length: int | None = None
        self.sent = 0
        self.head_sent = False
        self.is_held = False
        self.timeout = 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's `start_response`; returns `write`.

        Raises: BadResponse: a status or header that must not be sent. RuntimeError: a second call
            without `exc_info`. The exception in `exc_info`, when the head has been sent.
        """
        if exc_info is not None:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # breaks the cycle with this frame
        elif self.code:
            raise RuntimeError("start_response was called before; a second call needs exc_info")
        code = status_code(status)
        encoded = encode_headers(headers)
        length = encoded.get(b"content-length")
        self.length = None if length is None else int(length)
        self.code, self.headers = code, encoded
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333's `write` callable: sends `data` before it returns."""
        self._push(data, may_hold=False)

    # The three forms of what an application returns.

    def answer(self, chunks: list[bytes] | tuple[bytes, ...]) -> None:
        """Sends a body that is whole already."""
        try:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TypeError:
            data = None  # some chunk is not bytes: `stream` says which
        hub = self.hub
        if (
            type(data) is bytes
            and self.code >= 200
            and not self.head_sent
            and (self.length is None or self.length == len(data))
            and not self.has_no_body()
            and len(data) <= hub.session.response_window
        ):
            message = (RESPONSE, self.ident, self.code, self.headers, data)
            hub.session.send_response(message)
            hub.outbox.put(message, len(data))
            return
        if type(data) is bytes and self.code:
            self._consider_length(len(data))
        self.stream(chunks)

    def _consider_length(self, count: int) -> None:
        """Makes use of knowing the length of the body before anything is sent."""
        if self.is_head and self.length is None and self.code not in (204, 304):
            if count:
                self.headers[b"content-length"] = b"%d" % count
        elif not self.head_sent and not self.has_no_body() and count < (self.length or 0):
            raise self._mismatch(str(count))

    def stream(self, iterable: Iterable[bytes]) -> None:
        """Sends what `iterable` yields, one chunk at a time."""
        for chunk in iterable:
            if self._push(chunk, may_hold=True):
                break
        self._finish()

    def send_file(self, region: Region) -> None:
        """Lets the node send `region`, up to Content-Length if there is one."""
        self._need_start()
        count = region.size if self.length is None else min(region.size, self.length - self.sent)
        if self.length is None and not self.head_sent:
            self.headers[b"content-length"] = b"%d" % count
        if count > 0 and not self.has_no_body() and self._fits(count):
            self._send_head()
            self.hub.send((FILE, self.ident, region.path, region.offset, count))
            self.sent += count
        self._finish()

    # Steps.

    def has_no_body(self) -> bool:
        """Whether RFC 9110 forbids this response a body."""
        return self.is_head or self.code in (204, 304)

    def _need_start(self) -> None:
        if not self.code:
            raise NoResponse("the application did not call start_response")

    def _fits(self, count: int) -> bool:
        # A body that is known to be too short before the head is a clear 500 rather than a broken
        # response.
        return self.head_sent or self.length is None or self.sent + count >= self.length

    def _push(self, chunk: bytes, may_hold: bool) -> bool:
        """Sends one chunk; True when no more are wanted."""
        if not isinstance(chunk, bytes):
            raise BadResponse(
                f"the body holds a {type(chunk).__name__}, expected bytes: {chunk!r:.80}"
            )
        self._check_cancelled()
        if not chunk:
            return False
        self._need_start()
        if self.has_no_body():
            return True
        room = len(chunk) if self.length is None else self.length - self.sent
        if may_hold and self._hold(chunk):
            return False
        self._release()
        self._send_head()
        self._send_data(chunk[:room])
        self.hub.flush()
        if len(chunk) > room:
            raise self._mismatch(f"at least {self.sent + len(chunk) - room}")
        return False

    def _hold(self, chunk: bytes) -> bool:
        """Holds back a first chunk that is as long as the whole body.

        Nearly always the application has nothing more to say, and it leaves as one RESPONSE; if it
        takes its time to say so, the attendant sends what is held.
        """
        if self.head_sent or len(chunk) != self.length:
            return False
        if len(chunk) > self.hub.session.response_window:
            return False
        head = (HEAD, self.ident, self.code, self.headers)
        self.head_sent = self.is_held = True
        self.sent = len(chunk)
        self.hub.outbox.held[self.ident] = (head, (DATA, self.ident, chunk))
        return True

    def _unhold(self) -> Any:
        """Takes back what is held: None when there is nothing, or when the attendant has sent
        it."""
        if not self.is_held:
            return None
        self.is_held = False
        held = self.hub.outbox.held.pop(self.ident, None)
        if held is None:
            # The attendant has it; it has sent it by the time it leaves the mutex.
            self.hub.mutex.acquire()
            self.hub.mutex.release()
        return held

    def _release(self) -> None:
        for message in self._unhold() or ():
            self.hub.send(message)

    def _send_head(self) -> None:
        if not self.head_sent:
            self.head_sent = True
            self.hub.send((HEAD, self.ident, self.code, self.headers))

    def _send_data(self, data: bytes) -> None:
        flow = self.hub.session.flow(self.ident)
        start, end = 0, len(data)
        while start < end:
            credit = flow.credit()
            if credit <= 0:
                self._wait_for_credit()
                continue
            piece = data[start : start + min(credit, MAX_DATA)]
            self.hub.send((DATA, self.ident, piece), len(piece))
            self.sent += len(piece)
            start += len(piece)

    def _wait_for_credit(self) -> None:
        flow = self.hub.session.flow(self.ident)
        seconds = self.timeout / 1000 + WAIT_GRACE_SECONDS if self.timeout else None
        if not self.hub.wait(flow, lambda: flow.credit() > 0 or flow.cancelled, seconds):
            raise TimeoutError("the client took nothing of the response within the timeout")
        self._check_cancelled()

    def _check_cancelled(self) -> None:
        flow = self.hub.session.flows.get(self.ident)
        if flow is not None and flow.cancelled:
            raise ExchangeCancelled(flow.cancelled.decode("ascii", "replace"))

    def _finish(self) -> None:
        self._need_start()
        if self.has_no_body():
            return self._finish_without_body()
        if self.length is not None and self.sent < self.length:
            raise self._mismatch(str(self.sent))
        held = self._unhold()
        if held is not None:
            self._send_whole(held[1][2])
        elif self.head_sent:
            self.hub.send((END, self.ident, {}))
        else:
            self._send_whole(b"")
        return None

    def _finish_without_body(self) -> None:
        if self.code == 204:
            self.headers.pop(b"content-length", None)  # RFC 9110, 8.6
        if self.head_sent:
            self.hub.send((END, self.ident, {}))
        else:
            self._send_whole(b"")

    def _send_whole(self, data: bytes) -> None:
        self.head_sent = True
        self.hub.send((RESPONSE, self.ident, self.code, self.headers, data), len(data))

    def _mismatch(self, got: str) -> LengthMismatch:
        return LengthMismatch(f"Content-Length is {self.length}, the body has {got} bytes")

    def discard(self) -> None:
        """Drops what is held: the response is about to be aborted."""
        self._unhold()


def file_region(iterable: object) -> Region | None:
    """The region to send when an application returned its `wsgi.file_wrapper` around a real
    file."""
    return iterable.region() if type(iterable) is FileWrapper else None
