# SPDX-License-Identifier: Apache-2.0
"""Loads, and ends a moment later, as soon and as long as there is the file that
HORNBEAM_TEST_CRASHES names. Each time it writes there when, in milliseconds of the monotonic clock:
`begin end`, a line each."""

import os
import threading
import time
from wsgiref.validate import validator

FILE = os.environ["HORNBEAM_TEST_CRASHES"]


def _milliseconds():
    return time.monotonic_ns() // 1_000_000


BEGIN = _milliseconds()


def _end():
    while True:
        time.sleep(0.02)
        try:
            file = os.open(FILE, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            continue
        os.write(file, f"{BEGIN} {_milliseconds()}\n".encode())
        os._exit(3)


threading.Thread(target=_end, daemon=True).start()


@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"alive"]
