# SPDX-License-Identifier: Apache-2.0
"""The package that people install: it holds both halves, and needs nothing but `erl` on PATH.

`make test-wheel` builds the wheel, names its folder in HORNBEAM_WHEEL, and has it installed into a
virtual environment of its own. Without the variable the same is seen on what goes into a wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from hornbeam_erlang._emulator import APPLICATIONS
from live.serving import EXAMPLES, ROOT, Served, alive, child, first_line, wait_until

WHEEL = os.environ.get("HORNBEAM_WHEEL")
INSTALL_SECONDS = 300.0

START = """
import hornbeam_erlang, os, sys
with hornbeam_erlang.start() as node:
    hornbeam_erlang.register_hook("double", lambda action, number: 2 * number)
    place = os.path.dirname(hornbeam_erlang.__file__)
    print(node.pid, hornbeam_erlang.execute("double", "", 21), place)
"""


@dataclass(frozen=True, slots=True)
class Installed:
    """A package outside the source tree.

    Attributes:
        python: the interpreter that has it.
        folder: where it is.
        variables: of the environment, for the interpreter to find it.
    """

    python: str
    folder: Path
    variables: dict[str, str]


def run(*argv: str | Path, **variables: str) -> str:
    done = subprocess.run(
        argv,
        cwd=ROOT if "setup.py" in argv else "/",
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The package: from the wheel in an environment of its own, or as it goes into a wheel."""
    target = tmp_path_factory.mktemp("package")
    if WHEEL is None:
        run(sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(target))
        return Installed(sys.executable, target, {"PYTHONPATH": str(target)})
    (wheel,) = (ROOT / WHEEL).glob("hornbeam-*.whl")
    run(sys.executable, "-m", "venv", target)
    python = target / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel)
    place = run(python, "-c", "import hornbeam_erlang; print(hornbeam_erlang.__path__[0])")
    return Installed(str(python), Path(place.strip()).parent, {"PYTHONPATH": ""})


@contextmanager
def serving(package: Installed) -> Iterator[Served]:
    """The command of the package, which serves the smallest example."""
    command = [package.python, "-m", "hornbeam_erlang._command"]
    if WHEEL is not None:
        command = [str(Path(package.python).with_name("hornbeam"))]
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--app-dir")
    argv = (*command, *options, str(EXAMPLES / "hello_wsgi"), "app:application")
    with child(argv, package.variables) as (process, stderr):
        line = first_line(process)
        assert "on http://" in line, os.pread(stderr.fileno(), 1 << 20, 0).decode()
        host, _, port = line.strip().rpartition("/")[2].partition(":")
        yield Served(process, host, int(port), line, stderr)


def test_both_halves(installed: Installed) -> None:
    """Python packages, type information, and the compiled modules of every Erlang application."""
    for name in ("hornbeam_erlang/py.typed", "hornbeam_ml/__init__.py"):
        assert (installed.folder / name).exists()
    for application in APPLICATIONS:
        ebin = installed.folder / "hornbeam_erlang" / "_beam" / application / "ebin"
        assert (ebin / f"{application}.app").exists()
        assert len(list(ebin.glob("*.beam"))) > 5


def test_serves(installed: Installed) -> None:
    """The command serves an application, with workers that run the installed package."""
    with serving(installed) as served:
        assert served.get() == (200, b"Hello from Hornbeam!")
        (worker,) = served.worker_pids()
        maps = Path(f"/proc/{worker}/maps").read_text()
        assert str(ROOT / "python" / "hornbeam_erlang") not in maps


def test_starts_a_node(installed: Installed) -> None:
    """A program outside the source tree starts a node of its own."""
    printed = run(installed.python, "-c", START, **installed.variables)
    pid, answer, place = printed.split()
    assert answer == "42"
    assert Path(place) == installed.folder / "hornbeam_erlang"
    wait_until(lambda: not alive(int(pid)), "the node is gone")


@pytest.mark.skipif(WHEEL is None, reason="there is no wheel: make test-wheel builds one")
def test_wheel_is_complete(installed: Installed) -> None:
    """The wheel has the compiled codec, the licences of what it brings, and no tests."""
    assert WHEEL is not None
    (wheel,) = (ROOT / WHEEL).glob("hornbeam-*.whl")
    names = ZipFile(wheel).namelist()
    assert any("_codec_compiled" in name and name.endswith(".so") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert not [name for name in names if "test" in name.split("/")[0]]
    codec = run(installed.python, "-c", "from hornbeam_erlang import codec; print(codec.NAME)")
    assert codec.strip() == "compiled"
