# SPDX-License-Identifier: Apache-2.0
"""A Python node's dealings with EPMD: it registers there, and asks where others listen.

Runs in the node's event loop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from asyncio.trsock import TransportSocket
from typing import Final

from . import _distribution_epmd as epmd
from ._distribution_errors import DistributionError
from .errors import NodeDown, NotConnected

__all__ = ["Registered", "epmd_port", "look_up", "register"]

ANSWER: Final = 5.0
"""Seconds that EPMD has for an answer."""
START: Final = 5.0
"""Seconds that an EPMD has to come up when none runs."""
_HOW: Final = (
    "EPMD does not run on this host and cannot be started: start it with 'epmd -daemon' (it comes"
    " with Erlang), or do without it: listen=False, or epmd=False and a port"
)


def epmd_port() -> int:
    """Where EPMD listens. Raises ValueError: ERL_EPMD_PORT is no port."""
    return int(os.environ.get("ERL_EPMD_PORT", epmd.EPMD_PORT))


class Registered:
    """A name in EPMD, for as long as this is not closed.

    Attributes:
        creation: u32, which incarnation of the name it is.
    """

    def __init__(
        self, creation: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.creation = creation
        self._reader = reader
        self._writer = writer

    async def lost(self) -> None:
        """Returns when EPMD is gone."""
        try:
            while await self._reader.read(64):
                pass
        except OSError:
            return
        finally:
            self.close()

    @property
    def socket(self) -> TransportSocket:
        """The connection that keeps the name."""
        found: TransportSocket = self._writer.get_extra_info("socket")
        return found

    def close(self) -> None:
        self._writer.close()


async def register(name: str, port: int, *, start: bool) -> Registered:
    """Registers a hidden node.

    Args:
        name: without the host.
        port: where the node listens.
        start: whether an EPMD is started if there is none.

    Raises:
        NotConnected: there is no EPMD.
        DistributionError: the name is taken.
    """
    reader, writer = await _local(start)
    try:
        writer.write(epmd.alive(name, port))
        data = b""
        async with asyncio.timeout(ANSWER):
            while (reply := epmd.parse_alive(data)) is None:
                piece = await reader.read(64)
                if not piece:
                    raise DistributionError("ALIVE2_RESP", "", "EPMD closed instead")
                data += piece
    except TimeoutError as exc:
        writer.close()
        raise NotConnected("EPMD", f"it does not answer within {ANSWER:g} s") from exc
    except BaseException:
        writer.close()
        raise
    return Registered(reply.creation, reader, writer)


async def _local(start: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection("127.0.0.1", epmd_port())
    except OSError:
        if not start:
            raise
        _start()
    try:
        async with asyncio.timeout(START):
            while True:
                try:
                    return await asyncio.open_connection("127.0.0.1", epmd_port())
                except OSError:
                    await asyncio.sleep(0.02)
    except TimeoutError:
        raise NotConnected("EPMD", _HOW) from None


def _start() -> None:
    program = shutil.which("epmd")
    if program is None:
        raise NotConnected("EPMD", _HOW)
    # It leaves this process at once; it serves all nodes of the host, and outlives this one.
    null = subprocess.DEVNULL
    subprocess.run(
        [program, "-daemon"], stdin=null, stdout=null, stderr=null, timeout=START, check=False
    )


async def look_up(node: str) -> tuple[str, int]:
    """Address and port of a node, asked of the EPMD of its host.

    Raises:
        NodeDown: there is no EPMD, or it does not know the node.
    """
    name, _, host = node.partition("@")
    try:
        async with asyncio.timeout(ANSWER):
            reader, writer = await asyncio.open_connection(host, epmd_port())
            try:
                writer.write(epmd.port_please(name))
                data = await reader.read(epmd.MAX_REPLY + 1)
                while (found := epmd.parse_port(data)) is None:
                    piece = await reader.read(epmd.MAX_REPLY)
                    found = epmd.parse_port(data + piece, ended=not piece)
                    data += piece
                    if found is not None:
                        break
            finally:
                writer.close()
    except DistributionError as exc:
        raise NodeDown(node, exc.reason) from exc
    except socket.gaierror as exc:
        raise NodeDown(node, f"the host {host!r} has no address: {exc.strerror}") from exc
    except TimeoutError as exc:
        raise NodeDown(node, f"EPMD of {host} does not answer within {ANSWER:g} s") from exc
    except OSError as exc:
        raise NodeDown(node, f"EPMD of {host} cannot be reached: {exc.strerror or exc}") from exc
    return host, found.port
