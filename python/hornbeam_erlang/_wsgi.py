# SPDX-License-Identifier: Apache-2.0
"""Serves one request with a WSGI application (PEP 3333).

Runs in the thread that took the request, one request at a time per thread. Whatever the
application does, the exchange is closed exactly once, the iterable is closed, and what went wrong
is logged once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from ._config import Config
from ._environ import EnvironMaker
from ._hub import Hub
from ._tracebacks import application_part, format_exception
from ._version import __version__
from ._wire import ABORT, Message, cut_text
from ._wsgi_file import FileWrapper
from ._wsgi_headers import BadResponse
from ._wsgi_input import streamed_input
from ._wsgi_response import (
    LengthMismatch,
    NoResponse,
    Response,
    file_region,
)

# Failures of the response rather than of the code: their message says all, a traceback would lead
# to our own frames.
_NAMED: tuple[tuple[type[BaseException], str], ...] = (
    (BadResponse, "bad_response"),
    (NoResponse, "no_response"),
    (LengthMismatch, "length_mismatch"),
)


class WSGI:
    """The server side of WSGI for one application.

    Args:
        hub: the connection to the node.
        application: the WSGI callable.
        config: what BOOT said.
    """

    def __init__(self, hub: Hub, application: Callable[..., Any], config: Config) -> None:
        self._hub = hub
        self._application = application
        self._files = config.files
        self._environ = EnvironMaker(_template(config), config.script_name)

    def serve(self, message: Message) -> None:
        """Serves OPEN `message`, which has started, and closes its exchange.

        Raises: ProtocolError: `bad_message`, for a Connection that does not decode.
        """
        response = Response(self._hub, message[1], message[3] == b"HEAD")
        environ = self._environ.make(message)
        if message[2]:
            response.timeout = message[2]
        if "wsgi.input" not in environ:
            environ["wsgi.input"] = streamed_input(self._hub, message)
        iterable: Any = None
        try:
            iterable = self._application(environ, response.start_response)
            kind = type(iterable)
            if kind is list or kind is tuple:
                response.answer(iterable)
                return
            self._send(response, iterable)
        except BaseException as exc:
            self._fail(message, response, exc)
        close = getattr(iterable, "close", None)
        if close is not None:
            self._close(message, close)

    def _send(self, response: Response, iterable: Any) -> None:
        region = file_region(iterable) if self._files else None
        if region is None:
            response.stream(iterable)
        else:
            response.send_file(region)

    def _close(self, message: Message, close: Callable[[], object]) -> None:
        try:
            close()
        except BaseException as exc:
            # The response has been answered for already; this can only be told to whoever reads
            # the log.
            _log(message, "close() of the response of", exc)

    def _fail(self, message: Message, response: Response, exc: BaseException) -> None:
        """Closes the exchange with ABORT, unless it was answered before `exc` came."""
        response.discard()
        ident = message[1]
        flow = self._hub.session.flows.get(ident)
        name, text = "app_error", ""
        if flow is not None and flow.cancelled:
            name = "cancelled"
        if not isinstance(exc, ConnectionAbortedError) or name != "cancelled":
            for type_, special in _NAMED:
                if isinstance(exc, type_):
                    name, text = special, str(exc)
            _log(message, "", exc, text)
        if ident in self._hub.session.exchanges:
            detail = cut_text(text or format_exception(exc))
            self._hub.send((ABORT, ident, name.encode(), detail), len(detail))


def _log(message: Message, what: str, exc: BaseException, text: str = "") -> None:
    method, target = message[3].decode("latin-1"), message[4].decode("latin-1")
    log = logging.getLogger("hornbeam.wsgi")
    if text:
        log.error("%s %s: %s", method, target, text)
        return
    info = (type(exc), exc, application_part(exc.__traceback__))
    log.error("%s%s %s raised", f"{what} " if what else "", method, target, exc_info=info)


def _template(config: Config) -> dict[str, Any]:
    return {
        "SERVER_SOFTWARE": f"hornbeam/{__version__}",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": config.threads > 1,
        "wsgi.multiprocess": config.multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }
