# SPDX-License-Identifier: Apache-2.0
"""An application that takes its time to load: HORNBEAM_TEST_LOAD milliseconds."""

import os
import time
from wsgiref.validate import validator

time.sleep(int(os.environ["HORNBEAM_TEST_LOAD"]) / 1000)


@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"loaded"]
