# SPDX-License-Identifier: Apache-2.0
"""The exceptions of hornbeam_erlang: one root, one class per thing a caller can do about it.

Runs in any thread. Every class keeps what it was made of in fields, and those fields are `args`,
so that an exception survives pickling and copying; the text is made from them.
"""

from __future__ import annotations

__all__ = [
    "CallTimeout",
    "Cancelled",
    "HandlerError",
    "HornbeamError",
    "NodeDown",
    "NotConnected",
    "NotRegistered",
    "Overloaded",
    "RemoteError",
    "StartFailed",
    "TermError",
]


class HornbeamError(RuntimeError):
    """Root of everything hornbeam_erlang raises on purpose."""


class NotConnected(HornbeamError, ConnectionError):
    """There is no node to talk to: the process runs outside hornbeam, or its connection ended.

    Attributes:
        operation: what was asked for, for example `state_get`.
        advice: what to do about it, empty where nothing can be done.
    """

    def __init__(self, operation: str, advice: str = "") -> None:
        super().__init__(operation, advice)
        self.operation = operation
        self.advice = advice

    def __str__(self) -> str:
        text = f"{self.operation}: this process is not connected to a hornbeam node"
        return f"{text}; {self.advice}" if self.advice else text


class StartFailed(HornbeamError):
    """A node cannot be started, or has ended while it was being started.

    Attributes:
        reason: why, and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class CallTimeout(HornbeamError, TimeoutError):
    """No reply came within `seconds`. The other side may still have done the work.

    Attributes:
        operation: the call that was given up.
        seconds: how long it was given.
    """

    def __init__(self, operation: str, seconds: float) -> None:
        super().__init__(operation, seconds)
        self.operation = operation
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.operation}: no reply within {self.seconds:g} s"


class NodeDown(HornbeamError, ConnectionError):
    """The node that was called is not there, or went away before it answered.

    Attributes:
        node: its name.
        reason: why, as the Erlang side says it.
    """

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, reason)
        self.node = node
        self.reason = reason

    def __str__(self) -> str:
        return f"node {self.node} is down: {self.reason}"


class RemoteError(HornbeamError):
    """The Erlang code that was called failed, or answered `{error, Reason}`.

    Attributes:
        class_: `error`, `exit` or `throw`; `return` for an answer `{error, Reason}`; `refused` for
            what an option of the node does not allow, which `reason` names.
        reason: the reason term.
        stack: the Erlang stack trace as text, empty where there is none.
    """

    def __init__(self, class_: str, reason: object, stack: str = "") -> None:
        super().__init__(class_, reason, stack)
        self.class_ = class_
        self.reason = reason
        self.stack = stack

    def __str__(self) -> str:
        text = f"{self.class_}: {self.reason!r}"
        return f"{text}\n{self.stack}" if self.stack else text


class NotRegistered(HornbeamError, LookupError):
    """Nothing is registered under that name.

    Attributes:
        name: the name that was asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"nothing is registered under the name {self.name!r}"


class HandlerError(HornbeamError):
    """A Python handler that was called through the node raised.

    Attributes:
        type: name of the exception's class.
        message: its text.
        traceback: the formatted traceback, empty where there is none.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:
        super().__init__(type, message, traceback)
        self.type = type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        text = f"{self.type}: {self.message}"
        return f"{text}\n{self.traceback}" if self.traceback else text


class Overloaded(HornbeamError):
    """A limit was reached; the call was not made. Try again later.

    Attributes:
        resource: what is full.
        limit: how much of it there is.
    """

    def __init__(self, resource: str, limit: int) -> None:
        super().__init__(resource, limit)
        self.resource = resource
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.resource}: the limit of {self.limit} is reached"


class Cancelled(HornbeamError):
    """The call was stopped because its caller, or the request it belonged to, is gone.

    Attributes:
        operation: what was stopped.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: cancelled"


class TermError(HornbeamError, TypeError):
    """A value has no Erlang term, or bytes are no legal external term.

    Attributes:
        reason: what is wrong and what to do.
        path: where inside the value, as a Python expression such as `value['a'][3]`; empty when
            bytes were decoded.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason
