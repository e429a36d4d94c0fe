# SPDX-License-Identifier: Apache-2.0
"""Finds what in a value has no Erlang term, and where, after encoding it has failed.

Runs in the thread that encoded, on the error path only: the encoders keep no account of where
they are, so that values that can be encoded do not pay for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ._codec_common import EXTERNAL, ArrayParts, Unencodable, adapt
from ._codec_scan import is_opaque
from .errors import TermError
from .terms import ImproperList

if TYPE_CHECKING:
    from collections.abc import Iterator

    # Containers from the outermost to the one being searched, with their paths and what is left.
    Trail = list[tuple[object, str, Iterator[tuple[str, object]]]]

_HINTS: Final = {
    "set": "make it a list",
    "frozenset": "make it a list",
    "Decimal": "make it a str",
    "UUID": "make it a str, or bytes with .bytes",
    "datetime": "use isoformat() or timestamp()",
    "date": "use isoformat()",
    "complex": "make it a tuple of two floats",
    "ndarray": "give it a plain dtype: no objects, no fields",
    "generator": "make it a list",
}
_VALUES: Final = (
    "use None, bool, int, float, str, bytes, list, tuple, dict, a NumPy array or a class of"
    " hornbeam_erlang.terms"
)
_WIRE_VALUES: Final = "messages hold None, bool, int, bytes, list, tuple and dict only"


def explain(value: object, *, wire: bool, max_depth: int, max_size: int) -> TermError:
    """The error that says why `value` cannot be encoded, with the path to the part at fault."""
    reason = _leaf(value, wire)
    if reason:
        return TermError(reason, "value")
    trail: Trail = [(value, "value", _children(value, wire))]
    while trail:
        parent, path, children = trail[-1]
        step, child = next(children, ("", None))
        if not step:
            trail.pop()
            continue
        where = step % path
        if len(trail) > max_depth:
            return _too_deep(trail, max_depth, where)
        reason = _leaf(child, wire)
        if reason:
            return TermError(reason, where)
        trail.append((child, where, _children(child, wire)))
    return TermError(f"the term is larger than {max_size} bytes; send it in parts", "value")


def _too_deep(trail: Trail, max_depth: int, path: str) -> TermError:
    seen: set[int] = set()
    for container, where, _ in trail:
        if id(container) in seen:
            return TermError("the value contains itself here; terms are trees", where)
        seen.add(id(container))
    short = path if len(path) <= 80 else f"{path[:60]}…{path[-16:]}"
    return TermError(f"nests deeper than {max_depth} levels; make it flatter", short)


def _children(value: object, wire: bool) -> Iterator[tuple[str, object]]:
    """Steps, as format strings that take the path of `value`, with what they lead to."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield f"%s[{index}]", item
    elif isinstance(value, dict):
        for index, (key, item) in enumerate(list(value.items())):
            yield f"list(%s)[{index}]", key
            yield f"%s[{_short(key)}]", item
    elif isinstance(value, ImproperList) and not wire:
        for index, item in enumerate(value.elements):
            yield f"%s.elements[{index}]", item
        yield "%s.tail", value.tail


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than sys.get_int_max_str_digits()
        text = object.__repr__(value)
    return (text if len(text) <= 60 else f"{text[:59]}…").replace("%", "%%")


def _leaf(value: object, wire: bool) -> str:
    """Why `value` itself, its contents aside, has no term; empty when it has one."""
    if value is None or isinstance(value, bool | bytes | bytearray | list | tuple | dict):
        return ""
    if isinstance(value, memoryview):
        return _memory(value)
    if isinstance(value, int):
        return _integer(value) if wire else ""
    return _wire_leaf(value) if wire else _value_leaf(value)


def _memory(view: memoryview) -> str:
    try:
        return "" if view.nbytes >= 0 else "memoryview of no size"
    except ValueError:
        return "the memoryview was released; encode it before"


def _integer(value: int) -> str:
    if -(1 << 63) <= value < 1 << 64:
        return ""
    return f"an int of {value.bit_length()} bits; messages hold ints of 64 bits"


def _wire_leaf(value: object) -> str:
    if isinstance(value, str):
        return f"str {_short(value)}; text in messages is bytes, encode() it"
    return f"{_name(value)}; {_WIRE_VALUES}"


def _value_leaf(value: object) -> str:
    if isinstance(value, str):
        try:
            str.encode(value)
        except UnicodeEncodeError:
            return f"str {_short(value)} holds a lone surrogate; send it as bytes"
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else _not_finite(value)
    if isinstance(value, ImproperList):
        return ""
    return _other(value)


def _not_finite(value: float) -> str:
    return f"{float(value)!r} is no Erlang float; send None or a str in its place"


def _other(value: object) -> str:
    try:
        native = adapt(value)
    except Unencodable:
        hint = _HINTS.get(type(value).__name__, _VALUES)
        if hasattr(type(value), "__dataclass_fields__"):
            hint = "make it a dict with dataclasses.asdict()"
        return f"{_name(value)} has no Erlang term; {hint}"
    if isinstance(native, float) and not math.isfinite(native):
        return _not_finite(native)
    if type(value) in EXTERNAL and not isinstance(native, ArrayParts):
        return _opaque(value, native)
    return ""


def _opaque(value: object, external: object) -> str:
    if isinstance(external, bytes) and is_opaque(external):
        return ""
    return f"{value!r} does not hold the external term of a {_name(value)}"


def _name(value: object) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
