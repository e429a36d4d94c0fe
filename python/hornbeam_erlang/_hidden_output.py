# SPDX-License-Identifier: Apache-2.0
"""What Erlang functions print that were called from Python: it is logged, at level INFO.

A function that is called by `rpc` prints where its caller would; without an answer to its request
it would wait for ever. Runs in the node's event loop. Source: Erlang's I/O protocol (stdlib).
"""

from __future__ import annotations

import logging
from typing import Any, Final, TypeGuard

from .terms import Atom, Pid

__all__ = ["is_io_request", "printed"]

log = logging.getLogger("hornbeam.distribution.output")
_OK: Final = Atom("ok")
_UNSUPPORTED: Final = (Atom("error"), Atom("enotsup"))


def is_io_request(value: object) -> TypeGuard[tuple[Any, Pid, Any, Any]]:
    """Whether this is {io_request, From, ReplyAs, Request}."""
    return (
        isinstance(value, tuple)
        and len(value) == 4
        and value[0] == "io_request"
        and isinstance(value[1], Pid)
    )


def printed(request: Any) -> object:
    """Logs what is to be printed, and the answer to the request."""
    if not isinstance(request, tuple) or not request or request[0] != "put_chars":
        return _UNSUPPORTED
    if len(request) == 3:
        log.info("%s", _text(request[2]))
    elif len(request) == 5:
        # {put_chars, Encoding, Module, Function, Args}: what Erlang would call to make the text.
        log.info("%s:%s%r", request[2], request[3], request[4])
    return _OK


def _text(chars: object) -> str:
    """Text of an iolist: text, bytes, numbers of characters, lists of them."""
    if isinstance(chars, list):
        return "".join(map(_text, chars))
    if isinstance(chars, bytes):
        return chars.decode("utf-8", "replace")
    return chr(chars) if isinstance(chars, int) and 0 <= chars < 0x110000 else str(chars)
