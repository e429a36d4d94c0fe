# SPDX-License-Identifier: Apache-2.0
"""What a connected node tells another: one class for each operation of the distribution.

Pure. Terms of applications (messages, reasons, arguments) are left as external terms, version byte
included: whoever takes them decodes them with its own bounds, and a term that Python cannot hold
spoils no connection. Source: ERTS user's guide, "Protocol between Connected Nodes".
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .terms import Atom, Pid, Ref

__all__ = [
    "AliasSend",
    "ControlEvent",
    "Demonitor",
    "Exit",
    "Exit2",
    "GroupLeader",
    "Link",
    "Monitor",
    "MonitorExit",
    "RegisteredSend",
    "Send",
    "SpawnReply",
    "SpawnRequest",
    "Unlink",
    "UnlinkAck",
]


class Send(NamedTuple):
    """SEND, SEND_SENDER: a message to a process."""

    sender: Pid | None  # None where the peer does not tell
    to: Pid
    payload: bytes


class RegisteredSend(NamedTuple):
    """REG_SEND: a message to a name."""

    sender: Pid
    to: Atom
    payload: bytes


class AliasSend(NamedTuple):
    """ALIAS_SEND: a message to an alias of a process."""

    sender: Pid
    alias: Ref
    payload: bytes


class Link(NamedTuple):
    """LINK."""

    sender: Pid
    to: Pid


class Unlink(NamedTuple):
    """UNLINK_ID: to be answered by UNLINK_ID_ACK before anything else is sent to the sender.

    `id` is 0 for UNLINK, which old nodes send and which has no answer.
    """

    id: int
    sender: Pid
    to: Pid


class UnlinkAck(NamedTuple):
    """UNLINK_ID_ACK."""

    id: int
    sender: Pid
    to: Pid


class Exit(NamedTuple):
    """EXIT, PAYLOAD_EXIT: a linked process has ended."""

    sender: Pid
    to: Pid
    reason: bytes


class Exit2(NamedTuple):
    """EXIT2, PAYLOAD_EXIT2: exit/2 was called."""

    sender: Pid
    to: Pid
    reason: bytes


class Monitor(NamedTuple):
    """MONITOR_P: the sender wants to know when a process, or who has a name, ends."""

    sender: Pid
    target: Pid | Atom
    ref: Ref


class Demonitor(NamedTuple):
    """DEMONITOR_P."""

    sender: Pid
    target: Pid | Atom
    ref: Ref


class MonitorExit(NamedTuple):
    """MONITOR_P_EXIT, PAYLOAD_MONITOR_P_EXIT: a monitored process has ended."""

    target: Pid | Atom
    to: Pid
    ref: Ref
    reason: bytes


class GroupLeader(NamedTuple):
    """GROUP_LEADER."""

    sender: Pid
    to: Pid


class SpawnRequest(NamedTuple):
    """SPAWN_REQUEST: start a process that calls a function."""

    ref: Ref
    sender: Pid
    group_leader: Pid
    module: Atom
    function: Atom
    arity: int
    options: list[object]
    arguments: bytes


class SpawnReply(NamedTuple):
    """SPAWN_REPLY: the process, or why there is none."""

    ref: Ref
    to: Pid
    flags: int  # 1: linked, 2: monitored
    result: Pid | Atom


ControlEvent: TypeAlias = (
    Send
    | RegisteredSend
    | AliasSend
    | Link
    | Unlink
    | UnlinkAck
    | Exit
    | Exit2
    | Monitor
    | Demonitor
    | MonitorExit
    | GroupLeader
    | SpawnRequest
    | SpawnReply
)
