# SPDX-License-Identifier: Apache-2.0
"""Encodings inside encodings, after failures, and in many threads: buffers are not mixed up."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from hornbeam_erlang.errors import TermError
from unit.codec.notation import TWINS, Codec, same

pytestmark = pytest.mark.parametrize("codec", TWINS, ids=lambda codec: codec.NAME)


class Meddler(np.ndarray):
    """An array that runs code of the test when it is encoded."""

    meddle: Any = None

    @property
    def dtype(self) -> Any:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return super().dtype


def meddler(meddle: Any) -> Meddler:
    array = np.zeros(2, "<i4").view(Meddler)
    array.meddle = meddle
    return array


def test_encoding_inside_an_encoding(codec: Codec) -> None:
    """Code that encodes while its value is encoded changes neither result."""
    inner: list[bytes] = []
    value = ["before", b"b" * 20_000, meddler(lambda: inner.append(codec.encode(["in"] * 5000))), 1]
    back = codec.decode(codec.encode(value))
    assert isinstance(back, list)
    assert back[0] == "before"
    assert back[1] == b"b" * 20_000
    assert same(back[2], np.zeros(2, "<i4"))
    assert codec.decode(inner[0]) == ["in"] * 5000


def test_after_a_failure(codec: Codec) -> None:
    """A value that cannot be encoded leaves nothing of itself in the next result."""
    for _ in range(100):
        with pytest.raises(TermError):
            codec.encode(["x" * 1000, b"y" * 20_000, object()])
        assert codec.encode(1) == b"\x83a\x01"


@pytest.mark.parametrize("change", ["clear", "grow"])
@pytest.mark.parametrize("kind", [list, dict])
def test_container_that_changes_under_way(codec: Codec, kind: type, change: str) -> None:
    """A container that is changed while it is encoded gives an error or a whole term, no crash."""
    value: Any = kind()

    def meddle() -> None:
        if change == "clear":
            value.clear()
        elif kind is list:
            value.extend(range(100))
        else:
            value.update({n: n for n in range(100)})

    array = meddler(meddle)
    items = [array, *range(50)]
    value.extend(items) if kind is list else value.update(zip(range(51), items, strict=True))
    try:
        data = codec.encode(value)
    except TermError:
        return
    codec.decode(data)


def test_many_threads(codec: Codec) -> None:
    """Threads that encode and decode at once each get their own result."""
    failures: list[object] = []

    def work(number: int) -> None:
        value = [{"n": number, "data": bytes([number]) * (number * 9000)}, str(number) * 50]
        packet = [(number, bytes([number]) * 300)]
        for _ in range(60):
            if not same(codec.decode(codec.encode(value)), value):
                failures.append(number)
            if not same(codec.decode_wire(codec.encode_wire_packet(packet)[4:]), packet):
                failures.append(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_references_are_not_leaked(codec: Codec) -> None:
    """Encoding and decoding, failed or not, leave every object with the references it had."""
    key, text = "k" * 70, "t" * 20_000
    value: dict[str, object] = {key: [text, (text,), {key: None}], "bad": None}
    before = [sys.getrefcount(item) for item in (key, text, value, None.__class__)]
    for bad in (None, object()):
        value["bad"] = bad
        for _ in range(50):
            try:
                codec.decode(codec.encode(value))
            except TermError:
                assert bad is not None
    value["bad"] = None
    assert [sys.getrefcount(item) for item in (key, text, value, None.__class__)] == before
