# SPDX-License-Identifier: Apache-2.0
"""Modules that are compiled from their own Python source, with the C types of a .pxd beside it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hornbeam_erlang

FOLDER = Path(hornbeam_erlang.__path__[0])
COMPILED = FOLDER.parents[1] / "build" / "compiled.json"  # setup.py writes it
TYPED = sorted(path.stem for path in FOLDER.glob("*.pxd"))
SHOW = """
import importlib, sys
import hornbeam_erlang
from hornbeam_erlang import _sources
modules = [importlib.import_module(f"hornbeam_erlang.{name}") for name in sys.argv[1:]]
print(_sources.is_compiled(), *{module.__file__.endswith(".py") for module in modules})
"""
HIDE = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path
class Hide:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path)
        if spec is not None and (spec.origin or "").endswith(".so") and "._codec" not in name:
            if name.startswith("hornbeam_erlang."):
                from importlib.util import spec_from_file_location
                source = Path(spec.origin).parent / (name.rpartition(".")[2] + ".py")
                return spec_from_file_location(name, source)
        return spec
sys.meta_path.insert(0, Hide())
"""


def run(code: str, forced: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HORNBEAM_CODEC": forced}
    argv = [sys.executable, "-c", code, *TYPED]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("code", "forced", "printed"),
    [
        (SHOW, "", "True False\n"),
        (SHOW, "compiled", "True False\n"),
        (SHOW, "pure", "False True\n"),
        (HIDE + SHOW, "", "False True\n"),
    ],
)
def test_choice(code: str, forced: str, printed: str) -> None:
    """All of them run compiled where they are, none where `pure` is asked for or they are not."""
    done = run(code, forced)
    assert done.stdout == printed, done.stderr


def test_forcing_what_is_missing_says_how_to_build_it() -> None:
    """To ask for the compiled form where there is none is an ImportError with the remedy."""
    done = run(HIDE + SHOW, "compiled")
    assert "ImportError: HORNBEAM_CODEC=compiled" in done.stderr
    assert "build" in done.stderr


@pytest.mark.parametrize("name", TYPED)
def test_compiled_modules_are_those_of_their_sources(name: str) -> None:
    """What runs was compiled from its source as it is: after a change `make` sees to it."""
    sources = (FOLDER / f"{name}.py", FOLDER / f"{name}.pxd")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    assert json.loads(COMPILED.read_text())[name] == digest, "run make build"
