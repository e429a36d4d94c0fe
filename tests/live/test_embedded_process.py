# SPDX-License-Identifier: Apache-2.0
"""A node that a program has started, seen from outside: it comes up quickly, gets in nobody's way,
and is gone when the program is, however that ends."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from textwrap import dedent

import pytest

from live.programs import STARTED, outcome, program
from live.serving import alive, children, descendants, wait_until
from ports import free_port

FOREVER = STARTED + "time.sleep(600)\n"


def gone(pid: int) -> None:
    wait_until(lambda: not alive(pid), f"node {pid} is gone")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_killed(number: signal.Signals) -> None:
    """Killed by a signal that it does not even see, the program takes its node along."""
    with program(FOREVER) as running:
        node = running.number()
        below = descendants(node)
        running.send(number)
        assert running.status() == -number
        gone(node)
        for pid in below:
            gone(pid)


def test_killed_while_the_node_is_busy() -> None:
    """Also when thousands of calls are under way."""
    source = STARTED + "while True: hornbeam.state_incr('busy')\n"
    with program(source) as running:
        node = running.number()
        running.send(signal.SIGKILL)
        gone(node)


def test_ends_with_the_program() -> None:
    """The program ends: so does the node, with what was cast before, and nothing is printed, also
    when a function watches other nodes."""
    status, lines, errors = outcome(STARTED + "hornbeam.monitor_nodes(show)\n")
    assert (status, errors) == (0, "")
    gone(int(lines[0]))


def test_exception_and_exit() -> None:
    """An exception, and sys.exit in a block, end the node, and their status is the program's."""
    status, lines, errors = outcome(STARTED + "raise KeyError('mine')\n")
    assert (status, "KeyError: 'mine'" in errors) == (1, True)
    gone(int(lines[0]))
    source = STARTED + "with node: sys.exit(3)\n"
    status, lines, errors = outcome(source)
    assert (status, errors) == (3, "")
    gone(int(lines[0]))


def test_os_exit_and_exec() -> None:
    """A program that leaves without any ceremony, or becomes another one, leaves no node."""
    for end in ("os._exit(7)", "os.execv('/bin/sh', ['sh', '-c', 'exit 7'])"):
        status, lines, _ = outcome(STARTED + f"import os; {end}\n")
        assert status == 7
        gone(int(lines[0]))


def test_interrupt_is_the_programs_alone() -> None:
    """Ctrl-C at a terminal interrupts the program; its node goes on serving."""
    source = """
        try:
            show("ready")
            time.sleep(600)
        except KeyboardInterrupt:
            show(hornbeam.state_incr("after"))
        time.sleep(600)
    """
    with program(STARTED + dedent(source)) as running:
        node = running.number()
        # What a terminal does: the signal goes to the group of the program.
        assert os.getpgid(node) != os.getpgid(running.process.pid)
        assert running.line() == "ready"
        running.send(signal.SIGINT)
        assert running.number() == 1
        os.kill(node, signal.SIGINT)  # and even for itself it is nothing
        assert alive(node)


@pytest.mark.parametrize(
    "wait",
    [
        "hornbeam.execute('slow', '')",  # on the thread that waits
        "list(hornbeam.stream('slow', ''))",
        "hornbeam.await_result(hornbeam.execute_async('slow', ''))",  # on another one
        "asyncio.run(aio.await_result(hornbeam.execute_async('slow', '')))",
    ],
)
def test_interrupted_call(wait: str) -> None:
    """Ctrl-C ends a call that waits, wherever its handler runs; the connection is as good as
    before."""
    source = """
        import asyncio
        from hornbeam_erlang import aio

        def slow(action):
            show("running")
            time.sleep(600)

        hornbeam.register_hook("slow", slow)
        try:
            WAIT
        except KeyboardInterrupt:
            show(hornbeam.state_incr("after"))
    """
    with program(STARTED + dedent(source).replace("WAIT", wait)) as running:
        running.number()
        assert running.line() == "running"
        running.send(signal.SIGINT)
        assert running.number() == 1
        assert running.status() == 0


def test_two_at_once() -> None:
    """Two programs have two nodes: what one stores the other does not see, and no EPMD is left."""
    port = free_port()
    source = STARTED + "show(hornbeam.state_incr('mine')); time.sleep(600)\n"
    variables = {"ERL_EPMD_PORT": str(port)}
    with program(source, **variables) as one, program(source, **variables) as two:
        nodes = {one.number(), two.number()}
        assert len(nodes) == 2
        assert (one.number(), two.number()) == (1, 1)
        assert is_free(port)
    for node in nodes:
        gone(node)


def test_one_after_the_other() -> None:
    """A stopped node is replaced by a fresh one; stop again has no effect; calls say what to do."""
    source = """
        hornbeam.state_set("kept", 1)
        node.stop()
        node.stop()
        try:
            hornbeam.state_get("kept")
        except hornbeam.NotConnected as exc:
            show(exc)
        with hornbeam.start() as second:
            show((second is node, hornbeam.state_get("kept"), second.is_running, node.is_running))
        show(repr(second))
    """
    status, lines, errors = outcome(STARTED + dedent(source))
    assert (status, errors) == (0, "")
    assert "start another one with hornbeam_erlang.start()" in lines[1]
    assert lines[2] == "(False, None, True, False)"
    assert lines[3].endswith("stopped>")


def test_node_that_dies() -> None:
    """The node is killed: every wait ends with NodeDown at once, later calls are NotConnected, and
    the program goes on and can start another one."""
    source = """
        import asyncio, threading
        from hornbeam_erlang import aio

        def note(wait):
            try:
                wait()
            except hornbeam.HornbeamError as exc:
                names.append(type(exc).__name__)

        names = []
        hornbeam.register_hook("slow", lambda action: time.sleep(600))
        task = hornbeam.execute_async("slow", "")
        messages = hornbeam.subscription("topic")
        waits = (
            lambda: hornbeam.await_result(task),
            lambda: asyncio.run(aio.await_result(task)),
            lambda: messages.receive(None),
            lambda: asyncio.run(receive("other")),
        )

        async def receive(topic):
            async with await aio.subscription(topic) as its:
                await its.receive_async(None)

        threads = [threading.Thread(target=note, args=(wait,)) for wait in waits]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        show("waiting")
        for thread in threads:
            thread.join(60)
        note(lambda: hornbeam.state_get("x"))
        show(names)
        show(hornbeam.start().pid != node.pid and hornbeam.state_incr("again"))
    """
    with program(STARTED + dedent(source)) as running:
        node = running.number()
        assert running.line() == "waiting"
        os.kill(node, signal.SIGKILL)
        assert running.line() == str(["NodeDown"] * 4 + ["NotConnected"])
        assert running.line() == "1"
        assert running.status() == 0


def test_program_that_is_stopped(tmp_path: Path) -> None:
    """A program that is stopped for longer than it may be silent, as by a debugger, is as well off
    as before when it goes on; nobody is alarmed."""
    log = tmp_path / "node.log"
    arguments = f"log={str(log)!r}, emulator_flags=('-kernel', 'logger_level', 'info')"
    go = tmp_path / "go"
    source = f"GO = {str(go)!r}\n" + STARTED.replace("start()", f"start({arguments})")
    source += dedent("""
        hornbeam.register_hook("echo", lambda action: action)
        show("ready")
        import os
        while not os.path.exists(GO):
            time.sleep(0.01)
        show((hornbeam.state_incr("after"), hornbeam.execute("echo", "still")))
    """)
    with program(source) as running:
        node = running.number()
        assert running.line() == "ready"
        running.send(signal.SIGSTOP)
        wait_until(lambda: "worker_stalled" in log.read_text(), "its silence is noticed")
        assert alive(node)
        running.send(signal.SIGCONT)
        go.touch()
        assert running.line() == "(1, 'still')"
    assert "warning" not in log.read_text()


def test_node_that_is_stuck() -> None:
    """A node that does not run any more is killed when the program stops it, also while threads are
    stuck in what they tell it; they get NodeDown."""
    source = """
        import os, signal, threading

        def talk():
            try:
                while True:
                    hornbeam.cast("nobody", b"x" * 100000)
            except ConnectionError as exc:
                names.append(type(exc).__name__)

        names = []
        threads = [threading.Thread(target=talk) for _ in range(3)]
        os.kill(node.pid, signal.SIGSTOP)
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        begin = time.monotonic()
        node.stop(0.3)
        took = time.monotonic() - begin
        for thread in threads:
            thread.join(60)
        show((took < 20, len(names), node.is_running))
    """
    status, lines, errors = outcome(STARTED + dedent(source))
    assert (status, errors) == (0, "")
    assert lines[1] == "(True, 3, False)"
    gone(int(lines[0]))


def test_forked_child() -> None:
    """A child has no part in the connection of its parent: it is told so, ends without harm to the
    node, and may start one of its own."""
    source = """
        import os
        child = os.fork()
        if child == 0:
            try:
                hornbeam.state_get("x")
            except hornbeam.NotConnected as exc:
                show(exc)
            node.stop()
            with hornbeam.start() as own:
                show((own.pid != node.pid, hornbeam.state_incr("mine")))
            sys.exit(0)
        show((os.waitpid(child, 0)[1], hornbeam.state_incr("mine"), hornbeam.state_incr("mine")))
    """
    status, lines, errors = outcome(STARTED + dedent(source))
    assert (status, errors) == (0, "")
    assert "it is a forked child" in lines[1]
    assert lines[2:] == ["(True, 1)", "(0, 1, 2)"]


def test_child_does_not_keep_the_node() -> None:
    """The program is killed while a forked child of it lives: its node ends all the same."""
    source = STARTED + "import os\nshow(os.fork())\ntime.sleep(600)\n"
    with program(source) as running:
        node = running.number()
        numbers = {running.number(), running.number()}
        (forked,) = numbers - {0}
        try:
            running.send(signal.SIGKILL)
            gone(node)
            assert alive(forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_programs_that_it_starts_do_not_keep_the_node() -> None:
    """Nor does a program that it has started, which inherits nothing of the connection."""
    source = STARTED + "import subprocess\nshow(subprocess.Popen(['sleep', '600']).pid)\n"
    with program(source + "time.sleep(600)\n") as running:
        node, started = running.number(), running.number()
        try:
            running.send(signal.SIGKILL)
            gone(node)
        finally:
            os.kill(started, signal.SIGKILL)


def test_no_process_is_left_behind() -> None:
    """A stopped node is no zombie: the program has no child any more."""
    with program(STARTED + "node.stop(); show('stopped'); time.sleep(600)\n") as running:
        running.number()
        assert running.line() == "stopped"
        assert children(running.process.pid) == []
