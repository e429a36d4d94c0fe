# SPDX-License-Identifier: Apache-2.0
"""The classes of Erlang terms and the exceptions: what their users rely on."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from hornbeam_erlang import errors
from hornbeam_erlang.terms import Atom, BitString, Fun, ImproperList, Pid, Port, Ref

NODE = Atom("a@b")
TERMS = [
    Pid(NODE, 1, 2, 3),
    Port(NODE, 2**64 - 1, 3),
    Ref(NODE, 3, (1, 2)),
    Fun(b"q"),
    BitString(b"\x80", 1),
    ImproperList((1,), 2),
]


def test_atom_is_text() -> None:
    """An atom equals its text, hashes like it, and shows what it is."""
    assert Atom("ok") == "ok"
    assert dict[str, int]({Atom("ok"): 1})["ok"] == 1
    assert repr(Atom("o'k")) == 'Atom("o\'k")'
    assert isinstance(Atom("ok"), str)
    assert not hasattr(Atom("ok"), "__dict__")


def test_atom_has_at_most_255_characters() -> None:
    """255 characters are an atom, 256 are not."""
    assert len(Atom("é" * 255)) == 255
    with pytest.raises(errors.TermError, match="255"):
        Atom("a" * 256)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_opaque_terms(term: object) -> None:
    """They are equal by content, hashable, immutable and without a dict."""
    twin = copy.copy(term)
    assert twin == term
    assert hash(twin) == hash(term)
    assert pickle.loads(pickle.dumps(term)) == term
    assert not hasattr(term, "__dict__")
    name = dataclasses.fields(term)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(term, name, None)
    assert all(other == term for other in TERMS if type(other) is type(term))
    assert sum(other == term for other in TERMS) == 1


def test_bytes_of_arrival_do_not_count() -> None:
    """Identifiers that came with other tags are the same identifiers."""
    assert Pid(NODE, 1, 2, 3, external=b"g") == Pid(NODE, 1, 2, 3)
    assert hash(Pid(NODE, 1, 2, 3, external=b"g")) == hash(Pid(NODE, 1, 2, 3))


def test_unused_bits_are_cleared() -> None:
    """Two bit strings with the same bits are equal."""
    assert BitString(b"\x12\xff", 3) == BitString(b"\x12\xe0", 3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Pid(NODE, 2**32, 0, 0), "out of range"),
        (lambda: Port(NODE, 2**64, 0), "out of range"),
        (lambda: Ref(NODE, -1, (1,)), "out of range"),
        (lambda: Ref(NODE, 0, ()), "1 to 5 words"),
        (lambda: Ref(NODE, 0, (1,) * 6), "1 to 5 words"),
        (lambda: BitString(b"", 1), "at least one byte"),
        (lambda: BitString(b"x", 8), "1 to 7 bits"),
        (lambda: ImproperList((), 1), "at least one"),
        (lambda: ImproperList((1,), []), "tail"),
        (lambda: ImproperList((1,), ImproperList((1,), 2)), "tail"),
    ],
)
def test_impossible_terms_are_refused(make: object, text: str) -> None:
    """What Erlang has no term for cannot be made."""
    with pytest.raises(errors.TermError, match=text):
        make()  # type: ignore[operator]


ERRORS = [
    (errors.NotConnected("state_get"), ConnectionError, {"operation": "state_get"}),
    (errors.CallTimeout("call", 1.5), TimeoutError, {"operation": "call", "seconds": 1.5}),
    (errors.NodeDown("n@h", "gone"), ConnectionError, {"node": "n@h", "reason": "gone"}),
    (errors.RemoteError("error", Atom("badarg"), "s"), RuntimeError, {"stack": "s"}),
    (errors.NotRegistered("add"), LookupError, {"name": "add"}),
    (errors.HandlerError("ValueError", "no", "tb"), RuntimeError, {"traceback": "tb"}),
    (errors.Overloaded("calls", 5), RuntimeError, {"resource": "calls", "limit": 5}),
    (errors.Cancelled("call"), RuntimeError, {"operation": "call"}),
    (errors.StartFailed("no erl"), RuntimeError, {"reason": "no erl"}),
    (errors.TermError("why", "value[0]"), TypeError, {"reason": "why", "path": "value[0]"}),
]


@pytest.mark.parametrize(("error", "base", "fields"), ERRORS, ids=lambda part: type(part).__name__)
def test_exceptions(error: errors.HornbeamError, base: type, fields: dict[str, object]) -> None:
    """Each is the root, RuntimeError and its own base; has fields; and survives pickling."""
    assert isinstance(error, errors.HornbeamError)
    assert isinstance(error, RuntimeError)
    assert isinstance(error, base)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))
    for name, value in fields.items():
        assert getattr(error, name) == value
        assert str(value) in str(error)


def test_every_exception_is_tested() -> None:
    """The table above has one of each."""
    tested = {type(error).__name__ for error, _, _ in ERRORS}
    assert tested == set(errors.__all__) - {"HornbeamError"}
