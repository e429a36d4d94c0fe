# SPDX-License-Identifier: Apache-2.0
"""Attaches this program to a hornbeam node over the Erlang distribution (PROTOCOL.md, section 2.2).

Runs in the thread that asks. Connects as a hidden node that listens nowhere, and asks to be taken
as a worker, a provider of hooks, or a client. Every step has a deadline.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NoReturn, TypeVar

from . import _distribution_epmd as epmd
from . import codec
from ._distribution_connection import Connection, Event, identity
from ._distribution_errors import DistributionError
from ._distribution_events import Send
from ._distribution_flags import OFFERED, Flag
from ._distribution_handshake import Connected
from ._hidden_identifiers import Identifiers
from ._session_transport import Session, SessionTransport
from ._wire import VERSION_MAX, VERSION_MIN
from .errors import NodeDown, TermError
from .terms import Atom, Pid, Ref

SERVICE = "hornbeam_attach"
# Packets are large and few: whole messages, without headers that would have to be read first.
FLAGS = OFFERED & ~(Flag.DIST_HDR_ATOM_CACHE | Flag.FRAGMENTS)
READ_BYTES = 65536
T = TypeVar("T", bound=SessionTransport)


class AttachRefused(Exception):
    """The node does not take this program.

    Attributes:
        name: `version`, `no_such_app`, `not_enabled`, `labels`, `limit` or `bad_options`.
        text: why, and what to do.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


@dataclass(frozen=True, slots=True)
class Wish:
    """What to be attached as.

    Attributes:
        node: the name of the node, with its host.
        cookie: the secret of its cluster.
        kind: `worker`, `hooks` or `client`.
        name: of this program in the cluster, without a host. Whoever comes again under the same
            name takes the place of the connection that it had.
        app: of a worker its application, of a provider of hooks its module.
        port: where the node listens; None: its EPMD is asked.
        labels: names to values.
        threads: of a provider: how many handlers run at once.
        seconds: for connecting, and for an answer.
    """

    node: str
    cookie: str = field(repr=False)
    kind: str
    name: str
    app: str = ""
    port: int | None = None
    labels: Mapping[str, str | int] = field(default_factory=dict)
    threads: int | None = None
    seconds: float = 10.0

    def options(self) -> dict[str, Any]:
        """The map of `attach`."""
        options: dict[str, Any] = {"versions": [VERSION_MIN, VERSION_MAX], "kind": self.kind}
        if self.app:
            options["app"] = self.app
        if self.labels:
            options["labels"] = dict(self.labels)
        if self.threads is not None:
            options["threads"] = self.threads
        return options


def attach(wish: Wish, transport: type[T] = SessionTransport) -> T:  # type: ignore[assignment]
    """Connects to the node and waits until it has taken this program.

    Args: transport: what the connection is to be.

    Raises:
        AttachRefused: it does not want to.
        NodeDown: it cannot be reached, or does not answer in time.
        DistributionError: it speaks another protocol, or has another cookie.
    """
    deadline = monotonic() + wish.seconds
    sock = _connect(wish, deadline)
    try:
        connection = _handshake(wish, sock, deadline)
        session = _ask(wish, sock, connection, deadline)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(None)
    return transport(sock, connection, session)


def _connect(wish: Wish, deadline: float) -> socket.socket:
    host = wish.node.partition("@")[2]
    port = _look_up(wish, host, deadline) if wish.port is None else wish.port
    try:
        return socket.create_connection((host, port), timeout=_left(wish, deadline))
    except (OSError, UnicodeError) as exc:
        _unreachable(wish, f"{host}:{port} cannot be reached", exc)


def _unreachable(wish: Wish, what: str, exc: OSError | UnicodeError) -> NoReturn:
    # UnicodeError: no host can be called so.
    raise NodeDown(wish.node, f"{what}: {getattr(exc, 'strerror', None) or exc}") from exc


def _left(wish: Wish, deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise NodeDown(wish.node, f"no answer within {wish.seconds:g} s")
    return left


def _look_up(wish: Wish, host: str, deadline: float) -> int:
    address = (host, int(os.environ.get("ERL_EPMD_PORT", epmd.EPMD_PORT)))
    data, ended = b"", False
    try:
        with socket.create_connection(address, timeout=_left(wish, deadline)) as sock:
            sock.sendall(epmd.port_please(wish.node.partition("@")[0]))
            while (found := epmd.parse_port(data, ended=ended)) is None:
                sock.settimeout(_left(wish, deadline))
                piece = sock.recv(epmd.MAX_REPLY)
                data, ended = data + piece, not piece
        return found.port
    except DistributionError as exc:
        raise NodeDown(wish.node, exc.reason) from exc
    except (OSError, UnicodeError) as exc:
        _unreachable(wish, f"EPMD of {host} cannot be reached", exc)


def _handshake(wish: Wish, sock: socket.socket, deadline: float) -> Connection:
    host = sock.getsockname()[0]
    name = f"{wish.name}@{host}"
    # From 4 on: 1 to 3 are those of nodes before OTP 23.
    local = identity(name, secrets.randbelow(2**32 - 4) + 4, FLAGS)
    connection = Connection.connect(local, wish.cookie, wish.node)
    while True:
        _send(wish, sock, connection.data_to_send())
        events = _receive(wish, sock, connection, deadline)
        if any(type(event) is Connected for event in events):
            return connection


def _send(wish: Wish, sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError as exc:
        _unreachable(wish, "the connection broke", exc)


def _receive(
    wish: Wish, sock: socket.socket, connection: Connection, deadline: float
) -> list[Event]:
    sock.settimeout(_left(wish, deadline))
    try:
        data = sock.recv(READ_BYTES)
    except OSError as exc:
        _unreachable(wish, "the connection broke", exc)
    if not data:
        connection.eof()
        raise NodeDown(wish.node, "it has closed the connection")
    return connection.receive(data)


def _ask(wish: Wish, sock: socket.socket, connection: Connection, deadline: float) -> Session:
    identifiers = Identifiers(connection.local.name, connection.local.creation)
    pid, ref = identifiers.pid(), identifiers.ref()
    request = (Atom("attach"), (pid, ref), wish.options())
    _send(wish, sock, connection.register_send(pid, SERVICE, request))
    while True:
        events = _receive(wish, sock, connection, deadline)
        for number, event in enumerate(events):
            answer = _answer(event, ref)
            if answer is not None:
                owner, ticktime = _taken(answer)
                return Session(pid, owner, ticktime, events[number + 1 :])


def _answer(event: Event, ref: Ref) -> tuple[Any, ...] | None:
    """The answer to the request; None: this is something else."""
    if type(event) is not Send:
        return None
    with contextlib.suppress(TermError, TypeError, ValueError):
        message: Any = codec.decode(event.payload)
        marked, answer = message
        if marked == ref and isinstance(answer, tuple) and len(answer) == 3:
            return answer
    return None


def _taken(answer: tuple[Any, ...]) -> tuple[Pid, float]:
    what, first, second = answer
    if what == "attached" and isinstance(first, Pid) and isinstance(second, dict):
        return first, float(second["ticktime"]) / 1000
    if what == "refused":
        raise AttachRefused(str(first), str(second))
    raise DistributionError("attached", "", "the node answers in another way: is it older?")
