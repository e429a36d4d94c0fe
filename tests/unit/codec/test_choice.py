# SPDX-License-Identifier: Apache-2.0
"""Which twin `hornbeam_erlang.codec` is, and how to force one. Each case is a new process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hornbeam_erlang import _codec_compiled, _codec_pure, codec

SHOW = "import hornbeam_erlang.codec as c; print(c.NAME, c.decode(c.encode([1, 'x'])))"
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "hornbeam_erlang._codec_compiled":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hide())
"""


def run(code: str, forced: str | None) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "HORNBEAM_CODEC"}
    if forced is not None:
        env["HORNBEAM_CODEC"] = forced
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("code", "forced", "name"),
    [
        (SHOW, None, "compiled"),
        (SHOW, "", "compiled"),
        (SHOW, "compiled", "compiled"),
        (SHOW, "pure", "pure"),
        (HIDE + SHOW, None, "pure"),
        (HIDE + SHOW, "pure", "pure"),
    ],
)
def test_choice(code: str, forced: str | None, name: str) -> None:
    """The compiled codec is taken when it is there, and the environment can force either."""
    done = run(code, forced)
    assert done.stdout == f"{name} [1, 'x']\n", done.stderr


def test_forcing_what_is_missing_says_how_to_build_it() -> None:
    """To force a compiled codec that was not built is an ImportError with the remedy."""
    done = run(HIDE + SHOW, "compiled")
    assert done.returncode == 1
    assert "ImportError: HORNBEAM_CODEC=compiled" in done.stderr
    assert "build" in done.stderr


def test_unknown_choice_is_named() -> None:
    """Another value of HORNBEAM_CODEC is an ImportError that quotes it."""
    assert "not 'fast'" in run(SHOW, "fast").stderr


def test_twins_offer_the_same_names() -> None:
    """The public names of the twins are the same."""
    assert _codec_compiled.__all__ == _codec_pure.__all__ == codec.__all__
