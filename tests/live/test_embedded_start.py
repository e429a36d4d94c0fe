# SPDX-License-Identifier: Apache-2.0
"""A node that a program starts: what is said when it cannot start, where its output goes."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from live.programs import STARTED, outcome, program
from live.serving import alive, wait_until


def gone(pid: int) -> None:
    wait_until(lambda: not alive(pid), f"node {pid} is gone")


def test_no_erlang(tmp_path: Path) -> None:
    """Without erl on PATH the error says how to get it, on more than one system."""
    source = STARTED.replace("node = hornbeam.start()", "hornbeam.start()")
    status, lines, errors = outcome(source, PATH=str(tmp_path))
    assert (status, lines) == (1, [])
    assert "StartFailed: there is no Erlang on PATH" in errors
    for advice in ("apt-get install erlang-base", "brew install erlang", "conda-forge erlang"):
        assert advice in errors


def test_what_cannot_start_is_explained(tmp_path: Path) -> None:
    """A wrong option is named by the node; an emulator that fails is quoted; nothing is left."""
    source = """
        import hornbeam_erlang as hornbeam

        for options in (
            {"state_max_entrys": 5},
            {"state_max_entries": "many"},
            {"emulator_flags": ("-config", "nowhere")},
        ):
            try:
                hornbeam.start(**options)
            except hornbeam.StartFailed as exc:
                print(str(exc).splitlines())
        import os
        print(open(f"/proc/self/task/{os.getpid()}/children").read())
        print(sorted(os.listdir("/proc/self/fd")))
    """
    status, lines, errors = outcome(source)
    assert (status, errors) == (0, "")
    assert "did you mean state_max_entries?" in lines[0]
    assert "option state_max_entries is wrong: expected an integer" in lines[1]
    assert "the node has ended with status 1: " in lines[2]
    assert "nowhere.config" in lines[2]
    assert lines[3] == ""
    assert lines[4] == "['0', '1', '2', '3']"  # the last one is that of the folder


def test_output_of_the_node(tmp_path: Path) -> None:
    """What the node logs goes to Python's logging with its level, or to a file."""
    log = tmp_path / "node.log"
    failing = "hornbeam.cast('nobody', 1); time.sleep(600)\n"
    prepared = "import logging; logging.basicConfig(format='%(name)s %(levelname)s %(message)s')\n"
    with program(prepared + STARTED + failing) as running:
        wait_until(lambda: "cast_failed" in running.errors(), "the warning is logged")
        assert running.errors().startswith("hornbeam.node WARNING ")
    to_file = STARTED.replace("start()", f"start(log={str(log)!r})")
    with program(prepared + to_file + failing) as running:
        wait_until(lambda: log.exists() and "cast_failed" in log.read_text(), "it is in the file")
        assert running.errors() == ""


def test_crash_leaves_no_dump(tmp_path: Path) -> None:
    """An emulator that crashes writes no dump into the program's folder."""
    source = STARTED + "import os; os.kill(node.pid, 10); time.sleep(0.05)\n"  # SIGUSR1: a crash
    source += "\ntry:\n    while True: hornbeam.state_get('x')\nexcept ConnectionError: pass\n"
    source = f"import os; os.chdir({str(tmp_path)!r})\n" + source
    status, lines, errors = outcome(source)
    assert (status, errors) == (0, "")
    gone(int(lines[0]))
    assert list(tmp_path.iterdir()) == []


def test_many_descriptors() -> None:
    """A program with more than a thousand open files is served as any other."""
    source = """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(7)[1]))
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    """
    source = dedent(source) + STARTED + "show(hornbeam.state_incr('x'))\n"
    status, lines, errors = outcome(source)
    assert (status, errors, lines[1:]) == (0, "", ["1"])
