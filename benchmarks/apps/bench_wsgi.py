# SPDX-License-Identifier: Apache-2.0
"""What the WSGI servers are measured with: `/` a line of text, `/large` 64 KiB of it."""

from collections.abc import Callable, Iterable
from typing import Any

BODIES = {"/": b"Hello from Hornbeam!", "/large": b"x" * 65536}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = BODIES[environ["PATH_INFO"]]
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
