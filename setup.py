# SPDX-License-Identifier: Apache-2.0
"""Adds the compiled codec and the compiled Erlang code to the package described in pyproject.toml.

Runs in: the build. The codec has a twin in pure Python, so a machine without Cython or without a
C compiler installs all the same and is told what it goes without. Without the Erlang code the
package is the Python half alone, for nodes that have the OTP application already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
# A compiled codec of an earlier version may lie there: the new one is made without it.
os.environ["HORNBEAM_CODEC"] = "pure"

from hornbeam_erlang._emulator import APPLICATIONS, code_folder
from hornbeam_erlang.errors import StartFailed

SOURCE = "python/hornbeam_erlang/_codec_compiled.pyx"
ROOT = Path(__file__).resolve().parent
NO_NODE = "hornbeam: the Erlang half is not part of this package: {}"
REBAR_SECONDS = 300
WITHOUT = "hornbeam: the compiled codec was not built, the pure Python one will be used: {}"


class BuildCodec(build_ext):
    """Builds the extension, or reports why not and lets the installation go on without it."""

    def build_extensions(self) -> None:
        self.failed: list[Extension] = []
        super().build_extensions()
        self.extensions = [each for each in self.extensions if each not in self.failed]

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:  # distutils, the compiler and the linker each raise their own
            print(WITHOUT.format(error), file=sys.stderr)
            self.failed.append(ext)


class BuildNode(build_py):
    """Adds the compiled Erlang applications, each as `hornbeam_erlang/_beam/<name>`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable installation runs from the tree
            self.add_node(Path(self.build_lib) / "hornbeam_erlang" / "_beam")

    def add_node(self, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        try:
            compile_node()
            folders = {name: find(name) for name in APPLICATIONS}
        except (StartFailed, OSError, subprocess.SubprocessError) as error:
            print(NO_NODE.format(error), file=sys.stderr)
            return
        for name, ebin in folders.items():
            shutil.copytree(ebin, target / name / "ebin")
            for notice in ebin.parent.glob("LICENSE*"):
                shutil.copy(notice, target / name)


def find(name: str) -> Path:
    """The folder with the compiled modules; not that of a package which is installed already."""
    return code_folder(name, ROOT, os.environ.get("ERL_LIBS", ""), packaged=ROOT / "none")


def compile_node() -> None:
    """Compiles the Erlang half, unless that has been done (`make`)."""
    try:
        find("hornbeam")
    except StartFailed:
        subprocess.run(["rebar3", "compile"], cwd=ROOT, check=True, timeout=REBAR_SECONDS)


def extensions() -> list[Extension]:
    """The codec as an extension; an empty list where Cython is missing."""
    if not Path(SOURCE).exists():
        return []
    try:
        from Cython.Build import cythonize
    except ImportError as error:
        print(WITHOUT.format(error), file=sys.stderr)
        return []
    codec = Extension("hornbeam_erlang._codec_compiled", [SOURCE], extra_compile_args=["-O3"])
    built: list[Extension] = cythonize([codec], compiler_directives={"language_level": "3"})
    return built


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCodec, "build_py": BuildNode})
