# SPDX-License-Identifier: Apache-2.0
"""The ledger: 16 shared bytes that tell the node which exchanges have started (PROTOCOL.md,
section 7).

The cells are stored by whichever worker thread takes an exchange, under the hub's mutex; the node
writes the second.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    Cells: TypeAlias = memoryview[int]

STARTED = 0  # index of the worker's cell: the highest exchange that has started
LIMIT = 1  # index of the node's cell: 0, or the first exchange that must not start


def open_ledger(path: bytes) -> Cells:
    """Maps the ledger file at `path`; the result is indexed with `STARTED` and `LIMIT`.

    Storing into the view is one aligned 8-byte store (about 40 ns), and readers see it even after
    a `kill -9`.

    Raises:
        OSError: the file cannot be opened or mapped.
        ValueError: it does not have 16 bytes.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if size != 16:
            raise ValueError(f"ledger {os.fsdecode(path)} has {size} bytes, expected 16")
        _check_machine()
        return memoryview(mmap.mmap(fd, 16)).cast("Q")
    finally:
        os.close(fd)


def private_ledger() -> Cells:
    """Two cells nobody shares, for connections without a ledger."""
    return memoryview(bytearray(16)).cast("Q")


def _check_machine() -> None:
    # The cells are little endian by the protocol and are stored natively for the sake of one plain
    # store.
    if sys.byteorder != "little":
        raise ValueError("the ledger needs a little-endian machine; start the worker without one")
