# SPDX-License-Identifier: Apache-2.0
"""`wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling"): real files are sent
by the node.

Runs in the thread that serves the request.
"""

from __future__ import annotations

import io
import os
import stat
from typing import Any, NamedTuple

BLOCK_SIZE = 65536

# Only types whose bytes are those of the file: a subclass or a wrapper (NamedTemporaryFile, which
# deletes its file on close; GzipFile) may read differently.
_PLAIN_FILES = (io.BufferedReader, io.BufferedRandom, io.FileIO)


class Region(NamedTuple):
    """A part of a file that the node can open."""

    path: bytes
    offset: int
    size: int  # bytes from offset to the end of the file, as it is now


class FileWrapper:
    """What `environ['wsgi.file_wrapper'](filelike, block_size)` returns: an iterable of blocks."""

    def __init__(self, filelike: Any, block_size: int = BLOCK_SIZE) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.block_size)
        if block:
            return block
        raise StopIteration

    def region(self) -> Region | None:
        """The rest of the file, when it is a regular file that still goes by its name."""
        if type(self.filelike) not in _PLAIN_FILES:
            return None
        try:
            status = os.fstat(self.filelike.fileno())
            path = os.path.abspath(os.fsencode(self.filelike.name))
            if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, os.stat(path)):
                return None
            offset = self.filelike.tell()
        except (OSError, ValueError, TypeError):
            return None  # closed, deleted or opened by number: reading it says what is the matter
        return Region(path, offset, max(0, status.st_size - offset))
