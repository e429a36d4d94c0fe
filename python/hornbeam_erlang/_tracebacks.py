# SPDX-License-Identifier: Apache-2.0
"""Exceptions as texts: tracebacks as the application's author wants them, without the frames that
lead from hornbeam to the application; texts that can be sent. Runs in any thread."""

from __future__ import annotations

import os
import traceback
from types import FrameType, TracebackType

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORT_MACHINERY = ("<frozen importlib", os.path.join("importlib", "__init__.py"))


def application_part(tb: TracebackType | None) -> TracebackType | None:
    """The part of `tb` that begins in the application; all of it when it never leaves hornbeam."""
    part = tb
    while part is not None and _is_ours(part.tb_frame):
        part = part.tb_next
    return tb if part is None else part


def _is_ours(frame: FrameType) -> bool:
    # Compiled modules name their source as the compiler was given it, but have their globals.
    if frame.f_globals.get("__package__") == __package__:
        return True
    filename = frame.f_code.co_filename
    return filename.startswith((_OURS, _IMPORT_MACHINERY[0])) or filename.endswith(
        _IMPORT_MACHINERY[1]
    )


def format_exception(exc: BaseException) -> str:
    """`exc` with its causes as Python prints it, beginning in the application."""
    return "".join(traceback.format_exception(type(exc), exc, application_part(exc.__traceback__)))


def message_of(exc: BaseException) -> str:
    """The text of `exc`, whatever its class makes of that."""
    try:
        return str(exc)
    except Exception:  # the application's own __str__ fails: as `traceback` puts it
        return "<exception str() failed>"


def sendable(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 binary can hold; names of files may."""
    return text.encode("utf-8", "backslashreplace").decode()
