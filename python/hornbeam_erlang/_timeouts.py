# SPDX-License-Identifier: Apache-2.0
"""How long calls may take whose keyword arguments belong to whom they call.

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

    It is what `call` and `execute` wait for the result, `stream` and `stream_async` for each item,
    and what a task of `execute_async` may take. A block inside wins. An argument `timeout_ms` of
    `execute` would be one of the handler.

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
