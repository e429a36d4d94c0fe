# SPDX-License-Identifier: Apache-2.0
"""Loads the application that BOOT names: `module:callable`, `module:object.attribute`,
`module:factory()`.

Runs in the main thread, once. Every failure is a `LoadError` with a name of PROTOCOL.md, section
4.1, and a text for the person who typed the specification.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._tracebacks import format_exception


class LoadError(Exception):
    """The application cannot be loaded.

    Attributes:
        name: `no_module`, `import_failed`, `no_attribute`, `not_callable` or `factory_failed`.
        text: for people; with the traceback where the application's own code raised.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def load_module(name: str) -> None:
    """Imports a module that registers handlers.

    Raises: LoadError.
    """
    _import(name)


def load(specification: str) -> Callable[..., Any]:
    """The callable that `specification` names.

    Raises: LoadError.
    """
    module_name, colon, path = specification.partition(":")
    if not (module_name and colon and path):
        raise LoadError("no_attribute", f"{specification!r}: write module:callable")
    is_factory = path.endswith("()")
    found = _resolve(_import(module_name), module_name, path.removesuffix("()"))
    if not callable(found):
        text = f"{specification!r} is of type {type(found).__name__}, which cannot be called"
        raise LoadError("not_callable", text)
    return _make(found, specification) if is_factory else found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            text = f"no module named {exc.name!r}; is its directory on the pythonpath?"
            raise LoadError("no_module", text) from exc
        raise _import_failed(name, exc) from exc
    except BaseException as exc:  # a module may call sys.exit() as well
        raise _import_failed(name, exc) from exc


def _import_failed(name: str, exc: BaseException) -> LoadError:
    return LoadError("import_failed", f"importing {name!r} raised\n{format_exception(exc)}")


def _resolve(module: ModuleType, module_name: str, path: str) -> object:
    found: object = module
    where = f"module {module_name!r}"
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            text = f"{where} has no attribute {part!r}{_suggestion(found, part)}"
            raise LoadError("no_attribute", text) from None
        except BaseException as exc:
            text = f"reading {part!r} of {where} raised\n{format_exception(exc)}"
            raise LoadError("import_failed", text) from exc
        where = f"{part!r} of {where}"
    return found


def _suggestion(holder: object, part: str) -> str:
    names = [name for name in dir(holder) if not name.startswith("__")]
    near = difflib.get_close_matches(part, names, n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _make(factory: Callable[[], object], specification: str) -> Callable[..., Any]:
    try:
        made = factory()
    except BaseException as exc:
        text = f"{specification!r} raised\n{format_exception(exc)}"
        raise LoadError("factory_failed", text) from exc
    if not callable(made):
        text = f"{specification!r} returned a value of type {type(made).__name__}, not a callable"
        raise LoadError("not_callable", text)
    return made
