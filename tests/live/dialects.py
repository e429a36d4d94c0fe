# SPDX-License-Identifier: Apache-2.0
"""Programs of other languages as the wire sees them: terms in the encodings that jinterface and
Pyrlang write, and a node that sends them over a connection of its own.

Runs in: the tests.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from hornbeam_erlang import codec
from hornbeam_erlang._distribution_connection import TICK, Connection, identity
from hornbeam_erlang._distribution_epmd import EPMD_PORT, parse_port, port_please
from hornbeam_erlang._distribution_events import Send
from hornbeam_erlang._distribution_handshake import Connected
from hornbeam_erlang._distribution_signals import Encoded
from hornbeam_erlang.terms import Atom, Pid, Ref

SECONDS = 30.0
Dialect: TypeAlias = Callable[[Any], bytes]


def _common(term: Any, dialect: Dialect, atom: Callable[[str], bytes]) -> bytes:
    if isinstance(term, Atom):
        return atom(term)
    if isinstance(term, bytes):
        return b"m" + struct.pack(">I", len(term)) + term
    if isinstance(term, float):
        return b"F" + struct.pack(">d", term)
    if isinstance(term, tuple):
        return b"h" + bytes([len(term)]) + b"".join(map(dialect, term))
    if isinstance(term, list):
        items = b"".join(map(dialect, term))
        return b"l" + struct.pack(">I", len(term)) + items + b"j" if term else b"j"
    if isinstance(term, Pid):
        return b"X" + atom(term.node) + struct.pack(">III", term.id, term.serial, term.creation)
    if isinstance(term, Ref):
        head = b"Z" + struct.pack(">H", len(term.words)) + atom(term.node)
        return head + struct.pack(f">{1 + len(term.words)}I", term.creation, *term.words)
    raise TypeError(term)


def _integer(value: int, smallest: int, largest: int) -> bytes:
    if 0 <= value < 256:
        return bytes([97, value])
    if smallest <= value <= largest:
        return b"b" + struct.pack(">i", value)
    digits = abs(value).to_bytes(max(4, (abs(value).bit_length() + 7) // 8), "little")
    return b"n" + bytes([len(digits), value < 0]) + digits


def _old_atom(text: str) -> bytes:
    raw = text.encode("latin-1")
    return b"d" + struct.pack(">H", len(raw)) + raw


def _new_atom(text: str) -> bytes:
    raw = text.encode()
    return b"w" + bytes([len(raw)]) + raw


def _characters(text: str, integer: Dialect) -> bytes:
    items = b"".join(integer(ord(character)) for character in text)
    return b"l" + struct.pack(">I", len(text)) + items + b"j"


def jinterface(term: Any) -> bytes:
    """What OtpOutputStream writes: old atoms in latin-1, integers of 28 bits, an OtpErlangString
    (a str here) as STRING_EXT where it is latin-1, else as a list."""
    if isinstance(term, bool):
        return _old_atom(str(term).lower())
    if isinstance(term, int):
        return _integer(term, -(1 << 27), (1 << 27) - 1)
    if isinstance(term, str) and not isinstance(term, Atom):
        if not term:
            return b"j"
        if max(term) > "\xff":
            return _characters(term, jinterface)
        return b"k" + struct.pack(">H", len(term)) + term.encode("latin-1")
    return _common(term, jinterface, _old_atom)


def pyrlang(term: Any) -> bytes:
    """What Pyrlang's Term writes: small UTF-8 atoms, integers of 32 bits, None as an atom, a str as
    STRING_EXT where it is ASCII, else as a list, a dict as a map."""
    if term is None or isinstance(term, bool):
        return _new_atom("undefined" if term is None else str(term).lower())
    if isinstance(term, int):
        return _integer(term, -(1 << 31), (1 << 31) - 1)
    if isinstance(term, str) and not isinstance(term, Atom):
        if not term.isascii():
            return _characters(term, pyrlang)
        return b"k" + struct.pack(">H", len(term)) + term.encode()
    if isinstance(term, dict):
        items = b"".join(pyrlang(part) for pair in term.items() for part in pair)
        return b"t" + struct.pack(">I", len(term)) + items
    return _common(term, pyrlang, _new_atom)


class Program:
    """A hidden node with one process, connected to another node.

    Attributes:
        pid: the process.
    """

    def __init__(self, name: str, peer: str, cookie: str, dialect: Dialect) -> None:
        creation = secrets.randbelow(1 << 20) + 4
        self.pid = Pid(Atom(name), 1, 0, creation)
        self._dialect = dialect
        self._socket = socket.create_connection(("127.0.0.1", _port(peer)), SECONDS)
        self._connection = Connection.connect(identity(name, creation), cookie, peer)
        self._waiting: list[Any] = []
        self._tag = 0
        while not any(isinstance(event, Connected) for event in self._events()):
            pass

    def close(self) -> None:
        self._socket.close()

    def send(self, service: str, message: Any) -> None:
        """A message to a registered name, in the dialect."""
        payload = Encoded(b"\x83" + self._dialect(message))
        self._socket.sendall(self._connection.register_send(self.pid, service, payload))

    def receive(self) -> Any:
        """The next message to the process."""
        while not self._waiting:
            for event in self._events():
                if event is TICK:
                    self._socket.sendall(self._connection.tick())
                elif isinstance(event, Send):
                    assert event.to == self.pid
                    self._waiting.append(codec.decode(event.payload))
        return self._waiting.pop(0)

    def call(self, service: str, request: Any) -> Any:
        """The answer to a request in the simple form."""
        self._tag += 1
        self.send(service, (Atom("hornbeam_call"), self.pid, self._tag, request))
        kind, tag, answer = self.receive()
        assert (kind, tag) == ("hornbeam_reply", self._tag)
        return answer

    def gen_call(self, service: str, request: Any) -> Any:
        """The answer to a request as gen_server has it."""
        self._tag += 1
        ref = Ref(self.pid.node, self.pid.creation, (self._tag, 0, 0))
        self.send(service, (Atom("$gen_call"), (self.pid, ref), request))
        got, answer = self.receive()
        assert got == ref
        return answer

    def _events(self) -> list[Any]:
        self._socket.sendall(self._connection.data_to_send())
        data = self._socket.recv(65536)
        assert data, "the node has closed the connection"
        events: list[Any] = self._connection.receive(data)
        self._socket.sendall(self._connection.data_to_send())
        return events


@contextmanager
def program(name: str, peer: str, cookie: str, dialect: Dialect) -> Iterator[Program]:
    """A program of the language while the block runs."""
    running = Program(name, peer, cookie, dialect)
    try:
        yield running
    finally:
        running.close()


def _port(node: str) -> int:
    """Where EPMD says that the node listens."""
    with socket.create_connection(("127.0.0.1", EPMD_PORT), SECONDS) as epmd:
        epmd.sendall(port_please(node.partition("@")[0]))
        data = b""
        while True:
            more = epmd.recv(4096)
            data += more
            found = parse_port(data, ended=not more)
            if found is not None:
                return found.port
