# SPDX-License-Identifier: Apache-2.0
"""WSGI applications for the tests; runs in a real worker.

`router` serves the application that the first segment of the path names, inside
`wsgiref.validate.validator`, which raises on whatever PEP 3333 forbids either side. `raw` serves
the same without it, for what the validator itself would hide from the server or stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

import unit.wsgi.request_applications
import unit.wsgi.response_applications  # noqa: F401
from unit.wsgi.registry import APPLICATIONS


def _find(environ: WSGIEnvironment) -> WSGIApplication:
    return APPLICATIONS[environ["PATH_INFO"].split("/")[1] or "environ"]


def router(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return validator(_find(environ))(environ, start_response)


def raw(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _find(environ)(environ, start_response)
