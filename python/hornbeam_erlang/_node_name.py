# SPDX-License-Identifier: Apache-2.0
"""How a node that a program starts takes part in the Erlang distribution: not at all, unless it is
given a name.

Runs in the process that starts the node.
"""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import _command_cluster, _cookie

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the emulator is told of it.

    Attributes:
        name: `name@host`; None: no other node can connect.
        cookie: what other nodes must know; None without a name.
        interface: address that it listens on; None: that in the name, else every one.
    """

    name: str | None = None
    cookie: str | None = None
    interface: str | None = None

    def _arguments(self) -> Namespace:
        absent = dict.fromkeys(
            ("sname", "cookie_file", "dist_port", "dist_ports", "dist_tls", "net_ticktime")
        )
        return Namespace(name=self.name, dist_interface=self.interface, **absent)

    def flags(self) -> list[str]:
        """Flags of the emulator."""
        return _command_cluster.distribution_flags(self._arguments())

    @contextmanager
    def variables(self) -> Iterator[dict[str, str | None]]:
        """Variables of its environment, None for one to unset; until it has read its cookie.

        The cookie is in a file of mode 0600, which is removed afterwards: on the command line every
        user could read it.
        """
        always: dict[str, str | None] = {_cookie.VARIABLE: None}
        if self.cookie is None:
            yield always
            return
        with _command_cluster.home_with(self.cookie) as home:
            yield {**always, **_command_cluster.epmd_variables(self._arguments()), **home}


def distribution(name: str | None, cookie: str | None, interface: str | None) -> Distribution:
    """The arguments of `start`, checked.

    Args:
        name: `name`, on loopback, or `name@host` with an address or a full host name.
        cookie: None: that of the variable HORNBEAM_COOKIE, else a random one.
        interface: address to listen on.

    Raises: ValueError: one of them cannot be, or has no effect without a name.
    """
    if name is None:
        if cookie is not None or interface is not None:
            raise ValueError("start: cookie and interface have no effect without a name")
        return Distribution()
    if cookie is None:
        cookie = os.environ.get(_cookie.VARIABLE) or secrets.token_hex(_cookie.RANDOM_BYTES)
    try:
        full = _command_cluster.long_name(name if "@" in name else f"{name}@{LOOPBACK}")
        address = None if interface is None else _command_cluster.address(interface)
        return Distribution(full, _cookie.check(cookie, "cookie"), address)
    except (ArgumentTypeError, _cookie.CookieError) as exc:
        raise ValueError(f"start: {exc}") from None
