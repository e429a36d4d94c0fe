# SPDX-License-Identifier: Apache-2.0
"""Adds the compiled codec to the package described in pyproject.toml.

Runs in: the build. The codec has a twin in pure Python, so a machine without Cython or without a
C compiler installs all the same and is told what it goes without.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = "python/hornbeam_erlang/_codec_compiled.pyx"
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


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildCodec})
