# SPDX-License-Identifier: Apache-2.0
"""Reads the message vectors (vectors/README.md, "Frames and conversations"). Pure but for the
file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hornbeam_erlang._wire import NAMES, Message

DIRECTORY = Path(__file__).parents[3] / "apps/hornbeam/priv/protocol/vectors"
CODES = {name: code for code, name in NAMES.items()}


def read(name: str, least: int) -> list[dict[str, Any]]:
    """The entries of file `name`, which has at least `least` of them, with unique names."""
    entries: list[dict[str, Any]] = json.loads((DIRECTORY / name).read_text())
    assert len(entries) >= least, f"{name} is nearly empty"
    assert len({entry["name"] for entry in entries}) == len(entries), "names are unique"
    return entries


def term(notation: Any) -> Any:
    """The Python value of a field."""
    if isinstance(notation, str):
        return notation.encode()
    if isinstance(notation, list):
        return [term(item) for item in notation]
    if not isinstance(notation, dict):
        return notation
    ((kind, value),) = notation.items()
    match kind:
        case "hex":
            return bytes.fromhex(value)
        case "repeat":
            return bytes.fromhex(value[0]) * value[1]
        case "tuple":
            return tuple(term(item) for item in value)
        case "map":
            return {key.encode(): term(item) for key, item in value.items()}
    raise ValueError(f"unknown notation {notation!r}")


def message(notation: list[Any]) -> Message:
    return (CODES[notation[0]], *(term(field) for field in notation[1:]))


def packet(entry: dict[str, Any]) -> bytes:
    """The bytes of a frame, without its length."""
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    return b"".join(bytes.fromhex(piece) * times for piece, times in entry["parts"])
