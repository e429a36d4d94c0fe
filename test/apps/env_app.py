# SPDX-License-Identifier: Apache-2.0
"""Answers with the environment variable that the path names; reached by three kinds of app spec."""

import os
from wsgiref.validate import validator


@validator
def application(environ, start_response):
    value = os.environ.get(environ["PATH_INFO"].strip("/"), "").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(value)))])
    return [value]


def create():
    return application


class Holder:
    application = staticmethod(application)
