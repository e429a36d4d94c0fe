# SPDX-License-Identifier: Apache-2.0
"""The module for Python code that was written for ErlPort, outside a worker; what it does in one
is tested from Erlang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hornbeam_erlang import NotConnected, codec, erlport
from hornbeam_erlang.terms import Pid


def no_argument() -> None: ...


def one_and_more(one: object, more: object = 1) -> object:
    return one, more


def two_arguments(one: object, other: object) -> None: ...


@pytest.mark.parametrize("handler", [no_argument, two_arguments])
def test_handlers_take_one_argument(handler: Callable[..., Any]) -> None:
    """A handler of another number of arguments is refused when it is set, not when it is called."""
    with pytest.raises(ValueError, match="one argument"):
        erlport.set_message_handler(handler)


def test_what_is_no_function_is_no_handler() -> None:
    """A value that cannot be called is TypeError."""
    with pytest.raises(TypeError):
        erlport.set_decoder("decode")  # type: ignore[arg-type]


def test_handlers_with_defaults_are_taken() -> None:
    """One argument and more with defaults, or any number of them, is one argument."""
    erlport.set_encoder(one_and_more)
    erlport.set_encoder(lambda *values: values)
    erlport.set_default_encoder()


def test_atoms_are_made_of_bytes_too() -> None:
    """ErlPort's atoms are written as bytes; here they are text all the same."""
    assert erlport.Atom(b"ok") == erlport.Atom("ok") == "ok"
    assert codec.decode(codec.encode(erlport.Atom(b"ok"))) == "ok"


def test_lists_are_strings_on_demand() -> None:
    """A list from Erlang has the text it may stand for."""
    assert erlport.List([1078, 105]).to_string() == "жi"
    assert codec.decode(codec.encode(erlport.List([1, 2]))) == [1, 2]
    with pytest.raises(TypeError):
        erlport.List(["x", 1]).to_string()


@pytest.mark.parametrize(
    ("module", "function", "args"),
    [
        ("lists", erlport.Atom("reverse"), []),
        (erlport.Atom("a"), "b", []),
        (erlport.Atom("a"),) * 3,
    ],
)
def test_calls_take_atoms_and_a_list(module: Any, function: Any, args: Any) -> None:
    """Names that are no atoms, or arguments that are no list, are ValueError, as in ErlPort."""
    with pytest.raises(ValueError):  # noqa: PT011  # ErlPort gives it no text
        erlport.call(module, function, args)


def test_without_an_instance_there_is_no_self() -> None:
    """Before any instance has asked for anything, self() says so."""
    with pytest.raises(erlport.Error, match="no instance"):
        erlport.self()


def test_outside_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cast without a node is NotConnected, to something that is no pid ValueError."""
    pid = Pid(erlport.Atom("n@h"), 1, 0, 0)
    monkeypatch.setattr(erlport, "_latest", pid)
    with pytest.raises(NotConnected):
        erlport.cast(pid, "x")
    with pytest.raises(ValueError, match="name"):
        erlport.cast("name", "x")  # type: ignore[arg-type]


def test_what_a_function_raises_is_always_told() -> None:
    """Also when its text cannot be one of UTF-8, such as the name of a file that is none."""

    def fails(_message: object) -> None:
        raise OSError("caf\udce9")

    instance = Pid(erlport.Atom("a@h"), 1, 0, 3)
    erlport.set_message_handler(fails)
    try:
        kind, name, text, _ = erlport._serve_message(instance, 1)
    finally:
        erlport.set_default_message_handler()
    assert (kind, name, text) == ("e", "builtins.OSError", "caf\\udce9")
    codec.encode(text)
