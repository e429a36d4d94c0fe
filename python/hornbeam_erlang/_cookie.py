# SPDX-License-Identifier: Apache-2.0
"""The cookie of an Erlang cluster: read from a file that nobody else may read, or made at random.

Runs in: whatever process starts a node or joins one. Whoever knows the cookie may run any code on
every node (docs/SECURITY.md), so it is never put on a command line, which all users can see.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile

# The variable that holds a cookie where files are unhandy, as in containers.
VARIABLE = "HORNBEAM_COOKIE"
FILE_NAME = ".erlang.cookie"

# What Erlang takes from a file: an atom of one line. No spaces, so that none can be lost.
LEGAL = re.compile(r"[!-~]{1,255}")
RANDOM_BYTES = 32


class CookieError(Exception):
    """There is no cookie that may be used; the text says why and what to do."""


def home_file() -> Path:
    """Erlang's own file, from which every node of this user takes its cookie."""
    return Path.home() / FILE_NAME


def check(cookie: str, source: str) -> str:
    """`cookie` if it can be one. Args: source: what to call its origin in the error."""
    if not LEGAL.fullmatch(cookie):
        raise CookieError(f"{source}: a cookie is 1 to 255 visible ASCII characters without spaces")
    return cookie


def read(path: Path) -> str:
    """The cookie in a file that only its owner may read.

    Raises: CookieError: the file is missing, others may read or write it, or it holds no cookie.
    """
    try:
        with path.open(encoding="ascii") as file:
            state = os.fstat(file.fileno())
            text = file.read(1024)
    except (OSError, UnicodeDecodeError) as reason:
        raise CookieError(f"cannot read the cookie file {path}: {reason}") from reason
    if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
        raise CookieError(
            f"others may read or write the cookie file {path}: run chmod 600 {path},"
            " and change the cookie on every node if they may have read it"
        )
    return check(text.strip(" \r\n"), str(path))


def ensure(path: Path) -> str:
    """The cookie in `path`; where there is no file, a random one is written there first (0600).

    Two processes that start at once get the same one. Raises: CookieError, as `read`.
    """
    if not path.exists():
        try:
            _create(path)
        except OSError as reason:
            raise CookieError(f"cannot write the cookie file {path}: {reason}") from reason
    return read(path)


def _create(path: Path) -> None:
    """Writes it whole under another name, then links it: whoever is first wins."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, encoding="ascii") as file:
        file.write(secrets.token_hex(RANDOM_BYTES))  # mkstemp made it 0600
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def chosen(file: str | None, variable: str | None) -> tuple[str, bool]:
    """The cookie that a person asked for, and whether it is that of `home_file`.

    Args: file: a path, or None for Erlang's own file. variable: the text of HORNBEAM_COOKIE, None
        when it is not set.
    Raises: CookieError: both are given, or what is given cannot be used.
    """
    if variable is not None:
        if file is not None:
            raise CookieError(f"there is a cookie file and the variable {VARIABLE}: use one")
        return check(variable, f"the variable {VARIABLE}"), False
    if file is None:
        return ensure(home_file()), True
    return ensure(Path(file)), False
