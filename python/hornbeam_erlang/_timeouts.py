# SPDX-License-Identifier: Apache-2.0
"""How long calls may take that have no argument for it.

Runs in any thread or task; the choice is that of the context (`contextvars`).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from ._wire import MAX_TIMEOUT

_TIMEOUT_MS: ContextVar[int | None] = ContextVar("hornbeam_timeout", default=None)


@contextmanager
def call_timeout(timeout_ms: int) -> Generator[None, None, None]:
    """Sets the time of the calls made in the `with` block, in this thread or task.

        with call_timeout(120_000):
            vector = execute("embeddings", "encode", text)

    It is what `call` and `execute` wait for the result, instead of 5 s and 30 s; `stream` and
    `stream_async` for each item; what a task of `execute_async` may take, instead of an hour; and
    what `state_*`, `pipeline`, `subscribe`, `register_hook` and the like wait for the node, instead
    of 5 s. A block inside wins. An argument `timeout_ms` of `execute` would be one of the handler.

    Args: timeout_ms: milliseconds, 1..2**32-1.

    Raises: ValueError.
    """
    if not 1 <= timeout_ms <= MAX_TIMEOUT:
        raise ValueError(f"call_timeout: timeout_ms is {timeout_ms}, expected 1..{MAX_TIMEOUT}")
    token = _TIMEOUT_MS.set(timeout_ms)
    try:
        yield
    finally:
        _TIMEOUT_MS.reset(token)


def chosen(default_ms: int) -> int:
    """The milliseconds that `call_timeout` has set here, else `default_ms`."""
    timeout_ms = _TIMEOUT_MS.get()
    return default_ms if timeout_ms is None else timeout_ms
