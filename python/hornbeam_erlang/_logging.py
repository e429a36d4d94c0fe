# SPDX-License-Identifier: Apache-2.0
"""Where hornbeam's own log records go when the application has not said: to standard error, with
time and level.

Called by the main thread after the application was loaded.
"""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"


class FallbackHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes only while the root logger has no handler: an application may configure logging at
    any time, and then its handlers get our records as they get everybody's."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


def install_fallback() -> None:
    """Gives the logger `hornbeam` a fallback handler, unless the application gave it one."""
    log = logging.getLogger("hornbeam")
    if not log.handlers:
        handler = FallbackHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT))
        log.addHandler(handler)
