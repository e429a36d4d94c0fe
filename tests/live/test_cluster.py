# SPDX-License-Identifier: Apache-2.0
"""Two nodes that the command starts and that join each other, over TCP with EPMD and over TLS:
messages, handlers' calls and functions go from one to the other; strangers do not get in."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import connect

from live.conftest import TESTS
from live.serving import EXAMPLES, START, Served, serving, wait_until

# What Erlang is to do with the certificates, on both sides of a connection.
OPTIONS = """[{{server, [{files}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}},
 {{client, [{files}, {{verify, verify_peer}}]}}].
"""

Pair = tuple[Served, Served]


def openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=START)


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def certificates(folder: Path, authority: str) -> Path:
    """An authority of that name, a certificate of it for localhost; the file for --dist-tls."""
    ca, ca_key = folder / f"{authority}.pem", folder / f"{authority}.key"
    openssl("req", "-x509", *KEY, "-subj", f"/CN={authority}", "-keyout", ca_key, "-out", ca)
    request, key, cert = (folder / f"{authority}-node.{kind}" for kind in ("csr", "key", "pem"))
    openssl("req", *KEY, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost\n")
    openssl(
        *("x509", "-req", "-days", "2", "-in", request, "-CA", ca, "-CAkey", ca_key),
        *("-CAcreateserial", "-extfile", extensions, "-out", cert),
    )
    paths = {"certfile": cert, "keyfile": key, "cacertfile": ca}
    options = folder / f"{authority}.options"
    files = ", ".join(f'{{{name}, "{path}"}}' for name, path in paths.items())
    options.write_text(OPTIONS.format(files=files))
    return options


def name(which: str) -> str:
    """A name that no other run on this machine uses."""
    return f"{which}-{os.getpid()}@localhost"


@pytest.fixture(scope="module", params=["tcp", "tls"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def secured(transport: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options of the command for the distribution."""
    if transport == "tcp":
        return ()
    folder = tmp_path_factory.mktemp("distribution")
    return ("--dist-tls", str(certificates(folder, "ours")))


@pytest.fixture(scope="module")
def cookie() -> dict[str, str]:
    return {"HORNBEAM_COOKIE": secrets.token_hex(16)}


@pytest.fixture(scope="module")
def pair(transport: str, secured: tuple[str, ...], cookie: dict[str, str]) -> Iterator[Pair]:
    """The second node joins the first: it is told its name, no more."""
    options = ("--interface", "asgi", "--workers", "1", *secured)
    app = "apps.topic_sockets:application"
    one, two = name(f"one-{transport}"), name(f"two-{transport}")
    with ExitStack() as stack:
        first = stack.enter_context(serving(app, TESTS, *options, "--sname", one, **cookie))
        joining = (*options, "--sname", two, "--join", one)
        second = stack.enter_context(serving(app, TESTS, *joining, **cookie))
        yield first, second


def publish(site: Served, topic: str, text: str) -> int:
    return int(site.get(f"/{topic}?{text}")[1])


def test_message_reaches_websocket_of_the_other_node(pair: Pair) -> None:
    """What is published on one node comes to a client that joined the topic on the other, once."""
    first, second = pair
    with connect(f"ws://{first.host}:{first.port}/joining") as client:
        client.send(json.dumps(["join", "over"]))
        assert client.recv(30) == "join over"
        wait_until(lambda: publish(second, "over", "probe") == 1, "the nodes have joined")
        assert client.recv(30) == "probe"
        assert publish(second, "over", "hello") == 1
        assert client.recv(30) == "hello"
        assert publish(first, "over", "from-here") == 1
        assert client.recv(30) == "from-here"
        with connect(f"ws://{second.host}:{second.port}/joining") as other:
            other.send(json.dumps(["prefix", "ov"]))
            assert other.recv(30) == "prefix ov"
            wait_until(lambda: publish(first, "over", "both") == 2, "the prefix is known")
            assert other.recv(30) == "both"
    wait_until(lambda: publish(second, "over", "nobody") == 0, "the clients' end is known")


def test_name_is_announced(pair: Pair, transport: str) -> None:
    """The line that says where the node serves has its name."""
    assert pair[0].announcement.strip().endswith(f"as {name(f'one-{transport}')}")


def connects(target: str, cookie: str, *flags: str) -> bool:
    """Whether a node of Erlang alone can connect."""
    ask = f"io:put_chars(atom_to_list(net_adm:ping('{target}'))), halt()."
    node = ("-sname", name("stranger"), "-dist_listen", "false", "-setcookie", cookie)
    command = ["erl", "-noshell", *node, *flags, "-kernel", "logger_level", "emergency"]
    answer = subprocess.run([*command, "-eval", ask], capture_output=True, timeout=START, text=True)
    return answer.stdout == "pong"


def test_who_may_connect(
    pair: Pair, transport: str, secured: tuple[str, ...], cookie: dict[str, str], tmp_path: Path
) -> None:
    """The cookie is needed; over TLS it is not enough without a certificate of the authority."""
    target = name(f"one-{transport}")
    right = cookie["HORNBEAM_COOKIE"]
    flags: tuple[str, ...] = ()
    if transport == "tls":
        flags = ("-proto_dist", "inet_tls", "-ssl_dist_optfile")
        assert not connects(target, right)
        assert not connects(target, right, *flags, str(certificates(tmp_path, "theirs")))
        flags = (*flags, secured[-1])
    assert not connects(target, "wrong", *flags)
    assert connects(target, right, *flags)


def test_without_a_name_nothing_listens() -> None:
    """A node that was not asked to be one of a cluster has one listening socket, of its clients."""
    with serving("app:application", EXAMPLES / "hello_wsgi", "--workers", "1") as served:
        pid = served.node_pid()
        inodes = {
            target.removeprefix("socket:[").removesuffix("]")
            for file in Path(f"/proc/{pid}/fd").iterdir()
            if (target := str(file.readlink())).startswith("socket:[")
        }
        rows = [
            row.split()
            for table in ("tcp", "tcp6")
            for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        ]
        listening = [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"
                     and row[9] in inodes]  # fmt: skip
        assert listening == [served.port]


def test_cookie_file_is_made(tmp_path: Path) -> None:
    """Without any cookie the command makes a random one at home, for its owner alone; the name of
    the command's worker has the user's home."""
    with serving(
        *("app:application", EXAMPLES / "hello_wsgi", "--workers", "1"),
        *("--sname", name("made")),
        HOME=str(tmp_path),
    ) as served:
        file = tmp_path / ".erlang.cookie"
        assert file.stat().st_mode & 0o777 == 0o600
        assert connects(name("made"), file.read_text())
        [worker] = served.worker_pids()
        assert f"HOME={tmp_path}".encode() in Path(f"/proc/{worker}/environ").read_bytes().split(
            b"\0"
        )


def test_copy_of_the_cookie_does_not_stay(cookie: dict[str, str], tmp_path: Path) -> None:
    """The file from which the node reads a cookie that is not that of the home directory has gone
    when it serves: nothing of it can be left by a command that is killed."""
    options = ("--workers", "1", "--sname", name("copied"))
    folder = {"TMPDIR": str(tmp_path)}
    with serving(
        "app:application", EXAMPLES / "hello_wsgi", *options, **cookie, **folder
    ) as served:
        assert served.get()[0] == 200
        assert list(tmp_path.glob("hornbeam-*/.erlang.cookie")) == []
        assert connects(name("copied"), cookie["HORNBEAM_COOKIE"])


def test_name_that_cannot_be_joined_does_not_end_the_node(cookie: dict[str, str]) -> None:
    """A node serves though whom it is to join is not there; the log says so once."""
    options = ("--workers", "1", "--sname", name("alone"), "--join", "nobody@localhost")
    with serving("app:application", EXAMPLES / "hello_wsgi", *options, **cookie) as served:
        wait_until(lambda: "node_not_joined" in served.errors(), "the log says so")
        assert served.get()[0] == 200
