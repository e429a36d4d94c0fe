# SPDX-License-Identifier: Apache-2.0
"""Values and external terms at the edge of a Python node, with one bound for both directions.

Runs in any thread.
"""

from __future__ import annotations

from typing import Any, Final

from . import codec
from ._distribution_signals import MAX_MESSAGE, Encoded

__all__ = ["decoded", "encoded"]

# Containers of a value may take 16 times as much memory, so that this is no less for short ones.
_LEAST: Final = 32 * 1024 * 1024


def encoded(value: object) -> Encoded:
    """A value as an external term, of 64 MiB at most. Raises TermError."""
    if type(value) is Encoded:
        return value
    return Encoded(codec.encode(value, max_size=MAX_MESSAGE))


def decoded(term: bytes) -> Any:
    """The value of a term that has arrived: its size was bounded when it did. Raises TermError."""
    return codec.decode(term, max_size=max(len(term), _LEAST))
