# SPDX-License-Identifier: Apache-2.0
"""What a program says when it attaches itself: the vectors that the node runs, too."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hornbeam_erlang
from hornbeam_erlang._attach import Wish, _send, attach
from hornbeam_erlang.errors import NodeDown

ROOT = Path(hornbeam_erlang.__file__).resolve().parents[2]
FILE = ROOT / "apps/hornbeam/priv/protocol/vectors/attach.json"
ENTRIES = {entry["name"]: entry for entry in json.loads(FILE.read_text())}

WISHES: list[tuple[str, dict[str, Any]]] = [
    ("a worker", {"kind": "worker", "app": "app:application"}),
    (
        "a worker with labels, an integer and a text",
        {"kind": "worker", "app": "app:application", "labels": {"gpu": 1, "zone": "a"}},
    ),
    ("a provider of hooks", {"kind": "hooks", "app": "models", "threads": 4}),
    ("a client", {"kind": "client"}),
]


@pytest.mark.parametrize(("name", "given"), WISHES, ids=[name for name, _ in WISHES])
def test_options(name: str, given: dict[str, Any]) -> None:
    """A wish is written as the vector has it."""
    options = dict(ENTRIES[name]["options"]["map"])
    if "labels" in options:
        options["labels"] = options["labels"]["map"]
    wish = Wish(node="a@b", cookie="secret", name="worker", **given)
    assert wish.options() == options


def test_the_cookie_is_not_shown() -> None:
    """It does not get into logs and tracebacks with the rest."""
    assert "secret" not in repr(Wish(node="a@b", cookie="secret", kind="client", name="n"))


def test_hosts_and_connections_that_are_none() -> None:
    """A host that nobody can have, and a node that hangs up, are NodeDown as any node that is not
    there."""
    wish = Wish(f"x@{'h' * 64}", "cookie", "client", "me")
    for port in (None, 1):
        with pytest.raises(NodeDown):
            attach(replace(wish, port=port))
    here, there = socket.socketpair()
    there.close()
    with here, pytest.raises(NodeDown, match="broke"):
        _send(wish, here, b"x")
