# SPDX-License-Identifier: Apache-2.0
"""The example of a Python node does what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from distribution.beam import COOKIE, LONG, Beam, new_name, python
from hornbeam_erlang.node import Node
from hornbeam_erlang.terms import Atom

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "python_node" / "words.py"


def test_words(beam: Beam, node: Node) -> None:
    """An Erlang node calls its server and its function; it ends after the last one is gone."""
    name = new_name("words")
    child = subprocess.Popen(
        [sys.executable, str(PROGRAM), name],
        env={**os.environ, "HORNBEAM_COOKIE": COOKIE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == f"{name} is ready\n"
    server = (Atom("words"), Atom(name))
    request = (Atom("count"), "to be or not to be")
    with python() as asking:
        counted = asking.rpc_call(beam.name, "gen_server", "call", [server, request], timeout=LONG)
        assert counted == {"to": 2, "be": 2, "or": 1, "not": 1}
        arguments = [Atom(name), Atom("statistics"), Atom("mean"), [[1, 2, 6]]]
        assert asking.rpc_call(beam.name, "rpc", "call", arguments, timeout=LONG) == 3
        wrong = asking.rpc_call(
            beam.name, "node_peer", "call_one", [server, (Atom("sum"), ""), 30_000], timeout=LONG
        )
        assert wrong[1][:3] == (
            "python_error",
            "ValueError",
            "the request is {count, Text}, not {sum, _}",
        )
        asking.rpc_call(beam.name, "erlang", "disconnect_node", [Atom(name)], timeout=LONG)
    assert child.wait(LONG) == 0
    assert child.stderr is not None
    assert "Traceback" in child.stderr.read()
    child.stdout.close()
    child.stderr.close()
