# SPDX-License-Identifier: Apache-2.0
"""Plays the node over real pipes against a real worker process.

Runs in the test's thread: every read has a deadline, nothing sleeps. `Node` speaks messages; what
an exchange answered is gathered by `Node.answer`, which also grants credit as a node does.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from hornbeam_erlang import codec
from hornbeam_erlang._wire import (
    ABORT,
    BEAT,
    BODY,
    BODY_CREDIT,
    BOOT,
    CALL,
    CANCEL,
    CREDIT,
    DATA,
    DRAIN,
    END,
    ERROR,
    FAILED,
    FILE,
    FROM_WORKER,
    HEAD,
    HELLO,
    NAMES,
    OPEN,
    READY,
    RESPONSE,
    RETURN,
    WEBSOCKET,
    Message,
    Splitter,
    parse,
)

SECONDS = 30.0
TESTS = Path(__file__).parents[2]
SOURCES = TESTS.parent / "python"
CONNECTION = codec.encode_wire((b"http", b"10.0.0.9", 5555, b"10.0.0.1", 8000))
WINDOW = 65536


class WorkerGone(Exception):
    """The worker closed its end of the connection."""


@dataclass
class Answer:
    """What an exchange answered, however it was cut into messages."""

    kind: str = ""  # "response", "stream", "abort" or "return"
    status: int = 0
    headers: dict[bytes, Any] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    files: list[tuple[bytes, int, int]] = field(default_factory=list)
    abort: tuple[bytes, bytes] | None = None

    def close(self, message: Message) -> Answer:
        code, rest = message[0], message[2:]
        if code == RESPONSE:
            self.kind = "response"
            self.status, self.headers, self.body = rest
        elif code == ABORT:
            self.kind = "abort"
            self.abort = (rest[0], rest[1])
        else:
            self.kind = "return" if code == RETURN else "stream"
        return self


class Node:
    """One worker and the node's end of its connection.

    Args:
        app: specification of the application to load.
        boot: changes to BOOT's configuration; a value of None takes a key away.
    """

    def __init__(
        self, app: str, boot: dict[bytes, Any] | None = None, handshake: bool = True
    ) -> None:
        self.beats = 0
        self._messages: deque[Message] = deque()
        self._splitter = Splitter()
        self._last_id = 0
        self._last_call = 0
        self._directory = tempfile.TemporaryDirectory()
        self.root = Path(self._directory.name)
        self._ledger_file = self._make_ledger()
        self.stderr_path = self.root / "stderr"
        self._spawn()
        self.ready: Message | None = None
        if handshake:
            self.boot(app, boot or {})

    # Life.

    def _make_ledger(self) -> mmap.mmap:
        path = self.root / "ledger"
        path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 16)

    def _spawn(self) -> None:
        to_read, to_write = _pipe()
        from_read, from_write = _pipe()
        errors = os.open(self.stderr_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        actions: list[tuple[int, int, int]] = [
            # First: it may sit on 3 or 4 itself.
            (os.POSIX_SPAWN_DUP2, errors, 2),
            (os.POSIX_SPAWN_DUP2, to_read, 3),
            (os.POSIX_SPAWN_DUP2, from_write, 4),
        ]
        env = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONWARNINGS": "error"}
        argv = [sys.executable, "-m", "hornbeam_erlang.worker"]
        self.pid = os.posix_spawn(sys.executable, argv, env, file_actions=actions)
        for fd in (to_read, from_write, errors):
            os.close(fd)
        self.write_fd, self.read_fd = to_write, from_read
        self.status: int | None = None

    def boot(self, app: str, changes: dict[bytes, Any]) -> None:
        self.load(app, changes)
        self.ready = self.receive()
        assert self.ready[0] in (READY, FAILED, ERROR), self.ready

    def load(self, app: str, changes: dict[bytes, Any]) -> None:
        """The greeting; what the worker says while it loads `app` is to be received."""
        self.send((HELLO, 1, 1, {b"version": b"test"}))
        hello = self.receive()
        assert hello[0] == HELLO
        self.hello = hello
        config: dict[bytes, Any] = {
            b"app": app.encode(),
            b"interface": b"wsgi",
            b"pythonpath": [str(TESTS).encode()],
            b"threads": 1,
            b"script_name": b"",
            b"response_window": WINDOW,
            b"request_window": WINDOW,
            b"heartbeat": 60000,
            b"ledger": str(self.root / "ledger").encode(),
            b"multiprocess": False,
            **changes,
        }
        self.send((BOOT, {k: v for k, v in config.items() if v is not None}))

    def wait_end(self, seconds: float = SECONDS) -> int:
        """The exit status, negative for a signal, once the worker has ended within `seconds`."""
        if self.status is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                readable, _, _ = select.select([descriptor], [], [], seconds)
            finally:
                os.close(descriptor)
            assert readable, "the worker did not end in time"
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def close_write(self) -> None:
        """What the node's death looks like to the worker."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait_end()
        self.close_write()
        os.close(self.read_fd)
        self._ledger_file.close()
        self._directory.cleanup()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc is not None:
            print("the worker's stderr:\n" + self.stderr(), file=sys.stderr)
        self.close()

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    # The ledger.

    @property
    def started(self) -> int:
        return int.from_bytes(self._ledger_file[:8], "little")

    def set_limit(self, ident: int) -> None:
        self._ledger_file[8:] = ident.to_bytes(8, "little")

    # Messages.

    def send(self, *messages: Message) -> None:
        self.send_raw(codec.encode_wire_packet(list(messages)))

    def send_raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.write_fd, view) :]

    def receive(self, seconds: float = SECONDS, beats: bool = False) -> Message:
        """The next message of the worker; BEATs are counted and left out unless asked for."""
        deadline = monotonic() + seconds
        while True:
            while self._messages:
                message = self._messages.popleft()
                if message[0] != BEAT or beats:
                    return message
                self.beats += 1
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        readable, _, _ = select.select([self.read_fd], [], [], max(0.0, deadline - monotonic()))
        if not readable:
            raise TimeoutError("no message of the worker in time")
        data = os.read(self.read_fd, 1048576)
        if not data:
            raise WorkerGone(f"status {self.wait_end()}\n{self.stderr()}")
        for packet in self._splitter.feed(data):
            self._messages += parse(packet, FROM_WORKER)

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing arrives for `seconds`; to see that something does not happen."""
        try:
            message = self.receive(seconds)
        except TimeoutError:
            return True
        self._messages.appendleft(message)
        return False

    def expect(self, code: int, seconds: float = SECONDS) -> Message:
        message = self.receive(seconds)
        assert message[0] == code, f"expected {NAMES[code]}, got {message!r:.300}"
        return message

    # Requests.

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def next_call(self) -> int:
        """The id for the next call of the node."""
        self._last_call += 1
        return self._last_call

    def open_message(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | tuple[bytes, int | None] = b"",
        timeout: int = 0,
        version: str = "1.1",
        connection: bytes = CONNECTION,
    ) -> Message:
        wire = {k.encode("latin-1"): v.encode("latin-1") for k, v in (headers or {}).items()}
        wire.setdefault(b"host", b"example.org")
        return (
            OPEN,
            self.next_id(),
            timeout,
            method.encode(),
            path.encode("latin-1"),
            query.encode("latin-1"),
            version.encode(),
            wire,
            connection,
            body,
        )

    def websocket(
        self, path: str = "/", subprotocols: Iterable[str] = (), timeout: int = 0, query: str = ""
    ) -> int:
        """Offers a WebSocket; its id."""
        ident = self.next_id()
        names = [name.encode() for name in subprotocols]
        headers = {b"host": b"example.org"}
        request = (path.encode(), query.encode(), b"1.1", headers, CONNECTION, names)
        self.send((WEBSOCKET, ident, timeout, *request))
        return ident

    def open(self, path: str = "/", **fields: Any) -> int:
        message = self.open_message(path, **fields)
        self.send(message)
        return int(message[1])

    def open_started(self, path: str = "/", **fields: Any) -> int:
        """Opens an exchange, and waits until a thread has started it; again when a worker on a busy
        machine returns it."""
        deadline = monotonic() + SECONDS
        ident = self.open(path, **fields)
        while self.started < ident:
            assert monotonic() < deadline, "nothing is started"
            with contextlib.suppress(TimeoutError):
                self._read(monotonic() + 0.01)
            if (RETURN, [ident]) in self._messages:
                self._messages.remove((RETURN, [ident]))
                ident = self.open(path, **fields)
        return ident

    def request(self, path: str = "/", **fields: Any) -> Answer:
        """Opens an exchange and takes its answer; again when a worker on a busy machine returns
        it."""
        for _ in range(100):
            answer = self.answer(self.open(path, **fields))
            if answer.kind != "return":
                return answer
        raise AssertionError("the worker returns everything")

    def answer(self, ident: int, seconds: float = SECONDS) -> Answer:
        """Everything the worker answers to exchange `ident`, with credit for all it sends."""
        answer = Answer()
        for message in self._until_closed(ident, seconds):
            code = message[0]
            if code == HEAD:
                answer.status, answer.headers = message[2], message[3]
            elif code == DATA:
                answer.chunks.append(message[2])
                answer.body += message[2]
                self.send((CREDIT, ident, len(message[2])))
            elif code == FILE:
                answer.files.append(message[2:])
            elif code in (RESPONSE, END, ABORT, RETURN):
                answer.close(message)
        # What is left of it would be taken for something of the next exchange.
        left = [m for m in self._messages if m[0] >= CALL or len(m) < 2 or m[1] != ident]
        self._messages = deque(left)
        return answer

    def _until_closed(self, ident: int, seconds: float) -> Iterator[Message]:
        others: list[Message] = []
        try:
            while True:
                message = self.receive(seconds)
                ids = message[1] if message[0] == RETURN else [message[1]]
                if ident not in ids or message[0] in (BODY_CREDIT, CALL):
                    others.append(message)
                    continue
                yield message
                if message[0] in (RESPONSE, END, ABORT, RETURN):
                    return
        finally:
            self._messages.extendleft(reversed(others))

    def cancel(self, ident: int, reason: bytes = b"client_gone") -> None:
        self.send((CANCEL, ident, reason))

    def body(self, ident: int, data: bytes, fin: bool = False) -> None:
        """Sends a part of a request body whether or not there is credit for it."""
        self.send((BODY, ident, fin, data))

    def upload(self, ident: int, chunks: Iterable[bytes], credit: int = 0) -> None:
        """Sends a request body as the worker grants it, in `chunks`; the last one ends it."""
        before: bytes | None = None
        for chunk in chunks:
            if before is not None:
                credit = self._send_under_credit(ident, before, credit)
            before = chunk
        credit = self._send_under_credit(ident, before or b"", credit)
        self.body(ident, b"", fin=True)

    def _send_under_credit(self, ident: int, chunk: bytes, credit: int) -> int:
        while credit < len(chunk):
            message = self.expect(BODY_CREDIT)
            assert message[1] == ident
            credit += message[2]
            assert credit <= WINDOW, "more is granted than was read"
        self.body(ident, chunk)
        return credit - len(chunk)

    def drain(self) -> None:
        self.send((DRAIN,))


def _pipe() -> tuple[int, int]:
    """A pipe on descriptors far from those the worker gets, so that dup2 never hits one of them."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in low)
    for fd in low:
        os.close(fd)
    return high[0], high[1]
