# SPDX-License-Identifier: Apache-2.0
"""Messages to and from EPMD, against vectors: whole, byte by byte, and any bytes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam_erlang import _distribution_epmd as epmd
from hornbeam_erlang._distribution_errors import DistributionError
from unit.distribution.ends import load, raw

ENTRIES = load("epmd.json")


def entries(*wanted: str) -> list[Any]:
    """Entries that have one of these members."""
    found = [entry for entry in ENTRIES if any(key in entry for key in wanted)]
    return [pytest.param(entry, id=entry["name"]) for entry in found]


def parse(kind: str, data: bytes) -> object:
    if kind == "parse_port":
        return epmd.parse_port(data, ended=True)
    return getattr(epmd, kind)(data)


@pytest.mark.parametrize("entry", entries("arguments"))
def test_requests(entry: dict[str, Any]) -> None:
    """A request has the bytes of the vector."""
    assert getattr(epmd, entry["kind"])(*entry["arguments"]) == raw(entry["hex"])


@pytest.mark.parametrize("entry", entries("result"))
def test_answers(entry: dict[str, Any]) -> None:
    """An answer says what the vector says, and nothing is concluded from the beginning of one."""
    data = raw(entry["hex"])
    assert repr(parse(entry["kind"], data)) == entry["result"]
    if entry["kind"] != "parse_names":
        for end in range(len(data)):
            assert getattr(epmd, entry["kind"])(data[:end]) is None


@pytest.mark.parametrize("entry", entries("must_fail"))
def test_answers_that_are_refused(entry: dict[str, Any]) -> None:
    """An error names the answer and the field at fault."""
    with pytest.raises(DistributionError) as error:
        parse(entry["kind"], raw(entry["hex"]))
    assert [error.value.frame, error.value.field] == entry["must_fail"]


def test_epmd_that_closes_early() -> None:
    """An answer that ends early is an error, once it is known to have ended."""
    with pytest.raises(DistributionError, match="closed after 3 bytes"):
        epmd.parse_port(b"\x77\0\x12", ended=True)
    with pytest.raises(DistributionError, match="closed after 0 bytes"):
        epmd.parse_port(b"", ended=True)


def test_names_that_cannot_be_registered() -> None:
    """A name is 1 to 255 bytes, without its host."""
    for name in ("", "a@b", "a" * 256):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            epmd.alive(name, 1)
    assert len(epmd.alive("a" * 255, 1)) == 2 + 13 + 255


@given(st.binary(max_size=60), st.sampled_from(["parse_alive", "parse_port", "parse_names"]))
def test_any_bytes(data: bytes, kind: str) -> None:
    """Any bytes are an answer, the beginning of one, or a DistributionError."""
    for start in (b"", b"\x76", b"\x77\0", b"\0\0\0\0name "):
        with contextlib.suppress(DistributionError):
            parse(kind, start + data)
