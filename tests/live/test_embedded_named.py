# SPDX-License-Identifier: Apache-2.0
"""Nodes of programs that have a name: others connect when they know the cookie, on loopback unless
it is asked for otherwise."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest

import hornbeam_erlang as hornbeam
from live.programs import outcome, program
from live.serving import name as command_line
from live.serving import wait_until

# A program with a node: says its name, waits for a word, then says what its state holds.
OTHER = """
import hornbeam_erlang as hornbeam

hornbeam.start(name={name!r}, cookie={cookie!r})
print(hornbeam.node(), flush=True)
import time; time.sleep(600)
"""


def fresh(what: str) -> str:
    return f"{what}-{os.getpid()}-{secrets.token_hex(4)}"


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, as /proc has them: `0100007F` is 127.0.0.1."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with_inode = os.readlink(fd)
        if with_inode.startswith("socket:["):
            inodes.add(with_inode[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_two_programs_connect() -> None:
    """With the same cookie the nodes of two programs connect, and one calls the other."""
    cookie, name = secrets.token_hex(8), fresh("other")
    with program(OTHER.format(name=name, cookie=cookie)) as other:
        theirs = other.line()
        assert theirs == f"{name}@127.0.0.1"
        with hornbeam.start(name=fresh("mine"), cookie=cookie) as node:
            hornbeam.connect(theirs)
            assert hornbeam.nodes() == [theirs]
            assert hornbeam.rpc_call(theirs, "erlang", "node", []) == theirs
            assert node.name == hornbeam.node()
            assert node.cookie == cookie


def test_programs_serve_each_other() -> None:
    """A handler of one program is executed by the other, and what one publishes the other gets."""
    cookie = secrets.token_hex(8)
    source = OTHER.format(name=fresh("serves"), cookie=cookie).replace(
        "print(",
        "hornbeam.register_hook('double', lambda action, number: 2 * number)\nprint(",
    )
    with (
        program(source) as other,
        hornbeam.start(name=fresh("asks"), cookie=cookie),
    ):
        theirs = other.line()
        hornbeam.connect(theirs)
        wait_until(lambda: _executes("double", 4) == 8, "the handler is found")
        other.process.kill()
        wait_until(lambda: _executes("double", 4) is None, "and gone with its program")


def test_joins_a_cluster() -> None:
    """The option `cluster` has the node connect to others, now and whenever they are back."""
    cookie, name = secrets.token_hex(8), fresh("joined")
    theirs = f"{name}@127.0.0.1"
    cluster = {"nodes": [theirs], "interval": 100}
    with hornbeam.start(name=fresh("joins"), cookie=cookie, cluster=cluster):
        assert hornbeam.nodes() == []
        with program(OTHER.format(name=name, cookie=cookie)):
            wait_until(lambda: hornbeam.nodes() == [theirs], "the node has joined")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"cluster": {"nodes": ["a@b.c"]}}, "this node has no name"),
        ({"cluster": {"nodez": []}}, 'it has no <<"nodez">>'),
        ({"cluster": "a@b.c"}, "a map of nodes"),
    ],
)
def test_impossible_clusters(arguments: dict[str, object], text: str) -> None:
    """A node without a name can join nobody; what the option does not have is named."""
    with pytest.raises(hornbeam.StartFailed, match=text):
        hornbeam.start(**arguments)  # type: ignore[arg-type]


def _executes(path: str, number: int) -> object:
    try:
        return hornbeam.execute(path, "", number)
    except (hornbeam.NotRegistered, hornbeam.NodeDown):
        return None


def test_other_cookie() -> None:
    """Without a cookie in common there is no connection; given for that node alone there is."""
    cookie, name = secrets.token_hex(8), fresh("strict")
    with program(OTHER.format(name=name, cookie=cookie)) as other:
        theirs = other.line()
        with hornbeam.start(name=fresh("mine")):
            with pytest.raises(hornbeam.NodeDown):
                hornbeam.connect(theirs)
            hornbeam.connect(theirs, cookie)
            assert hornbeam.nodes() == [theirs]


def test_loopback_and_secret() -> None:
    """It listens on loopback only; its random cookie is on no command line, and in no file that is
    left or that others could read."""
    before = set(Path("/tmp").glob("hornbeam-*"))
    with hornbeam.start(name=fresh("secret")) as node:
        assert listening(node.pid) == {"0100007F"}
        assert node.cookie is not None
        assert len(node.cookie) >= 32
        assert node.cookie.encode() not in command_line(node.pid)
        home = hornbeam.rpc_call(node.name or "", "os", "getenv", [list(b"HOME")])
        assert bytes(home).decode() == os.environ["HOME"]
        assert not [path for path in set(Path("/tmp").glob("hornbeam-*")) - before if _has(path)]
    with hornbeam.start(name=fresh("secret")) as second:
        assert second.cookie != node.cookie


def _has(folder: Path) -> bool:
    """Whether a folder is one of a cookie, and anybody but its owner could look into it."""
    file = folder / ".erlang.cookie"
    return file.exists() and bool(stat.S_IMODE(folder.stat().st_mode) & 0o077)


def test_no_name_no_distribution() -> None:
    """Without a name it listens nowhere, and cannot connect to anything."""
    with hornbeam.start() as node:
        assert (node.name, node.cookie) == (None, None)
        assert listening(node.pid) == set()
        assert hornbeam.node() == "nonode@nohost"
        with pytest.raises(hornbeam.NodeDown):
            hornbeam.connect("nobody@127.0.0.1")


def test_name_in_use() -> None:
    """Two nodes of one name: the second one does not start, and says why."""
    name = fresh("twice")
    with program(OTHER.format(name=name, cookie="c")) as other:
        other.line()
        with pytest.raises(hornbeam.StartFailed, match="in use by another Erlang node"):
            hornbeam.start(name=name, cookie="c")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"cookie": "c"}, "no effect without a name"),
        ({"interface": "127.0.0.1"}, "no effect without a name"),
        ({"name": "a@b"}, "the host has no dot"),
        ({"name": "a b"}, "no name of a node"),
        ({"name": "a", "cookie": "with space"}, "1 to 255 visible"),
        ({"name": "a", "interface": "here"}, "does not appear to be an IPv4"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], text: str) -> None:
    """What cannot be is refused before anything is started."""
    with pytest.raises(ValueError, match=text):
        hornbeam.start(**arguments)  # type: ignore[arg-type]


def test_rpc_can_be_restricted() -> None:
    """Options of the node are written as the words they are in Erlang."""
    with (
        hornbeam.start(name=fresh("closed"), rpc_allow="none") as node,
        pytest.raises(hornbeam.RemoteError) as caught,
    ):
        hornbeam.rpc_call(node.name or "", "erlang", "halt", [])
    assert caught.value.class_ == "refused"


def test_killed_program_leaves_the_cluster() -> None:
    """The node of a program that is killed is gone for the others at once."""
    cookie, name = secrets.token_hex(8), fresh("killed")
    with (
        program(OTHER.format(name=name, cookie=cookie)) as other,
        hornbeam.start(name=fresh("mine"), cookie=cookie),
    ):
        theirs = other.line()
        hornbeam.connect(theirs)
        with hornbeam.monitor_nodes() as events:
            other.process.kill()
            event = events.receive(30.0)
        assert event is not None
        assert event.message.event == "nodedown"
        wait_until(lambda: hornbeam.nodes() == [], "the other node is gone")


def test_cookie_of_the_environment() -> None:
    """HORNBEAM_COOKIE is the cookie where none is given, and the node does not pass it on."""
    source = """
        import hornbeam_erlang as hornbeam
        with hornbeam.start(name={name!r}) as node:
            seen = hornbeam.rpc_call(node.name, "os", "getenv", [list(b"HORNBEAM_COOKIE")])
            print(node.cookie, seen)
    """
    status, lines, errors = outcome(source.format(name=fresh("env")), HORNBEAM_COOKIE="c0de")
    assert (status, errors, lines) == (0, "", ["c0de False"])
