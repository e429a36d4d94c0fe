# SPDX-License-Identifier: Apache-2.0
"""A Python node and EPMD: started when there is none, registered again when it comes back."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from distribution.beam import LONG, eventually, new_name, python
from hornbeam_erlang import _distribution_epmd as epmd
from hornbeam_erlang.errors import NodeDown, NotConnected
from ports import free_port


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port for an EPMD of this test alone, which no EPMD listens on yet."""
    found = free_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(found))
    return found


def registered(port: int) -> dict[str, int]:
    """Names and ports that EPMD knows; empty when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), LONG) as connection:
            connection.sendall(epmd.names())
            data = b""
            while piece := connection.recv(1000):
                data += piece
    except OSError:
        return {}
    return epmd.parse_names(data)


def test_an_epmd_that_is_restarted(port: int) -> None:
    """The node registers again, so that others find it."""
    command = ["epmd", "-port", str(port), "-address", "127.0.0.1"]
    first = subprocess.Popen(command)
    try:
        eventually(lambda: listens(port), "EPMD starts")
        with python() as node:
            name = node.name.partition("@")[0]
            assert registered(port) == {name: node.port}
            first.kill()
            first.wait(LONG)
            second = subprocess.Popen(command)
            try:
                eventually(lambda: registered(port) == {name: node.port}, "it registers again")
                with python() as friend:
                    assert friend.ping(node.name)
            finally:
                second.kill()
                second.wait(LONG)
    finally:
        first.kill()
        first.wait(LONG)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_no_epmd(port: int) -> None:
    """One is started, and stays for other nodes, as Erlang's do."""
    try:
        with python() as node:
            assert registered(port) == {node.name.partition("@")[0]: node.port}
        eventually(lambda: registered(port) == {}, "it is not registered any more")
        assert listens(port)
    finally:
        subprocess.run(["epmd", "-port", str(port), "-kill"], check=True, capture_output=True)


def test_no_erlang(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no EPMD to start, the error says what can be done without it."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NotConnected, match="listen=False"):
        python().start()
    with python(epmd=False) as node, pytest.raises(NodeDown, match="cannot be reached"):
        node.connect(new_name("somebody"))
