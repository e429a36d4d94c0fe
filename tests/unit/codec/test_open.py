# SPDX-License-Identifier: Apache-2.0
"""The check of OPEN, which every request pays for: both twins against the table of fields."""

from __future__ import annotations

from typing import Any

import pytest

from hornbeam_erlang._wire import OPEN, ProtocolError, check_fields
from unit.codec.notation import TWINS, Codec

GOOD: tuple[Any, ...] = (
    OPEN, 7, 30000, b"GET", b"/", b"a=b", b"1.1", {b"host": b"h", b"accept": b"*"}, b"\x83j", b"",
)  # fmt: skip

# In the place of each field in turn: terms of a packet, and text, which is in none.
VALUES: list[Any] = [
    0, 1, -1, 2**64 - 1, True, None, 1.5, "1.1", b"", b"1.0", b"2", b"3", [], {},
    {b"a": b"b"}, {b"a": "b"}, {"a": b"b"}, {b"a": None}, {b"a": [b"b"]}, (), (b"",), (b"", 0),
    (b"first", 10), (b"first", None), (b"first", -1), (b"first", True), ("", 0), (b"", 0, 0), [b""],
]  # fmt: skip


def is_legal(message: tuple[Any, ...]) -> bool:
    try:
        check_fields(message)
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
def test_open_is_what_the_table_says(codec: Codec) -> None:
    """Whatever stands in the place of a field, the check says what the table of fields says."""
    verdicts = set()
    for place in range(1, len(GOOD)):
        for value in VALUES:
            message = (*GOOD[:place], value, *GOOD[place + 1 :])
            assert codec.is_open(message) is is_legal(message), message
            verdicts.add(codec.is_open(message))
    assert codec.is_open(GOOD)
    assert verdicts == {True, False}


@pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)
@pytest.mark.parametrize("message", [(OPEN,), GOOD[:-1], (*GOOD, b"")])
def test_open_has_ten_fields(codec: Codec, message: tuple[Any, ...]) -> None:
    """A field less, or one more, is no OPEN."""
    assert not codec.is_open(message)
