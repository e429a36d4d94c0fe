# SPDX-License-Identifier: Apache-2.0
"""The layout rules for Erlang files: each is found, and what a script can mend is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

import erlang_layout

HEAD = f"%% {erlang_layout.LICENCE}\n"
WIDE = "%" * erlang_layout.COLUMNS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{HEAD}{WIDE}%\n", "x.erl:2: 101 columns"),
        (f"{HEAD}\tok.\n", "x.erl:2: a tab"),
        (f"{HEAD}ok. \n", "x.erl:2: blanks"),
        (f"{HEAD}ok.", "x.erl: must end"),
        (f"{HEAD}ok.\n\n", "x.erl: must end"),
        ("-module(x).\n", "x.erl:1: must be a comment"),
    ],
)
def test_each_rule_is_checked(text: str, fault: str) -> None:
    """One fault in the text, one sentence that names the place."""
    (found,) = erlang_layout.faults(Path("x.erl"), text)
    assert found.startswith(fault)


@pytest.mark.parametrize("name", ["x.erl", "x.hrl", "rebar.config"])
def test_text_in_order_has_no_fault(name: str) -> None:
    """A line of exactly the allowed width is fine."""
    assert erlang_layout.faults(Path(name), f"{HEAD}{WIDE}\n") == []


def test_mending_leaves_only_what_needs_a_person() -> None:
    """Tabs, trailing blanks and final newlines are put right; a wide line stays."""
    mended = erlang_layout.mended(f"{HEAD}\tok. \n{WIDE}%\n\n\n")
    assert mended == f"{HEAD}    ok.\n{WIDE}%\n"


def test_configuration_needs_no_licence_line() -> None:
    """Only .erl and .hrl files carry it."""
    assert erlang_layout.faults(Path("sys.config"), "[].\n") == []
