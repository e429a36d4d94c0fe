# SPDX-License-Identifier: Apache-2.0
"""Which modules run compiled: those that every request passes are, where a compiler was there.

Runs in whichever thread imports the package first. Each of them is one source, NAME.py, compiled
with the types in NAME.pxd; without the compiled form Python takes the source. The environment
variable HORNBEAM_CODEC chooses for them as it does for the codec: `pure` takes the sources all the
same, `compiled` is an ImportError where they were not compiled.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

VARIABLE = "HORNBEAM_CODEC"
_FOLDER = Path(__file__).parent
_HOW_TO_BUILD = (
    "HORNBEAM_CODEC=compiled, but the path of a request is not compiled; build it with"
    " 'pip install --force-reinstall hornbeam-erlang', or 'make build' in a source tree"
)


class SourceFinder:
    """Finds a module of this package in its source, though it is compiled, too."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`; None for what is no module of this package."""
        package, _, name = fullname.rpartition(".")
        file = _FOLDER / f"{name}.py"
        if package != __package__ or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(fullname, file)


def check() -> None:
    """Raises: ImportError: the compiled form is asked for, and not there."""
    if os.environ.get(VARIABLE) == "compiled" and not is_compiled():
        raise ImportError(_HOW_TO_BUILD)


def is_compiled() -> bool:
    """Whether the modules that every request passes run compiled; they are all imported then."""
    from . import _session

    return not str(_session.__file__).endswith(".py")


if os.environ.get(VARIABLE) == "pure":
    # Modules that are imported from now on come from their sources.
    sys.meta_path.insert(0, SourceFinder)
