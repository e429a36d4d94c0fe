# SPDX-License-Identifier: Apache-2.0
"""Keys of cached results: which function, and which input, to the last bit. Pure.

Two inputs have the same key only when they have the same type, shape and content: `1` and `True`,
`b"x"` and `"x"`, `float32` and `float64` are different inputs. A key is the same in all workers.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

_numbers = itertools.count(1)
_objects: dict[int, tuple[weakref.ref[Any], str]] = {}  # by id, as long as the object lives
_taken: set[str] = set()


def inference_key(fn: Callable[..., Any], input_data: Any) -> str:
    """The key of the result of `fn(input_data)`, without a prefix: 64 hexadecimal digits.

    Args:
        fn: a function, a method of an object, a `functools.partial` of one, or a callable object.
        input_data: None, numbers, text, bytes, lists, tuples, dicts, sets of these; arrays of NumPy
            and tensors of PyTorch; images of Pillow.

    Raises: TypeError: the content of an input or of a captured variable cannot be told; pass
        `cache_key`.
    """
    digest = hashlib.blake2b(digest_size=32)
    _feed_function(digest, fn)
    _feed(digest, input_data)
    return digest.hexdigest()


def _put(digest: hashlib.blake2b, kind: str, *parts: bytes) -> None:
    digest.update(b"%d:%s" % (len(kind), kind.encode()))
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)


# The function.

_DESCRIPTORS = (types.MethodDescriptorType, types.WrapperDescriptorType)


def _feed_function(digest: hashlib.blake2b, fn: Callable[..., Any]) -> None:
    if isinstance(fn, functools.partial):
        _put(digest, "partial")
        _feed_function(digest, fn.func)
        _feed(digest, [list(fn.args), fn.keywords])
    elif isinstance(fn, types.MethodType):
        _put(digest, "method", fn.__func__.__qualname__.encode())
        _put(digest, "self", _object_name(fn.__self__).encode())
    elif isinstance(fn, types.FunctionType):
        _put(digest, "function", fn.__module__.encode(), fn.__qualname__.encode())
        if fn.__closure__ or "<" in fn.__qualname__:
            _feed_closure(digest, fn)
    elif isinstance(fn, _DESCRIPTORS):
        _put(digest, "method", _object_name(fn.__objclass__).encode(), fn.__name__.encode())
    elif isinstance(fn, (types.BuiltinFunctionType, type)):
        owner = getattr(fn, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            _put(digest, "self", _object_name(owner).encode())
        _put(digest, "builtin", str(fn.__module__).encode(), fn.__qualname__.encode())
    else:
        _put(digest, "object", _object_name(fn).encode())


def _feed_closure(digest: hashlib.blake2b, fn: types.FunctionType) -> None:
    """What tells functions of the same name apart: their code and the variables they captured."""
    code = fn.__code__
    constants = [each for each in code.co_consts if not isinstance(each, types.CodeType)]
    _put(digest, "code", code.co_code, repr(code.co_names).encode(), repr(constants).encode())
    cells = [cell.cell_contents for cell in fn.__closure__ or ()]
    _feed(digest, [list(fn.__defaults__ or ()), fn.__kwdefaults__ or {}])
    for value in cells:
        if callable(value):
            _feed_function(digest, value)
        else:
            _feed(digest, value)


def _object_name(thing: Any) -> str:
    """A name for an object like a model: where a module has it, so that all workers agree.

    An object that no module has, or whose name another object has had in this process, gets a name
    that no other object of any worker has.
    """
    if isinstance(thing, type):
        return f"{thing.__module__}.{thing.__qualname__}"
    reference, name = _objects.get(id(thing), (None, ""))
    if reference is None or reference() is not thing:
        name = _new_name(thing)
        try:
            _objects[id(thing)] = weakref.ref(thing), name
        except TypeError as exc:
            text = f"an object of {type(thing).__qualname__} cannot be told from its successors"
            raise TypeError(f"{text}: pass cache_key") from exc
    return name


def _new_name(thing: Any) -> str:
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    for module_name, module in sorted(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is thing:
                name = f"{kind} {module_name}:{attribute}"
                if name not in _taken:
                    _taken.add(name)
                    return name
    return f"{kind} {_process()}:{next(_numbers)}"


@functools.cache
def _process() -> str:
    import secrets

    return secrets.token_hex(16)


# The input.


def _feed(digest: hashlib.blake2b, value: Any) -> None:
    kind = type(value)
    if kind in _SCALARS:
        _put(digest, kind.__name__, _SCALARS[kind](value))
    elif kind in (list, tuple):
        _put(digest, kind.__name__, b"%d" % len(value))
        for item in value:
            _feed(digest, item)
    elif kind is dict:
        _feed_sorted(digest, "dict", [[key, item] for key, item in value.items()])
    elif kind in (set, frozenset):
        _feed_sorted(digest, kind.__name__, list(value))
    elif kind in (bytes, bytearray, memoryview):
        _put(digest, kind.__name__, bytes(value))
    else:
        _feed_array(digest, value)


_SCALARS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"",
    bool: lambda value: b"%d" % value,
    int: lambda value: b"%d" % value,
    float: lambda value: value.hex().encode(),
    complex: lambda value: repr(value).encode(),
    str: lambda value: value.encode("utf-8", "surrogatepass"),
}


def _feed_sorted(digest: hashlib.blake2b, kind: str, items: list[Any]) -> None:
    """Equal dicts and sets are the same input, whatever the order of their items."""
    digests = []
    for item in items:
        one = hashlib.blake2b(digest_size=32)
        _feed(one, item)
        digests.append(one.digest())
    _put(digest, kind, *sorted(digests))


def _feed_array(digest: hashlib.blake2b, value: Any) -> None:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if kind.startswith("torch.") and hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        if value.dtype.hasobject:
            raise TypeError(f"an array of objects ({kind}) has no content to compare: {ADVICE}")
        parts = (repr(value.dtype.descr).encode(), repr(value.shape).encode(), value.tobytes())
        _put(digest, kind, *parts)
    elif hasattr(value, "tobytes") and hasattr(value, "mode") and hasattr(value, "size"):
        _put(digest, kind, value.mode.encode(), repr(value.size).encode(), value.tobytes())
    else:
        raise TypeError(f"the content of {kind} cannot be told: {ADVICE}")


ADVICE = "pass cache_key, or an input of numbers, text, bytes, lists, dicts, arrays"
