# SPDX-License-Identifier: Apache-2.0
"""The examples of programs with a node of their own do what they show, and so do the fixture for
pytest and the benchmark."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from live.serving import EXAMPLES, ROOT, START

FOLDER = EXAMPLES / "embedded"

USES_THE_FIXTURE = """
import pytest
import hornbeam_erlang

pytest_plugins = ["hornbeam_erlang.pytest_plugin"]

@pytest.mark.parametrize("time", [1, 2])
def test_state_is_empty_each_time(hornbeam_node, time):
    assert hornbeam_erlang.state_incr("counter") == 1
    assert hornbeam_erlang.cached("key", lambda: time) == time
    assert hornbeam_node.is_running

def test_without_it():
    pass
"""


def run(*argv: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_script(tmp_path: Path) -> None:
    """The program counts the words of its files, in threads, and says which are frequent."""
    texts = {"a.txt": "the cat and the dog\n" * 300, "b.txt": "The end.\n" * 10}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    lines = run(FOLDER / "report.py", "a.txt", "b.txt", cwd=tmp_path).splitlines()
    assert sorted(line.split() for line in lines[:2]) == [["1500", "a.txt"], ["20", "b.txt"]]
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["610", "times", "the,"],
        ["300", "times", "and,"],
        ["300", "times", "cat,"],
    ]
    assert lines[5].split() == ["1520", "words"]


async def cells(source: str) -> list[Any]:
    """Runs each cell as a notebook does: in a running loop, and shows its last expression."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in re.split(r"^# %%.*$", source, flags=re.MULTILINE)[1:]:
        *statements, last = ast.parse(cell).body
        for part in (ast.Module(statements, []), last):
            is_shown = isinstance(part, ast.Expr)
            tree = ast.Expression(part.value) if isinstance(part, ast.Expr) else _module(part)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(tree, "cell", "eval" if is_shown else "exec", flags, dont_inherit=True)
            value = eval(code, names)
            value = await value if inspect.iscoroutine(value) else value
        shown.append(value)
    return shown


def _module(part: ast.AST) -> ast.Module:
    return part if isinstance(part, ast.Module) else ast.Module([part], [])  # type: ignore[list-item]


def test_notebook() -> None:
    """Every cell of the notebook shows what it should, in a loop that runs all the while."""
    source = (FOLDER / "notebook.py").read_text()
    node, run, predicted, task, losses, stopped = asyncio.run(cells(source))
    assert run == {"rate": 0.1, "losses": []}
    assert (predicted, task) == ([1.0, 2.0], [0.1, 0.2, 0.1 * 3])
    assert losses == [1, 1 / 2, 1 / 3, 1 / 4]
    assert (stopped, node.is_running) == (None, False)


def test_fixture(tmp_path: Path) -> None:
    """Each test that asks for the node finds it empty; it is one node for all of them."""
    (tmp_path / "test_it.py").write_text(USES_THE_FIXTURE)
    assert "3 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)


def test_benchmark() -> None:
    """The quick form of the benchmark writes a figure for everything that it measures."""
    result = ROOT / "benchmarks" / "results" / "smoke-test-embedded.json"
    result.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "benchmarks/embedded.py", "--quick", "--name", result.stem],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())["medians"]
    assert list(found) == ["no name", "with a name", "operations"]
    assert all(value > 0 for kind in found.values() for value in kind.values())
    assert found["no name"]["start ms"] <= found["no name"]["first answer ms"]
