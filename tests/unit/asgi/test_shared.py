# SPDX-License-Identifier: Apache-2.0
"""What the scopes of WebSockets have in common, and what they must not."""

from __future__ import annotations

import pytest

from hornbeam_erlang import _asgi_shared as shared


def fresh(value: bytes) -> bytes:
    """The same bytes in another object."""
    return bytes(bytearray(value))


def test_common_fields_are_one_object() -> None:
    """Fields that many clients send alike are the same pair, whoever sent them."""
    first = shared.field((fresh(b"user-agent"), fresh(b"browser")))
    assert first == (b"user-agent", b"browser")
    assert shared.field((fresh(b"user-agent"), fresh(b"browser"))) is first


@pytest.mark.parametrize(
    "pair",
    [
        (b"cookie", b"secret"),
        (b"authorization", b"secret"),
        (b"x-something", b"else"),
        (b"origin", b"x" * (shared.MAX_BYTES + 1)),
    ],
)
def test_other_fields_are_not_remembered(pair: tuple[bytes, bytes]) -> None:
    """Secrets, long values and fields of other names are not kept here."""
    value = fresh(pair[1])
    found = shared.field((fresh(pair[0]), value))
    assert found == pair
    assert found[1] is value
    assert pair not in shared._fields


def test_what_is_remembered_is_bounded() -> None:
    """However many paths, hosts and fields there are, no more than so many are kept."""
    for number in range(3 * shared.MAX_REMEMBERED):
        text = b"%d" % number
        assert shared.path(b"/" + text).raw == b"/" + text
        assert shared.client(text, number) == (text.decode(), number)
        assert shared.server(text, number) == (text.decode(), number)
        assert shared.field((b"origin", text)) == (b"origin", text)
    kept = (shared._paths, shared._hosts, shared._servers, shared._fields)
    assert [len(each) <= shared.MAX_REMEMBERED for each in kept] == [True] * 4


def test_paths_are_decoded_once() -> None:
    """Path, raw path and what the log says of one that is seen again are the same objects; a long
    one is not kept."""
    first = shared.path(fresh(b"/%C3%A4"))
    assert first == ("/ä", b"/%C3%A4", (b"WebSocket", b"/%C3%A4"))
    assert shared.path(fresh(b"/%C3%A4")) is first
    long = b"/" + b"x" * shared.MAX_BYTES
    assert shared.path(long) == (long.decode(), long, (b"WebSocket", long))
    assert long not in shared._paths
