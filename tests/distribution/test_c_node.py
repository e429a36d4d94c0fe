# SPDX-License-Identifier: Apache-2.0
"""A C node made with `ei`, which knows neither distribution headers nor fragments nor aliases."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from distribution.beam import COOKIE, LONG
from hornbeam_erlang.node import Node

SOURCE = Path(__file__).with_name("c_node.c")
FOLDER = "io:put_chars(code:lib_dir(erl_interface)), halt()."


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    asked = subprocess.run(
        ["erl", "-noinput", "-eval", FOLDER], capture_output=True, text=True, timeout=LONG
    )
    folder = Path(asked.stdout)
    if not (folder / "lib" / "libei.a").exists():
        pytest.skip("erl_interface is not installed (Debian: erlang-dev)")
    result = tmp_path_factory.mktemp("c_node") / "c_node"
    paths = [f"-I{folder / 'include'}", f"-L{folder / 'lib'}", "-lei", "-lpthread"]
    command = [compiler, "-Wall", "-Werror", "-o", str(result), str(SOURCE), *paths]
    subprocess.run(command, check=True, timeout=LONG)
    return result


def test_messages_and_calls(node: Node, program: Path) -> None:
    """Messages go both ways, in the form that the other side knows, and rpc is answered."""
    node.allow("sums", "add", lambda a, b: a + b)
    with node.process("inbox") as process:
        child = subprocess.Popen([program, node.name, COOKIE], stdout=subprocess.PIPE, text=True)
        hello, pid, number = process.receive(LONG)
        assert (hello, number) == ("hello", 5)
        assert pid.node in node.nodes()
        process.send(pid, 7)
        said, _ = child.communicate(timeout=LONG)
    assert said == "answer 7\nsum 5\n"
    assert child.returncode == 0
