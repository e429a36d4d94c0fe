# SPDX-License-Identifier: Apache-2.0
"""Where the emulator and the compiled Erlang code are.

Runs in: the process that starts a node, for the `hornbeam` command and for `hornbeam_erlang.start`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import StartFailed

APPLICATIONS = ("hornbeam", "cowboy", "cowlib", "ranch")
ROOT = Path(__file__).resolve().parents[2]
PACKAGED = Path(__file__).resolve().parent / "_beam"  # what a wheel brings

NO_ERL = (
    "there is no Erlang on PATH (looked for the program erl): install Erlang/OTP 25 or later,"
    " on Debian and Ubuntu with: apt-get install erlang-base erlang-crypto erlang-ssl;"
    " on macOS: brew install erlang; in conda: conda install -c conda-forge erlang"
)
NOT_BUILT = "{} is not built: run make in {}"


def erl() -> str:
    """The program that starts the emulator. Raises: StartFailed."""
    found = shutil.which("erl")
    if found is None:
        raise StartFailed(NO_ERL)
    return found


def code_folder(application: str, root: Path, erl_libs: str, packaged: Path = PACKAGED) -> Path:
    """The folder with the compiled modules of `application`.

    Args: root: of the source tree; erl_libs: the variable ERL_LIBS; packaged: of the wheel.
    Raises: StartFailed: it is nowhere.
    """
    places = [packaged / application, root / "_build" / "default" / "lib" / application]
    for library in (root / ".deps" / "lib", *map(Path, filter(None, erl_libs.split(":")))):
        places += [library / application, *library.glob(f"{application}-*")]
    for place in places:
        if (place / "ebin" / f"{application}.app").exists():
            return place / "ebin"
    raise StartFailed(NOT_BUILT.format(application, root))


def code_folders(root: Path = ROOT) -> list[str]:
    """The folders of hornbeam and of what it depends on. Raises: StartFailed."""
    erl_libs = os.environ.get("ERL_LIBS", "")
    return [str(code_folder(name, root, erl_libs)) for name in APPLICATIONS]
