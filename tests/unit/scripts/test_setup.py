# SPDX-License-Identifier: Apache-2.0
"""The package's build: without a working compiler it says so and goes on with the pure codec."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

TINY = "def answer():\n    return 42\n"


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Builds in place a copy of the project whose codec, and whose path of a request, are tiny."""
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    built = shutil.ignore_patterns("*.so", "*.c", "*.pxd", "*.egg-info", "__pycache__", "_beam")
    shutil.copytree(ROOT / "python", folder / "python", ignore=built)
    (folder / "python" / "hornbeam_erlang" / "_codec_compiled.pyx").write_text(TINY)
    (folder / "python" / "hornbeam_erlang" / "_tiny.py").write_text(TINY)
    (folder / "python" / "hornbeam_erlang" / "_tiny.pxd").write_text("cpdef int answer()\n")
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(("compiler", "built"), [({}, True), ({"CC": "false"}, False)])
def test_codec_is_built_or_done_without(
    tmp_path: Path, compiler: dict[str, str], built: bool
) -> None:
    """With a compiler the extensions lie beside their sources; without one the build says so."""
    done = build(tmp_path, **compiler)
    assert done.returncode == 0, done.stderr
    extensions = {path.name.partition(".")[0] for path in tmp_path.rglob("python/**/*.so")}
    assert extensions == ({"_codec_compiled", "_tiny"} if built else set())
    assert ("pure Python will be used" in done.stderr) is not built
