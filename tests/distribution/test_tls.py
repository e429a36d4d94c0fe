# SPDX-License-Identifier: Apache-2.0
"""Distribution over TLS, beside an Erlang node with `-proto_dist inet_tls`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from distribution.beam import LONG, Beam, python
from hornbeam_erlang.errors import NodeDown
from hornbeam_erlang.node import TLS
from hornbeam_erlang.terms import Atom

OPTIONS = """[{{server, [{0}, {{fail_if_no_peer_cert, true}}]}}, {{client, [{0}]}}]."""
FILES = '{{certfile, "{0}"}}, {{keyfile, "{1}"}}, {{cacertfile, "{2}"}}, {{verify, verify_peer}}'


def made(folder: Path, name: str, *options: str) -> tuple[str, str]:
    """Files of a certificate for localhost and of its key."""
    file, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", file]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=LONG)
    return file, key


def certificate(folder: Path, name: str) -> TLS:
    """A node's certificate, and an authority of its own that has signed it."""
    authority, secret = made(folder, f"{name}-authority")
    signed = ("-CA", authority, "-CAkey", secret, "-addext", "subjectAltName=DNS:localhost")
    file, key = made(folder, name, *signed, "-addext", "basicConstraints=critical,CA:FALSE")
    return TLS(file, key, authority)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def tls(folder: Path) -> TLS:
    return certificate(folder, "node")


@pytest.fixture(scope="module")
def secure(folder: Path, tls: TLS) -> Iterator[Beam]:
    """An Erlang node that speaks TLS to others, and to nobody else."""
    options = folder / "inet_tls.conf"
    options.write_text(OPTIONS.format(FILES.format(tls.certificate, tls.key, tls.authority)))
    beam = Beam("-proto_dist", "inet_tls", "-ssl_dist_optfile", str(options))
    yield beam
    beam.kill()


def test_both_directions(secure: Beam, tls: TLS) -> None:
    """Each side can connect to the other; large messages go through."""
    with python(tls=tls) as node:
        assert node.ping(secure.name, LONG)
        data = bytes(range(256)) * 4096
        assert node.call(("peer", secure.name), (Atom("echo"), data), LONG) == data
        with python(tls=tls) as other:
            pong = node.rpc_call(secure.name, "net_adm", "ping", [Atom(other.name)], timeout=LONG)
            assert pong == "pong"
            assert other.nodes() == [secure.name]


def test_a_certificate_that_is_not_trusted(secure: Beam, folder: Path) -> None:
    """Neither side trusts the other's, whatever the cookie."""
    with python(tls=certificate(folder, "stranger")) as node:
        with pytest.raises(NodeDown, match="certificate"):
            node.connect(secure.name, timeout=LONG)
        assert node.nodes() == []


def test_a_node_without_tls(secure: Beam) -> None:
    """It gets no connection to one that asks for TLS."""
    with python() as node:
        assert node.ping(secure.name, LONG) is False
