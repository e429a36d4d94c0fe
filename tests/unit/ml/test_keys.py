# SPDX-License-Identifier: Apache-2.0
"""Which inputs and functions have the same key, and which must not."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam_ml import inference_key


def encode(value: Any) -> Any:
    return value


def other(value: Any) -> Any:
    return value


class Model:
    def encode(self, value: Any) -> Any:
        return value

    def __call__(self, value: Any) -> Any:
        return value


model, second = Model(), Model()

DIFFERENT: list[Any] = [
    None, True, 1, 1.0, "1", b"1", bytearray(b"1"), "", b"", [], (), {}, set(), frozenset(),
    0, False, 0.0, -0.0, [1], (1,), [[1]], [1, 2], [12], ["1", "2"], ["12"], ["1", "2", ""],
    {"a": 1}, {"a": 1, "b": 2}, {"a": "1"}, {1: 2}, {True: 2}, {"ab": 1}, 2**80, 1e-20, 1j,
    np.zeros(4, "f4"), np.zeros(4, "f8"), np.zeros((2, 2), "f4"), np.zeros((4, 1), "f4"),
    np.zeros(4, "i4"), np.zeros(4, ">i4"), np.float32(0), np.float64(0), np.arange(4, dtype="f4"),
]  # fmt: skip


def test_different_inputs_have_different_keys() -> None:
    """Inputs that differ in type, shape or content never share a key."""
    keys = [inference_key(encode, value) for value in DIFFERENT]
    assert len(set(keys)) == len(DIFFERENT)


def test_large_arrays_that_differ_in_one_element() -> None:
    """Two large arrays with the same beginning, end and repr have different keys."""
    one = np.zeros(1_000_000, "f4")
    two = one.copy()
    two[500_000] = 1
    assert repr(one) == repr(two)
    assert inference_key(encode, one) != inference_key(encode, two)


def test_equal_inputs_have_equal_keys() -> None:
    """The order of a dict or set, and the strides of an array, are not content."""
    assert inference_key(encode, {"a": 1, "b": 2}) == inference_key(encode, {"b": 2, "a": 1})
    assert inference_key(encode, {"x", "y", "z"}) == inference_key(encode, {"z", "y", "x"})
    square = np.arange(9).reshape(3, 3)
    assert inference_key(encode, square.T) == inference_key(encode, square.T.copy())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)  # fmt: skip


@given(VALUES, VALUES)
def test_keys_are_equal_only_when_values_are(one: Any, two: Any) -> None:
    """Equal keys mean equal values of equal types; the same value has the same key."""
    assert inference_key(encode, one) == inference_key(encode, one)
    if inference_key(encode, one) == inference_key(encode, two):
        assert one == two
        assert type(one) is type(two)


def test_functions_have_keys_of_their_own() -> None:
    """Different functions, methods of different objects, and bound arguments are told apart."""
    functions: list[Callable[..., Any]] = [
        encode, other, model.encode, second.encode, model, second, len, Model, str.upper,
        functools.partial(encode, 1), functools.partial(encode, 2), functools.partial(other, 1),
        lambda value: value + 1, lambda value: value + 2, Model().encode,
        *(scaled(factor) for factor in (1, 2)),
    ]  # fmt: skip
    keys = [inference_key(function, 1) for function in functions]
    assert len(set(keys)) == len(functions)
    assert keys == [inference_key(function, 1) for function in functions]


def scaled(factor: int) -> Callable[[int], int]:
    return lambda value: value * factor


def test_objects_at_one_address_after_each_other() -> None:
    """A new object never has the key of one that is gone."""
    keys = {inference_key(Model().encode, 1) for _ in range(50)}
    assert len(keys) == 50


def test_key_is_the_same_in_all_processes() -> None:
    """A function and a global model have the same key in every worker."""
    code = (
        "from hornbeam_ml import inference_key; from unit.ml.test_keys import encode, model;"
        "print(inference_key(encode, {'a': [1, b'x']}), inference_key(model.encode, 'text'))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True,
            env={"PYTHONPATH": "tests", "PYTHONHASHSEED": str(seed)}, timeout=60,
        ).stdout
        for seed in range(2)
    }  # fmt: skip
    assert len(outputs) == 1


@pytest.mark.parametrize("value", [object(), [object()], np.array([object()]), itertools.count()])
def test_inputs_without_content_are_refused(value: Any) -> None:
    """What cannot be compared is an error that says what to do, not a wrong hit."""
    with pytest.raises(TypeError, match="pass cache_key"):
        inference_key(encode, value)
