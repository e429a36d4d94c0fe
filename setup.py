# SPDX-License-Identifier: Apache-2.0
"""Adds to the package described in pyproject.toml what is compiled: the codec, the path of a
request, the Erlang code.

Runs in: the build. The codec has a twin in pure Python, and the path of a request is Python itself,
so a machine without Cython or without a C compiler installs all the same and is told what it goes
without. Without the Erlang code the package is the Python half alone, for nodes that have the OTP
application already.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
# What was compiled of an earlier version may lie there: the new one is made without it.
os.environ["HORNBEAM_CODEC"] = "pure"

from hornbeam_erlang._emulator import APPLICATIONS, code_folder
from hornbeam_erlang.errors import StartFailed

ROOT = Path(__file__).resolve().parent
FOLDER = "python/hornbeam_erlang"
CODEC = "_codec_compiled"
# Where Cython writes its C.
C_FOLDER = "build/cython"
# What each module that lies compiled beside its source was compiled from.
COMPILED = ROOT / "build" / "compiled.json"
NO_NODE = "hornbeam: the Erlang half is not part of this package: {}"
REBAR_SECONDS = 300
WITHOUT = "hornbeam: not compiled, pure Python will be used: {}"


class BuildCompiled(build_ext):
    """Builds the extensions, or reports why not and lets the installation go on without them."""

    def build_extensions(self) -> None:
        self.failed: list[Extension] = []
        super().build_extensions()
        path = [each for each in self.extensions if not each.name.endswith(CODEC)]
        if any(each in self.failed for each in path):
            self.failed += path
        for each in self.failed:
            self.remove(each)
        self.extensions = [each for each in self.extensions if each not in self.failed]

    def copy_extensions_to_source(self) -> None:
        """Puts them beside the sources, and notes from which ones they were made."""
        super().copy_extensions_to_source()
        COMPILED.parent.mkdir(exist_ok=True)
        COMPILED.write_text(json.dumps({name: digest(name) for name in typed_modules()}))

    def remove(self, ext: Extension) -> None:
        """Removes what was built of `ext`, now or earlier: Python would take it for the source."""
        Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        for stale in Path(FOLDER).glob(f"{ext.name.rpartition('.')[2]}.*.so"):
            stale.unlink()

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


def typed_modules() -> list[str]:
    """Names of the modules whose types are declared in a .pxd beside them: the path of a request.
    They call each other by those types, so either all of them are compiled or none."""
    return sorted(path.stem for path in Path(FOLDER).glob("*.pxd"))


def digest(name: str) -> str:
    """Of the source of a typed module and of its types."""
    sources = (Path(FOLDER, f"{name}.py"), Path(FOLDER, f"{name}.pxd"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def extensions() -> list[Extension]:
    """The codec and the path of a request; an empty list where Cython is missing."""
    if not Path(FOLDER, f"{CODEC}.pyx").exists():
        return []
    try:
        from Cython.Build import cythonize
    except ImportError as error:
        print(WITHOUT.format(error), file=sys.stderr)
        return []
    sources = [f"{CODEC}.pyx", *(f"{name}.py" for name in typed_modules())]
    built: list[Extension] = cythonize(
        [extension(source) for source in sources],
        include_path=["python"],
        build_dir=C_FOLDER,
        # Annotations are for mypy; C types are those of the .pxd alone.
        compiler_directives={"language_level": "3", "annotation_typing": False},
    )
    return built


def extension(source: str) -> Extension:
    """One module of the package, compiled from `source`."""
    name = f"hornbeam_erlang.{Path(source).stem}"
    return Extension(name, [f"{FOLDER}/{source}"], extra_compile_args=["-O3"])


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCompiled, "build_py": BuildNode})
