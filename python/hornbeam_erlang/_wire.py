# SPDX-License-Identifier: Apache-2.0
"""The wire layer of the protocol: bytes to checked messages and back (PROTOCOL.md, sections 2 to
4).

Pure: no file descriptor, no clock, no thread. A message is the plain tuple ``(code, field, ...)``
that the term decoder made; what comes out of `parse` has been checked field by field, so the code
behind it need not.
Rule 1: `parse` knows who may send what; when it may be sent is the session's business.
Rule 2: whatever the bytes, the outcome is messages or one `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from . import codec
from ._fields import (
    ACCEPT_HEADERS,
    ANSWER_HEADERS,
    BINARIES,
    BYTES,
    DATA_BYTES,
    FLAG,
    FLAT_MAP,
    GRANT,
    ID,
    IDS,
    INFORMATION,
    INTEGER,
    MAP,
    REQUEST_BODY,
    STATUS,
    SUBPROTOCOL,
    VERSION,
    Test,
    binary,
    integer,
    is_utf8,
    text,
)
from .errors import TermError

Message: TypeAlias = tuple[Any, ...]

VERSION_MIN = 1
VERSION_MAX = 1

HELLO, BOOT, READY, FAILED, DRAIN, BEAT, ERROR = 1, 2, 3, 4, 5, 6, 7
OPEN, BODY, BODY_CREDIT, RESPONSE, HEAD, DATA = 16, 17, 18, 19, 20, 21
END, FILE, CREDIT, CANCEL, ABORT, RETURN, STARTED = 22, 23, 24, 25, 26, 27, 28
INFORM, PUSH = 29, 30
CALL, RESULT, FAULT, REVOKE, CAST = 32, 33, 34, 35, 36
WEBSOCKET, ACCEPT, TEXT, BINARY, CLOSE = 37, 38, 39, 40, 41
STREAM, ITEM, ITEM_CREDIT, EVENT, EVENT_CREDIT = 44, 45, 46, 48, 49

MAX_PACKET = 67108864  # bytes of a packet without its length
MAX_MESSAGES = 65536  # messages in a packet
MAX_PAYLOAD = 33554432  # bytes of an encoded value
MAX_TEXT = 65536  # bytes of the text of ERROR, FAILED and ABORT
MAX_CALLS = 65536  # open calls in each direction
MAX_TIMEOUT = 2**32 - 1  # milliseconds a CALL may take
MAX_ITEMS = 65536  # items or events granted by one message
MAX_REASON = 123  # bytes of the reason of CLOSE
MAX_SUBSCRIPTIONS = 1048576  # of a worker
WEBSOCKET_MESSAGE = 64  # bytes of credit that TEXT and BINARY cost beyond their data
STREAM_ITEMS = 16  # items that STREAM grants


class ProtocolError(Exception):
    """The node broke the protocol; the connection ends.

    Attributes:
        name: `bad_packet`, `bad_message`, `bad_state` or `version`, as ERROR carries it.
        text: which packet or message and which field is at fault, for people.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Splitter:
    """Cuts the byte stream of descriptor 3 into packets; `feed` takes the bytes in any portions."""

    __slots__ = ("_kept", "_size", "_wanted")

    def __init__(self) -> None:
        self._kept: list[bytes] = []  # portions of a packet that is not whole yet
        self._size = 0  # bytes in them
        self._wanted = 0  # bytes from which on another look is worth it

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that `data` completes, without their length; may be none.

        Raises:
            ProtocolError: `bad_packet` for a length of 0 or above `MAX_PACKET`.
        """
        if self._kept:
            self._kept.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data = b"".join(self._kept)
            self._kept.clear()
        elif 4 < len(data) == 4 + int.from_bytes(data[:4], "big") <= MAX_PACKET:
            return [data[4:]]  # what most reads bring
        packets, rest = _cut(data)
        if rest < len(data):
            self._keep(data[rest:])
        return packets

    def _keep(self, rest: bytes) -> None:
        self._kept.append(rest)
        self._size = len(rest)
        self._wanted = 4 if len(rest) < 4 else 4 + int.from_bytes(rest[:4], "big")


def _cut(data: bytes) -> tuple[list[bytes], int]:
    packets: list[bytes] = []
    start, end = 0, len(data)
    while end - start >= 4:
        length = int.from_bytes(data[start : start + 4], "big")
        if not 0 < length <= MAX_PACKET:
            raise ProtocolError(
                "bad_packet", f"packet length {length}, allowed are 1..{MAX_PACKET}"
            )
        if end - start - 4 < length:
            break
        packets.append(data[start + 4 : start + 4 + length])
        start += 4 + length
    return packets, start


def parse(packet: bytes, checks: Checks | None = None) -> list[Message]:
    """The checked messages of one packet (without its length).

    Args: checks: what the sender may send, `FROM_NODE` unless given.

    Raises:
        ProtocolError: `bad_packet` when it is no list of terms of this layer, `bad_message` when a
            message in it has an unknown code, a wrong number of fields or a field out of its type
            or range.
    """
    known = FROM_NODE if checks is None else checks
    try:
        messages = codec.decode_wire(packet)
    except TermError as exc:
        raise ProtocolError("bad_packet", str(exc)) from exc
    if type(messages) is not list or not messages:
        raise ProtocolError("bad_packet", "a packet holds a non-empty list of messages")
    if len(messages) > MAX_MESSAGES:
        raise ProtocolError("bad_packet", f"{len(messages)} messages, allowed are {MAX_MESSAGES}")
    for message in messages:
        if type(message) is not tuple or not message or type(message[0]) is not int:
            raise ProtocolError("bad_message", "a message is a tuple that starts with its code")
        check = known.get(message[0])
        if check is None:
            raise ProtocolError("bad_message", f"code {message[0]} is unknown in this direction")
        check(message)
    return messages


def packets(messages: list[Message]) -> list[list[bytes]]:
    """`messages` in order as packets with their lengths, as few as the limits allow, each in parts
    to be written behind each other."""
    if len(messages) <= MAX_MESSAGES:
        try:
            return [codec.encode_wire_parts(messages)]
        except TermError:
            # Too large together; alone each message fits, its fields are bounded where it is made.
            if len(messages) == 1:
                raise
    middle = len(messages) // 2
    return [*packets(messages[:middle]), *packets(messages[middle:])]


def cut_text(text: str) -> bytes:
    """`text` as UTF-8, cut to what ERROR, FAILED and ABORT may carry; the end is kept, it names
    the error."""
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) <= MAX_TEXT else b"[...] " + data[6 - MAX_TEXT :]


PAYLOAD = binary(MAX_PAYLOAD)
ITEMS = integer(1, MAX_ITEMS)
_CALL = {
    "Id": ID,
    # Of the node 0 or higher, see check_origin.
    "Origin": INTEGER,
    "Timeout": integer(1, MAX_TIMEOUT),
    "Service": BYTES,
    "Payload": PAYLOAD,
}

FIELDS: dict[int, tuple[str, dict[str, Test]]] = {
    HELLO: ("HELLO", {"Min": integer(1, 255), "Max": integer(1, 255), "Info": MAP}),
    BOOT: ("BOOT", {"Config": MAP}),
    READY: ("READY", {"Info": MAP}),
    FAILED: ("FAILED", {"Name": BYTES, "Text": BYTES}),
    DRAIN: ("DRAIN", {}),
    BEAT: ("BEAT", {}),
    ERROR: ("ERROR", {"Name": BYTES, "Text": BYTES}),
    OPEN: (
        "OPEN",
        {
            "Id": ID,
            "Timeout": integer(0),
            "Method": BYTES,
            "Path": BYTES,
            "Query": BYTES,
            "Version": VERSION,
            "Headers": FLAT_MAP,
            "Connection": BYTES,
            "Body": REQUEST_BODY,
        },
    ),
    BODY: ("BODY", {"Id": ID, "Fin": FLAG, "Data": BYTES}),
    BODY_CREDIT: ("BODY_CREDIT", {"Id": ID, "Bytes": GRANT}),
    RESPONSE: (
        "RESPONSE",
        {"Id": ID, "Status": STATUS, "Headers": ANSWER_HEADERS, "Data": BYTES},
    ),
    HEAD: ("HEAD", {"Id": ID, "Status": STATUS, "Headers": ANSWER_HEADERS}),
    DATA: ("DATA", {"Id": ID, "Data": DATA_BYTES}),
    END: ("END", {"Id": ID, "Trailers": FLAT_MAP}),
    FILE: ("FILE", {"Id": ID, "Path": DATA_BYTES, "Offset": integer(0), "Bytes": integer(1)}),
    CREDIT: ("CREDIT", {"Id": ID, "Bytes": GRANT}),
    CANCEL: ("CANCEL", {"Id": ID, "Reason": BYTES}),
    ABORT: ("ABORT", {"Id": ID, "Name": BYTES, "Text": BYTES}),
    RETURN: ("RETURN", {"Ids": IDS}),
    STARTED: ("STARTED", {"Id": ID}),
    INFORM: ("INFORM", {"Id": ID, "Status": INFORMATION, "Headers": ANSWER_HEADERS}),
    PUSH: ("PUSH", {"Id": ID, "Path": DATA_BYTES, "Headers": FLAT_MAP}),
    CALL: ("CALL", _CALL),
    RESULT: ("RESULT", {"Id": ID, "Payload": PAYLOAD}),
    FAULT: ("FAULT", {"Id": ID, "Name": BYTES, "Payload": PAYLOAD}),
    REVOKE: ("REVOKE", {"Id": ID}),
    CAST: ("CAST", {"Service": BYTES, "Payload": PAYLOAD}),
    WEBSOCKET: (
        "WEBSOCKET",
        {
            "Id": ID,
            "Timeout": integer(0),
            "Path": BYTES,
            "Query": BYTES,
            "Version": VERSION,
            "Headers": FLAT_MAP,
            "Connection": BYTES,
            "Subprotocols": BINARIES,
        },
    ),
    ACCEPT: ("ACCEPT", {"Id": ID, "Subprotocol": SUBPROTOCOL, "Headers": ACCEPT_HEADERS}),
    TEXT: ("TEXT", {"Id": ID, "Data": text(MAX_PAYLOAD)}),
    BINARY: ("BINARY", {"Id": ID, "Data": PAYLOAD}),
    CLOSE: ("CLOSE", {"Id": ID, "Code": integer(1000, 4999), "Reason": text(MAX_REASON)}),
    STREAM: ("STREAM", _CALL),
    ITEM: ("ITEM", {"Id": ID, "Payload": PAYLOAD}),
    ITEM_CREDIT: ("ITEM_CREDIT", {"Id": ID, "Items": ITEMS}),
    EVENT: ("EVENT", {"Subscription": ID, "Lost": integer(0), "Topic": BYTES, "Payload": PAYLOAD}),
    EVENT_CREDIT: ("EVENT_CREDIT", {"Subscription": ID, "Events": ITEMS}),
}

NAMES: dict[int, str] = {code: name for code, (name, _) in FIELDS.items()}


def check_fields(message: Message) -> None:
    """Checks `message`, whose code is known, against `FIELDS`.

    Raises:
        ProtocolError: `bad_message`, naming the message and the first field at fault.
    """
    name, fields = FIELDS[message[0]]
    if len(message) != len(fields) + 1:
        wrong = f"{name} has {len(message) - 1} fields, expected {len(fields)}"
        raise ProtocolError("bad_message", wrong)
    for (field, (expected, test)), value in zip(fields.items(), message[1:], strict=True):
        if not test(value):
            raise ProtocolError("bad_message", f"{field} of {name}: expected {expected}")


def check_open(message: Message) -> None:
    """The same for OPEN, the one message that every request pays for; `check_fields` names the
    field."""
    if not codec.is_open(message):
        check_fields(message)


def check_data(message: Message) -> None:
    """The same for TEXT and BINARY, of which a WebSocket may carry many."""
    if len(message) == 3:
        code, ident, data = message
        if (
            type(ident) is int
            and ident > 0
            and type(data) is bytes
            and len(data) <= MAX_PAYLOAD
            and (code == BINARY or is_utf8(data))
        ):
            return
    check_fields(message)


def check_result(message: Message) -> None:
    """The same for RESULT, of which every call has one."""
    if len(message) == 3:
        _, ident, payload = message
        if (
            type(ident) is int
            and ident > 0
            and type(payload) is bytes
            and len(payload) <= MAX_PAYLOAD
        ):
            return
    check_fields(message)


def check_hello(message: Message) -> None:
    """The same for HELLO, whose versions make a range."""
    check_fields(message)
    if message[1] > message[2]:
        raise ProtocolError("bad_message", "Max of HELLO: expected at least Min")


def check_origin(message: Message) -> None:
    """The same for CALL and STREAM of the node, whose origin is a call of the worker or 0."""
    check_fields(message)
    if message[2] < 0:
        raise ProtocolError(
            "bad_message", f"Origin of {NAMES[message[0]]}: expected an integer >= 0"
        )


# Stand for what no CLOSE frame says (RFC 6455, 7.4.1): only the node tells of it.
UNSENDABLE_CODES = frozenset({1005, 1006, 1015})


def check_close(message: Message) -> None:
    """The same for CLOSE of the worker, whose code goes to the client."""
    check_fields(message)
    if message[2] in UNSENDABLE_CODES:
        raise ProtocolError("bad_message", f"Code of CLOSE: {message[2]} cannot be sent")


_BOTH = (HELLO, DRAIN, ERROR, CALL, RESULT, FAULT, REVOKE, CAST, TEXT, BINARY, CLOSE)
_STREAMS = (STREAM, ITEM, ITEM_CREDIT)
_NODE = (BOOT, OPEN, BODY, CREDIT, CANCEL, WEBSOCKET, EVENT)

Checks: TypeAlias = dict[int, Callable[[Message], None]]
_ALL: Checks = {
    **dict.fromkeys(FIELDS, check_fields),
    HELLO: check_hello,
    OPEN: check_open,
    RESULT: check_result,
    TEXT: check_data,
    BINARY: check_data,
}
FROM_NODE: Checks = {
    **{code: _ALL[code] for code in (*_BOTH, *_STREAMS, *_NODE)},
    CALL: check_origin,
    STREAM: check_origin,
}
FROM_WORKER: Checks = {
    **{code: check for code, check in _ALL.items() if code not in _NODE},
    CLOSE: check_close,
}
