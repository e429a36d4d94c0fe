# SPDX-License-Identifier: Apache-2.0
"""The smallest WSGI application: one line of text for every request."""

from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from Hornbeam!"]
