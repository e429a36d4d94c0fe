# SPDX-License-Identifier: Apache-2.0
"""What a process has one of at a time, such as the node that it has started: ended when the process
ends, unknown in a forked child.

Used in the thread that starts or ends it, which holds the lock meanwhile.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Generic, TypeVar

from .errors import CallTimeout

T = TypeVar("T")


class Current(Generic[T]):
    """The one of its kind.

    Args: end: ends it.

    Attributes:
        value: it, None while there is none.
        lock: of all kinds together: who starts a node waits for who connects to one.
    """

    lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, end: Callable[[T], None]) -> None:
        self.value: T | None = None
        self._end = end
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._in_forked_child)

    @contextmanager
    def turn(self, operation: str, seconds: float) -> Iterator[None]:
        """Holds the lock. Raises: CallTimeout: another thread had it for so long."""
        lock = Current.lock
        if not lock.acquire(timeout=seconds):
            raise CallTimeout(operation, seconds)
        try:
            yield
        finally:
            lock.release()

    def _at_exit(self) -> None:
        if self.value is not None:
            self._end(self.value)

    def _in_forked_child(self) -> None:
        # The thread that held it is not there.
        Current.lock = threading.RLock()
        self.value = None
