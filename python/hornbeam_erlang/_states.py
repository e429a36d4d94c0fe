# SPDX-License-Identifier: Apache-2.0
"""Phases of a connection and states of an exchange, as tables (PROTOCOL.md, 4 to 7). Pure."""

from __future__ import annotations

from ._wire import (
    ABORT,
    BEAT,
    BODY_CREDIT,
    CALL,
    CAST,
    DATA,
    END,
    ERROR,
    FAILED,
    FAULT,
    FILE,
    HEAD,
    HELLO,
    READY,
    RESPONSE,
    RESULT,
    RETURN,
    REVOKE,
    STARTED,
)

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

# What the worker may send in each state of an exchange, and the state after it. STARTED stands for
# the start itself, whether the node learns of it from the ledger or from the message.
TRANSITIONS: dict[str, dict[int, str]] = {
    QUEUED: {STARTED: RUNNING, RETURN: CLOSED, ABORT: CLOSED},
    RUNNING: {
        RESPONSE: CLOSED,
        HEAD: STREAMING,
        ABORT: CLOSED,
        BODY_CREDIT: RUNNING,
    },
    STREAMING: {
        DATA: STREAMING,
        FILE: STREAMING,
        END: CLOSED,
        ABORT: CLOSED,
        BODY_CREDIT: STREAMING,
    },
}

PHASES_TO_SEND: dict[str, frozenset[int]] = {
    GREETING: frozenset({HELLO, ERROR}),
    GREETED: frozenset({HELLO, BEAT, ERROR}),
    LOADING: frozenset({READY, FAILED, BEAT, ERROR}),
    SERVING: frozenset({BEAT, ERROR, CALL, CAST, RESULT, FAULT, REVOKE, STARTED, RETURN}),
    DRAINING: frozenset({BEAT, ERROR, CALL, CAST, RESULT, FAULT, REVOKE, STARTED, RETURN}),
    ENDED: frozenset(),
}

# What is legal by the state of its exchange rather than by the phase.
EXCHANGE_CODES = frozenset(code for row in TRANSITIONS.values() for code in row) - {
    RETURN,
    STARTED,
}
