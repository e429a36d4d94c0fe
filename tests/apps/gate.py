# SPDX-License-Identifier: Apache-2.0
"""A gate between a test and the application it tests: the application says how far it is, and waits
until the test lets it go on. So tests wait for conditions, not for time.

`Gate` is the test's end and runs in pytest; `Side` is the application's and runs in the thread that
serves the request; `LoopSide` is an asynchronous application's and runs in its loop. Between them:
lines over a Unix socket whose path is the request header X-Gate.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 30.0


class _End:
    """One end of the connection. Every wait is bounded by SECONDS."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")

    def tell(self, word: str) -> None:
        self._connection.sendall(word.encode() + b"\n")

    def hear(self) -> str:
        """The next word of the other end; empty when it has gone away."""
        return self._lines.readline().rstrip("\n")

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


class Side(_End):
    """The application's end, connected to the test that made the request."""

    def __init__(self, environ: dict[str, Any]) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        connection.connect(environ["HTTP_X_GATE"])
        super().__init__(connection)

    def wait(self, word: str) -> None:
        """Says that `word` is reached and waits until the test lets it pass."""
        self.tell(word)
        if self.hear() != "pass":
            raise RuntimeError(f"the test left before it opened {word}")


class LoopSide:
    """An asynchronous application's end; made by `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, scope: Mapping[str, Any]) -> LoopSide:
        """Connected to the test that made the request or the WebSocket."""
        (path,) = (value for name, value in scope["headers"] if name == b"x-gate")
        return cls(*await asyncio.open_unix_connection(path.decode()))

    def tell(self, word: str) -> None:
        self._writer.write(word.encode() + b"\n")

    async def hear(self) -> str:
        """The next word of the test; empty when it has gone away."""
        line = await asyncio.wait_for(self._reader.readline(), SECONDS)
        return line.decode().rstrip("\n")

    async def wait(self, word: str) -> None:
        """Says that `word` is reached and waits until the test lets it pass."""
        self.tell(word)
        if await self.hear() != "pass":
            raise RuntimeError(f"the test left before it opened {word}")


class Gate:
    """The test's end: at most one request comes through it.

    Args: path: of the socket to make.
    """

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(SECONDS)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._end: _End | None = None
        self.headers = {"X-Gate": str(path)}

    def _connected(self) -> _End:
        if self._end is None:
            self._end = _End(self._listener.accept()[0])
        return self._end

    def hear(self) -> str:
        """The application's next word."""
        return self._connected().hear()

    def expect(self, word: str) -> None:
        """Waits until the application says `word`; fails when it says anything else."""
        heard = self.hear()
        assert heard == word, f"the application is at {heard!r}, not at {word!r}"

    def tell(self, word: str) -> None:
        self._connected().tell(word)

    def open(self) -> None:
        """Lets the application pass where it waits."""
        self.tell("pass")

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._end is not None:
            self._end.close()
        self._listener.close()
