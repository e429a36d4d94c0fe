# SPDX-License-Identifier: Apache-2.0
"""Control messages of the distribution to events: a table of operations and their fields.

Pure. Operations with a trace token come out as those without. Source: ERTS user's guide, "Protocol
between Connected Nodes".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from . import codec
from ._distribution_errors import DistributionError
from ._distribution_events import (
    AliasSend,
    ControlEvent,
    Demonitor,
    Exit,
    Exit2,
    GroupLeader,
    Link,
    Monitor,
    MonitorExit,
    RegisteredSend,
    Send,
    SpawnReply,
    SpawnRequest,
    Unlink,
    UnlinkAck,
)
from .errors import TermError
from .terms import Atom, Pid, Ref

__all__ = ["MAX_CONTROL", "OPERATIONS", "Controls"]

MAX_CONTROL: Final = 1 << 20
"""Bytes of a control message at most, reasons of EXIT included."""
MAX_CONTROL_DEPTH: Final = 32
REMEMBERED: Final = 512
"""Control messages that are remembered."""
MAX_REMEMBERED: Final = 512
"""Bytes of the largest of them."""

# -- fields --------------------------------------------------------------------------------------

# These atoms are no Atom in Python; as names they are what they were.
_NAMES: Final = {None: Atom("undefined"), True: Atom("true"), False: Atom("false")}


def _pid(value: object) -> Pid:
    if type(value) is Pid:
        return value
    raise ValueError(f"a pid is expected, not {type(value).__name__}")


def _ref(value: object) -> Ref:
    if type(value) is Ref:
        return value
    raise ValueError(f"a reference is expected, not {type(value).__name__}")


def _atom(value: object) -> Atom:
    if type(value) is Atom:
        return value
    if value is None or value is True or value is False:
        return _NAMES[value]
    raise ValueError(f"an atom is expected, not {type(value).__name__}")


def _process(value: object) -> Pid | Atom:
    return value if type(value) is Pid else _atom(value)


def _number(value: object) -> int:
    if type(value) is int and 0 <= value < 1 << 64:
        return value
    raise ValueError("an integer of 0 to 2^64 - 1 is expected")


def _entry(value: object) -> tuple[Atom, Atom, int]:
    if type(value) is tuple and len(value) == 3:
        return _atom(value[0]), _atom(value[1]), _number(value[2])
    raise ValueError("{Module, Function, Arity} is expected")


def _list(value: object) -> list[object]:
    if type(value) is list:
        return value
    raise ValueError(f"a list is expected, not {type(value).__name__}")


def _any(value: object) -> object:
    return value


# -- operations ----------------------------------------------------------------------------------

Check: TypeAlias = Callable[[object], Any]


class Operation(NamedTuple):
    """How one operation is read: its fields after the code, and what is made of them."""

    name: str
    fields: tuple[tuple[str, Check], ...]
    payload: bool
    make: Callable[..., ControlEvent | None]
    remembered: bool = False


_FROM: Final = ("FromPid", _pid)
_TO: Final = ("ToPid", _pid)
_FROM_PROC: Final = ("FromProc", _process)
_TO_PROC: Final = ("ToProc", _process)
_REF: Final = ("Ref", _ref)
_UNUSED: Final = ("Unused", _any)
_REASON: Final = ("Reason", _any)
_ID: Final = ("Id", _number)
_TOKEN: Final = ("TraceToken", _any)
_SPAWN: Final = (
    ("ReqId", _ref),
    _FROM,
    ("GroupLeader", _pid),
    ("{Module, Function, Arity}", _entry),
    ("OptList", _list),
)
_REPLY: Final = (("ReqId", _ref), ("To", _pid), ("Flags", _number), ("Result", _process))


def _spawn_request(
    ref: Ref,
    sender: Pid,
    leader: Pid,
    entry: tuple[Atom, Atom, int],
    options: list[object],
    arguments: bytes,
) -> SpawnRequest:
    return SpawnRequest(ref, sender, leader, *entry, options, arguments)


def _plain() -> dict[int, Operation]:
    pair = (_FROM, _TO)
    monitor = (_FROM, _TO_PROC, _REF)
    ended = (_FROM_PROC, _TO, _REF)
    return {
        1: Operation("LINK", pair, False, Link),
        2: Operation("SEND", (_UNUSED, _TO), True, lambda _, to, data: Send(None, to, data), True),
        3: Operation("EXIT", (*pair, _REASON), False, Exit),
        4: Operation("UNLINK", pair, False, lambda sender, to: Unlink(0, sender, to)),
        5: Operation("NODE_LINK", (), False, lambda: None),
        6: Operation(
            "REG_SEND",
            (_FROM, _UNUSED, ("ToName", _atom)),
            True,
            lambda sender, _, to, data: RegisteredSend(sender, to, data),
            True,
        ),
        7: Operation("GROUP_LEADER", pair, False, GroupLeader),
        8: Operation("EXIT2", (*pair, _REASON), False, Exit2),
        19: Operation("MONITOR_P", monitor, False, Monitor),
        20: Operation("DEMONITOR_P", monitor, False, Demonitor),
        21: Operation("MONITOR_P_EXIT", (*ended, _REASON), False, MonitorExit),
        22: Operation("SEND_SENDER", pair, True, Send, True),
        24: Operation("PAYLOAD_EXIT", pair, True, Exit),
        26: Operation("PAYLOAD_EXIT2", pair, True, Exit2),
        28: Operation("PAYLOAD_MONITOR_P_EXIT", ended, True, MonitorExit),
        29: Operation("SPAWN_REQUEST", _SPAWN, True, _spawn_request),
        31: Operation("SPAWN_REPLY", _REPLY, False, SpawnReply),
        33: Operation("ALIAS_SEND", (_FROM, ("Alias", _ref)), True, AliasSend),
        35: Operation("UNLINK_ID", (_ID, *pair), False, Unlink),
        36: Operation("UNLINK_ID_ACK", (_ID, *pair), False, UnlinkAck),
    }


# Codes with a trace token, the code without it, and where the token stands among the fields.
_TRACED: Final = {
    12: (2, 2),
    13: (3, 2),
    16: (6, 3),
    18: (8, 2),
    23: (22, 2),
    25: (24, 2),
    27: (26, 2),
    30: (29, 5),
    32: (31, 4),
    34: (33, 2),
}


def _traced(plain: Operation, at: int) -> Operation:
    def make(*values: object) -> ControlEvent | None:
        return plain.make(*values[:at], *values[at + 1 :])

    fields = (*plain.fields[:at], _TOKEN, *plain.fields[at:])
    return Operation(f"{plain.name}_TT", fields, plain.payload, make)


OPERATIONS: Final = _plain()
OPERATIONS.update({code: _traced(OPERATIONS[of], at) for code, (of, at) in _TRACED.items()})


class Controls:
    """Reads control messages. Those of sends are remembered: most come again and again, from the
    same process to the same process."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Operation, list[object]]] = {}

    def parse(self, control: bytes, payload: bytes | None) -> ControlEvent | None:
        """What a message says; None for what has no meaning here (NODE_LINK).

        Args:
            control: the control message, an external term.
            payload: the external term after it, if there was one.

        Raises:
            DistributionError: an unknown operation, or one whose fields are not as they should be.
        """
        known = self._known.get(control)
        operation, fields = _read(control) if known is None else known
        if known is None and operation.remembered and len(control) <= MAX_REMEMBERED:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[control] = (operation, fields)
        if not operation.payload:
            if payload is not None:
                raise DistributionError(operation.name, "payload", "a term follows that is not due")
            return operation.make(*fields)
        if payload is None:
            raise DistributionError(operation.name, "payload", "no term follows")
        return operation.make(*fields, payload)


def _read(control: bytes) -> tuple[Operation, list[object]]:
    """The operation of a control message, and its fields."""
    try:
        values = _values(control)
    except TermError as exc:
        raise DistributionError("control message", "", exc.reason) from exc
    code = values[0] if values else None
    operation = OPERATIONS.get(code) if type(code) is int else None
    if operation is None:
        raise DistributionError("control message", "operation", f"{code!r} is not known")
    if len(values) != len(operation.fields) + 1:
        reason = f"{len(values) - 1} fields instead of {len(operation.fields)}"
        raise DistributionError(operation.name, "", reason)
    return operation, _checked(operation, values)


def _checked(operation: Operation, values: tuple[Any, ...]) -> list[object]:
    checked = []
    for (field, check), value in zip(operation.fields, values[1:], strict=True):
        try:
            checked.append(check(value))
        except ValueError as exc:
            raise DistributionError(operation.name, field, str(exc)) from None
    return checked


_REASONS: Final = {
    b"h\x04a\x03": 3,
    b"h\x04a\x08": 3,
    b"h\x05a\r": 4,
    b"h\x05a\x12": 4,
    b"h\x05a\x15": 4,
}


def _values(control: bytes) -> tuple[Any, ...]:
    """The elements of a control message; a reason stays an external term."""
    at = _REASONS.get(control[1:5])
    if at is not None:
        return _with_reason(control, at)
    values = codec.decode(control, max_depth=MAX_CONTROL_DEPTH, max_size=MAX_CONTROL)
    if type(values) is not tuple:
        raise TermError("it is no tuple")
    return values


def _with_reason(control: bytes, last: int) -> tuple[Any, ...]:
    pos = 3
    values: list[object] = []
    for index in range(last + 1):
        part, pos = codec.expand(control, pos, [])
        if index < last:
            decoded = codec.decode(part, max_depth=MAX_CONTROL_DEPTH, max_size=MAX_CONTROL)
            values.append(decoded)
        else:
            values.append(part)
    if pos != len(control):
        raise TermError(f"{len(control) - pos} bytes follow the last field")
    return tuple(values)
