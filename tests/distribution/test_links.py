# SPDX-License-Identifier: Apache-2.0
"""Links, monitors and exit signals between Python and Erlang processes, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from distribution.beam import LONG, Beam
from hornbeam_erlang.errors import NotConnected
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom, Pid

KILL = Atom("kill")


def erlang(node: Node, beam: Beam, function: str, *args: object) -> Any:
    return node.rpc_call(beam.name, "node_peer", function, args, timeout=LONG)


def end(node: Node, beam: Beam, pid: Pid, reason: object = KILL) -> None:
    node.rpc_call(beam.name, "erlang", "exit", [pid, reason], timeout=LONG)


def test_python_monitors_erlang(node: Node, beam: Beam) -> None:
    """DOWN says who, by which reference, and why: of a pid, of a name, of one that is not there."""
    pid = erlang(node, beam, "spawn_idle")
    with node.process() as process:
        ref = process.monitor(pid)
        end(node, beam, pid)
        assert process.receive(LONG) == ("DOWN", ref, "process", pid, "killed")
        ref = process.monitor(pid)
        assert process.receive(LONG) == ("DOWN", ref, "process", pid, "noproc")
        ref = process.monitor(("nobody", beam.name))
        who = (Atom("nobody"), Atom(beam.name))
        assert process.receive(LONG) == ("DOWN", ref, "process", who, "noproc")


def test_python_takes_a_monitor_back(node: Node, beam: Beam) -> None:
    """After demonitor there is no DOWN."""
    pid = erlang(node, beam, "spawn_idle")
    with node.process() as process:
        process.demonitor(process.monitor(pid))
        ref = process.monitor(pid)
        end(node, beam, pid)
        assert process.receive(LONG)[1] == ref
        process.send(process.pid, "last")
        assert process.receive(LONG) == "last"


def test_erlang_monitors_python(node: Node, beam: Beam) -> None:
    """An Erlang process is told the end of a Python one, by pid and by name, and its reason."""
    process = node.process("watched")
    name = (Atom("watched"), Atom(node.name))
    absent = (Atom("absent"), Atom(node.name))
    targets = [(Atom("monitor"), target) for target in (process.pid, name, absent)]
    watcher = erlang(node, beam, "watch", targets)
    assert erlang(node, beam, "watched", (watcher, 1)) == [("DOWN", absent, "noproc")]
    process.close((Atom("done"), 1))
    seen = erlang(node, beam, "watched", (watcher, 3))
    why = (Atom("done"), 1)
    assert sorted(map(repr, seen[1:])) == sorted(
        map(repr, [(Atom("DOWN"), process.pid, why), (Atom("DOWN"), name, why)])
    )


def test_python_links_to_erlang(node: Node, beam: Beam) -> None:
    """The end of either is told to the other; a link to nobody ends at once."""
    pid = erlang(node, beam, "spawn_idle")
    process = node.process()
    process.link(pid)
    end(node, beam, pid)
    assert process.receive(LONG) == ("EXIT", pid, "killed")
    process.link(pid)
    assert process.receive(LONG) == ("EXIT", pid, "noproc")
    other = erlang(node, beam, "watch", [])
    process.link(other)
    process.close(Atom("bye"))
    assert erlang(node, beam, "watched", (other, 1)) == [("EXIT", process.pid, "bye")]


def test_erlang_links_to_python(node: Node, beam: Beam) -> None:
    """An Erlang process that links to a Python one learns of its end, also if there is none."""
    with node.process() as gone:
        pass
    watcher = erlang(node, beam, "watch", [(Atom("link"), gone.pid)])
    assert erlang(node, beam, "watched", (watcher, 1)) == [("EXIT", gone.pid, "noproc")]
    process = node.process()
    watcher = erlang(node, beam, "watch", [(Atom("link"), process.pid)])
    end(node, beam, watcher)
    assert process.receive(LONG) == ("EXIT", watcher, "killed")
    process.close()


def test_links_that_are_taken_back(node: Node, beam: Beam) -> None:
    """After unlink, of either side, the end of one is nothing to the other."""
    process = node.process()
    watcher = erlang(node, beam, "watch", [(Atom("link"), process.pid)])
    assert erlang(node, beam, "unlinked", (watcher, process.pid)) is True
    process.link(watcher)
    process.unlink(watcher)
    process.unlink(watcher)
    process.link(watcher)
    process.unlink(watcher)
    end(node, beam, watcher)
    process.monitor(watcher)
    assert process.receive(LONG)[0] == "DOWN"
    assert len(process.mailbox) == 0
    assert process.links == {}
    process.close()


def test_exit_signals(node: Node, beam: Beam) -> None:
    """exit/2 is a message to a Python process, but kill, which ends it; so it does in Erlang."""
    process = node.process()
    erlang(node, beam, "exit_of", process.pid)
    kind, sender, reason = process.receive(LONG)
    assert (kind, sender.node, reason) == ("EXIT", beam.name, "reason_of_exit2")
    watcher = erlang(node, beam, "watch", [(Atom("monitor"), process.pid)])
    end(node, beam, process.pid)
    assert erlang(node, beam, "watched", (watcher, 1)) == [("DOWN", process.pid, "killed")]
    with pytest.raises(NotConnected, match="has ended"):
        process.receive(LONG)
    with node.process() as other:
        pid = erlang(node, beam, "spawn_idle")
        ref = other.monitor(pid)
        other.exit(pid, KILL)
        assert other.receive(LONG) == ("DOWN", ref, "process", pid, "killed")


def test_python_processes_among_themselves(node: Node) -> None:
    """What holds between nodes holds within one."""
    one, two = node.process(), node.process("two")
    ref = one.monitor("two")
    one.link(two.pid)
    two.close(Atom("bye"))
    seen = [one.receive(LONG), one.receive(LONG)]
    assert ("EXIT", two.pid, "bye") in seen
    assert ("DOWN", ref, "process", (Atom("two"), Atom(node.name)), "bye") in seen
    ref = one.monitor("two")
    assert one.receive(LONG)[4] == "noproc"
    one.close()


def test_a_process_that_does_not_receive(node: Node, beam: Beam) -> None:
    """Its mailbox has a limit; then it ends, and who monitors it is told."""
    process = node.process(mailbox_limit=10_000)
    watcher = erlang(node, beam, "watch", [(Atom("monitor"), process.pid)])
    erlang(node, beam, "burst", process.pid, 1000)
    expected = [("DOWN", process.pid, "mailbox_full")]
    assert erlang(node, beam, "watched", (watcher, 1)) == expected
    assert not process.alive
