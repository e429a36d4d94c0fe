# SPDX-License-Identifier: Apache-2.0
"""Phases of a connection and states of an exchange, as tables (PROTOCOL.md, 4 to 7), and what is
raised where they are not followed. Pure."""

from __future__ import annotations

from ._wire import (
    ABORT,
    ACCEPT,
    BEAT,
    BINARY,
    BODY_CREDIT,
    CALL,
    CAST,
    CLOSE,
    DATA,
    DRAIN,
    END,
    ERROR,
    EVENT_CREDIT,
    FAILED,
    FAULT,
    FILE,
    HEAD,
    HELLO,
    INFORM,
    ITEM,
    ITEM_CREDIT,
    NAMES,
    PUSH,
    READY,
    RESPONSE,
    RESULT,
    RETURN,
    REVOKE,
    STARTED,
    STREAM,
    TEXT,
    Message,
    ProtocolError,
)


class StateError(RuntimeError):
    """This side is about to break the protocol: a bug in hornbeam, not in what the node sent."""


def bad_state(message: Message, why: str) -> ProtocolError:
    """`bad_state` for a message of the node, with a text that names it."""
    about = f" {message[1]}" if len(message) > 1 and type(message[1]) is int else ""
    return ProtocolError("bad_state", f"{NAMES[message[0]]}{about}: {why}")


# Phases of the connection.
GREETING, GREETED, LOADING, SERVING, DRAINING, ENDED = (
    "greeting",
    "greeted",
    "loading",
    "serving",
    "draining",
    "ended",
)

# States of an exchange; an id without an entry is closed or was never opened.
QUEUED, RUNNING, STREAMING, CLOSED = "queued", "running", "streaming", "closed"
# The same of a WebSocket: not started, asked whether to accept, denied with a response that
# streams, accepted, closed by the worker.
OFFERED, ASKED, DENYING, ACCEPTED, CLOSING = "offered", "asked", "denying", "accepted", "closing"

# The state before the start of an exchange, and the state after it.
STARTS = {QUEUED: RUNNING, OFFERED: ASKED}

# What the worker may send in each state of an exchange, and the state after it. STARTED stands for
# the start itself, whether the node learns of it from the ledger or from the message.
TRANSITIONS: dict[str, dict[int, str]] = {
    QUEUED: {STARTED: RUNNING, RETURN: CLOSED, ABORT: CLOSED},
    RUNNING: {
        RESPONSE: CLOSED,
        HEAD: STREAMING,
        ABORT: CLOSED,
        BODY_CREDIT: RUNNING,
        INFORM: RUNNING,
        PUSH: RUNNING,
    },
    STREAMING: {
        DATA: STREAMING,
        FILE: STREAMING,
        END: CLOSED,
        ABORT: CLOSED,
        BODY_CREDIT: STREAMING,
        PUSH: STREAMING,
    },
    OFFERED: {STARTED: ASKED, RETURN: CLOSED, ABORT: CLOSED},
    ASKED: {ACCEPT: ACCEPTED, RESPONSE: CLOSED, HEAD: DENYING, ABORT: CLOSED},
    DENYING: {DATA: DENYING, FILE: DENYING, END: CLOSED, ABORT: CLOSED},
    ACCEPTED: {
        TEXT: ACCEPTED,
        BINARY: ACCEPTED,
        BODY_CREDIT: ACCEPTED,
        CLOSE: CLOSING,
        END: CLOSED,
        ABORT: CLOSED,
    },
    CLOSING: {BODY_CREDIT: CLOSING, END: CLOSED, ABORT: CLOSED},
}

_CALLS = {CALL, CAST, RESULT, FAULT, REVOKE, STREAM, ITEM, ITEM_CREDIT, EVENT_CREDIT}
_SERVING = frozenset({BEAT, ERROR, STARTED, RETURN} | _CALLS)

PHASES_TO_SEND: dict[str, frozenset[int]] = {
    GREETING: frozenset({HELLO, ERROR}),
    GREETED: frozenset({HELLO, BEAT, ERROR}),
    LOADING: frozenset({READY, FAILED, BEAT, ERROR} | _CALLS),
    SERVING: _SERVING | {DRAIN},
    DRAINING: _SERVING,
    ENDED: frozenset(),
}

# What is legal by the state of its exchange rather than by the phase.
EXCHANGE_CODES = frozenset(code for row in TRANSITIONS.values() for code in row) - {
    RETURN,
    STARTED,
}
