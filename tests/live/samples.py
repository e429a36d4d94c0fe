# SPDX-License-Identifier: Apache-2.0
"""Bodies of every size that no two places of which are alike, made the same way each time.

Runs in: the tests.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

MIB = 1024 * 1024


def sample(size: int) -> bytes:
    """`size` bytes that do not repeat and hold every byte value."""
    return random.Random(size).randbytes(size)


def pieces(data: bytes, size: int = 65536) -> Iterator[bytes]:
    """`data` in pieces: a body whose length the client does not tell."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def digest(data: bytes) -> list[object]:
    """What the applications answer about a body: its length and SHA-256."""
    return [len(data), hashlib.sha256(data).hexdigest()]
