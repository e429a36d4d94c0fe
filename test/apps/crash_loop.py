# SPDX-License-Identifier: Apache-2.0
"""Loads, and ends a moment later, as long as the file HORNBEAM_TEST_CRASHES names is there."""

import os
import threading
import time
from wsgiref.validate import validator

FILE = os.environ["HORNBEAM_TEST_CRASHES"]


def _end():
    time.sleep(0.02)
    if os.path.exists(FILE):
        os._exit(3)


threading.Thread(target=_end, daemon=True).start()


@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"alive"]
