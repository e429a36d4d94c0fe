# SPDX-License-Identifier: Apache-2.0
"""What a Python node is called, and the secret it shares with others. Runs in any thread."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from . import _cookie
from .errors import NotConnected

__all__ = ["find_cookie", "full_name"]


def full_name(name: str) -> str:
    """`name` with a host. Raises ValueError: no node can be called so."""
    full = name if "@" in name else f"{name}@{socket.gethostname().partition('.')[0]}"
    local, _, host = full.partition("@")
    if not local or not host or "@" in host or len(full) > 255 or not full.isprintable():
        raise ValueError(f"the name of a node is name@host, at most 255 characters, not {name!r}")
    return full


def find_cookie(cookie: str | None, file: str | Path | bool) -> str:
    """The cookie that was given, else that of the environment, else that of a file if asked.

    Raises:
        NotConnected: there is none.
        ValueError: no node can have this one.
        CookieError: the file cannot be used.
    """
    if cookie is None:
        cookie = os.environ.get(_cookie.VARIABLE)
    if cookie is None and file:
        cookie = _cookie.read(_cookie.home_file() if file is True else Path(file))
    if cookie is None:
        advice = f"give cookie=…, cookie_file=…, or the variable {_cookie.VARIABLE}"
        raise NotConnected("node without a cookie", advice)
    if not cookie or len(cookie) > 255 or not all(ord(char) < 256 for char in cookie):
        raise ValueError("a cookie is 1 to 255 latin-1 characters")
    return cookie
