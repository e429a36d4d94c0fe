# SPDX-License-Identifier: Apache-2.0
"""Checks the layout of the Erlang sources; with --fix mends what can be mended mechanically.

Runs in: `make lint-erl` and `make fmt-erl`. The formatter of the field, erlfmt, comes only from the
Erlang package registry, which the build must do without; this holds the rules that a script can:
the licence on the first line, 100 columns, spaces only, no trailing blanks, one final newline.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COLUMNS = 100
LICENCE = "SPDX-License-Identifier: Apache-2.0"
PATTERNS = ("*.erl", "*.hrl", "*.app.src", "rebar.config", "rebar.config.script", "*.config")
LICENSED = (".erl", ".hrl")


def sources() -> list[Path]:
    """The Erlang files that git knows or would take."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PATTERNS],
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for path in map(Path, listing.stdout.splitlines()) if path.exists()]


def faults(path: Path, text: str) -> list[str]:
    """What is wrong with `text`, each as `path:line: sentence`."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMNS:
            found.append(f"{path}:{number}: {len(line)} columns, at most {COLUMNS} are allowed")
        if "\t" in line:
            found.append(f"{path}:{number}: a tab; indent with 4 spaces")
        if line != line.rstrip():
            found.append(f"{path}:{number}: blanks at the end of the line")
    if not text.endswith("\n") or text.endswith("\n\n"):
        found.append(f"{path}: must end with exactly one newline")
    if path.suffix in LICENSED and LICENCE not in text.split("\n", 1)[0]:
        found.append(f"{path}:1: must be a comment with {LICENCE}")
    return found


def mended(text: str) -> str:
    """`text` with tabs, trailing blanks and final newlines put right."""
    lines = [line.expandtabs(4).rstrip() for line in text.split("\n")]
    return "\n".join(lines).rstrip("\n") + "\n"


def main(fix: bool) -> int:
    found = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if fix and text != mended(text):
            path.write_text(text := mended(text), encoding="utf-8")
        found += faults(path, text)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(fix="--fix" in sys.argv[1:]))
