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

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from . import codec
from .errors import TermError

Message: TypeAlias = tuple[Any, ...]

VERSION_MIN = 1
VERSION_MAX = 1

HELLO, BOOT, READY, FAILED, DRAIN, BEAT, ERROR = 1, 2, 3, 4, 5, 6, 7
OPEN, BODY, BODY_CREDIT, RESPONSE, HEAD, DATA = 16, 17, 18, 19, 20, 21
END, FILE, CREDIT, CANCEL, ABORT, RETURN, STARTED = 22, 23, 24, 25, 26, 27, 28
CALL, RESULT, FAULT, REVOKE, CAST = 32, 33, 34, 35, 36

MAX_PACKET = 67108864  # bytes of a packet without its length
MAX_MESSAGES = 65536  # messages in a packet
MAX_PAYLOAD = 33554432  # bytes of an encoded value
MAX_TEXT = 65536  # bytes of the text of ERROR, FAILED and ABORT
MAX_CALLS = 65536  # open calls in each direction
MAX_TIMEOUT = 2**32 - 1  # milliseconds a CALL may take


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


def packets(messages: list[Message]) -> Iterator[bytes]:
    """`messages` in order as packets with their lengths, as few as the limits allow."""
    if len(messages) <= MAX_MESSAGES:
        try:
            packet = codec.encode_wire_packet(messages)
        except TermError:
            # Too large together; alone each message fits, its fields are bounded where it is made.
            if len(messages) == 1:
                raise
        else:
            yield packet
            return
    middle = len(messages) // 2
    yield from packets(messages[:middle])
    yield from packets(messages[middle:])


def cut_text(text: str) -> bytes:
    """`text` as UTF-8, cut to what ERROR, FAILED and ABORT may carry; the end is kept, it names
    the error."""
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) <= MAX_TEXT else b"[...] " + data[6 - MAX_TEXT :]


# Tests of single fields: (what was expected, for people; the test itself).

Test: TypeAlias = tuple[str, Callable[[Any], bool]]


def _integer(low: int, high: int | None = None) -> Test:
    if high is None:
        return f"an integer >= {low}", lambda v: type(v) is int and v >= low
    return f"an integer {low}..{high}", lambda v: type(v) is int and low <= v <= high


def _is_header_value(name: bytes, value: object) -> bool:
    if name != b"set-cookie":
        return type(value) is bytes
    return type(value) is list and bool(value) and all(type(item) is bytes for item in value)


def _is_answer_headers(value: object) -> bool:
    return type(value) is dict and all(
        type(name) is bytes and _is_header_value(name, item) for name, item in value.items()
    )


def _is_flat(value: object) -> bool:
    return type(value) is dict and all(
        type(name) is bytes and type(item) is bytes for name, item in value.items()
    )


def _is_body(value: object) -> bool:
    if type(value) is bytes:
        return True
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not bytes:
        return False
    return value[1] is None or (type(value[1]) is int and value[1] >= 0)


def _is_ids(value: object) -> bool:
    return type(value) is list and bool(value) and all(type(i) is int and i >= 1 for i in value)


_HTTP_VERSIONS = (b"1.0", b"1.1", b"2")

ID = _integer(1)
BYTES: Test = ("a binary", lambda v: type(v) is bytes)
DATA_BYTES: Test = ("a non-empty binary", lambda v: type(v) is bytes and v != b"")
MAP: Test = ("a map", lambda v: type(v) is dict)
FLAG: Test = ("true or false", lambda v: type(v) is bool)
GRANT = _integer(1, 2147483648)
STATUS = _integer(200, 999)
ANSWER_HEADERS: Test = ("a map of binaries, set-cookie a list of them", _is_answer_headers)
FLAT_MAP: Test = ("a map of binaries", _is_flat)
VERSION: Test = ("1.0, 1.1 or 2", lambda v: type(v) is bytes and v in _HTTP_VERSIONS)
REQUEST_BODY: Test = ("a binary or {First, Length}", _is_body)
IDS: Test = ("a non-empty list of ids", _is_ids)
PAYLOAD: Test = (
    f"a binary of at most {MAX_PAYLOAD} bytes",
    lambda v: type(v) is bytes and len(v) <= MAX_PAYLOAD,
)

FIELDS: dict[int, tuple[str, dict[str, Test]]] = {
    HELLO: ("HELLO", {"Min": _integer(1, 255), "Max": _integer(1, 255), "Info": MAP}),
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
            "Timeout": _integer(0),
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
    FILE: ("FILE", {"Id": ID, "Path": DATA_BYTES, "Offset": _integer(0), "Bytes": _integer(1)}),
    CREDIT: ("CREDIT", {"Id": ID, "Bytes": GRANT}),
    CANCEL: ("CANCEL", {"Id": ID, "Reason": BYTES}),
    ABORT: ("ABORT", {"Id": ID, "Name": BYTES, "Text": BYTES}),
    RETURN: ("RETURN", {"Ids": IDS}),
    STARTED: ("STARTED", {"Id": ID}),
    CALL: (
        "CALL",
        {
            "Id": ID,
            "Origin": _integer(0),
            "Timeout": _integer(1, MAX_TIMEOUT),
            "Service": BYTES,
            "Payload": PAYLOAD,
        },
    ),
    RESULT: ("RESULT", {"Id": ID, "Payload": PAYLOAD}),
    FAULT: ("FAULT", {"Id": ID, "Name": BYTES, "Payload": PAYLOAD}),
    REVOKE: ("REVOKE", {"Id": ID}),
    CAST: ("CAST", {"Service": BYTES, "Payload": PAYLOAD}),
}

NAMES: dict[int, str] = {code: name for code, (name, _) in FIELDS.items()}


def check_fields(message: Message) -> None:
    """Checks `message`, whose code is known, against `FIELDS`.

    Raises:
        ProtocolError: `bad_message`, naming the message and the first field at fault.
    """
    name, fields = FIELDS[message[0]]
    if len(message) != len(fields) + 1:
        text = f"{name} has {len(message) - 1} fields, expected {len(fields)}"
        raise ProtocolError("bad_message", text)
    for (field, (expected, test)), value in zip(fields.items(), message[1:], strict=True):
        if not test(value):
            raise ProtocolError("bad_message", f"{field} of {name}: expected {expected}")


def check_open(message: Message) -> None:
    """The same for OPEN, the one message that every request pays for; `check_fields` names the
    field."""
    try:
        _, ident, timeout, method, path, query, version, headers, connection, body = message
        if (
            type(ident) is int
            and ident > 0
            and type(timeout) is int
            and timeout >= 0
            and type(headers) is dict
            # A join costs a fraction of a loop and refuses what is not bytes.
            and b"".join((method, path, query, connection)) is not None
            and b"".join(headers) is not None
            and b"".join(headers.values()) is not None
            and version in _HTTP_VERSIONS
            and (type(body) is bytes or _is_body(body))
        ):
            return
    except (ValueError, TypeError):
        pass
    check_fields(message)


def check_hello(message: Message) -> None:
    """The same for HELLO, whose versions make a range."""
    check_fields(message)
    if message[1] > message[2]:
        raise ProtocolError("bad_message", "Max of HELLO: expected at least Min")


_BOTH = (HELLO, ERROR, CALL, RESULT, FAULT, REVOKE, CAST)
_NODE = (BOOT, DRAIN, OPEN, BODY, CREDIT, CANCEL)

Checks: TypeAlias = dict[int, Callable[[Message], None]]
_ALL: Checks = {**dict.fromkeys(FIELDS, check_fields), HELLO: check_hello, OPEN: check_open}
FROM_NODE: Checks = {code: _ALL[code] for code in (*_BOTH, *_NODE)}
FROM_WORKER: Checks = {code: check for code, check in _ALL.items() if code not in _NODE}
