# SPDX-License-Identifier: Apache-2.0
"""Loading an application: every form of a specification, and every way it can fail, with its name
and text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornbeam_erlang._loader import LoadError, load

FILES = {
    "good.py": """
def application(environ, start_response): return "good"
class Holder:
    class inner:
        app = staticmethod(lambda *a: "inner")
number = 5
def make(): return application
def make_number(): return 5
def make_fails(): raise ValueError("in the factory")
def make_exits(): raise SystemExit(2)
class Late:
    @property
    def app(self): raise KeyError("in a property")
late = Late()
""",
    "package/__init__.py": "",
    "package/module.py": "application = lambda *a: 'packaged'\n",
    "needs_missing.py": "import surely_not_installed\n",
    "needs_missing_part.py": "import package.missing\n",
    "raises.py": "def inner():\n    raise RuntimeError('while importing')\ninner()\n",
    "syntax.py": "def broken(:\n",
    "exits.py": "import sys\nsys.exit('no configuration')\n",
    "bad_package/__init__.py": "import surely_not_installed\n",
    "bad_package/module.py": "application = print\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = {
    "good:application": "good",
    "good:Holder.inner.app": "inner",
    "good:make()": "good",
    "package.module:application": "packaged",
}


@pytest.mark.parametrize("specification", GOOD)
def test_good_specifications(specification: str) -> None:
    """`module:callable`, `module:object.attribute` and `module:factory()` give what they name."""
    assert load(specification)({}, None) == GOOD[specification]


BAD = {
    "missing:app": ("no_module", "no module named 'missing'; is its directory on the pythonpath?"),
    "package.missing:app": ("no_module", "no module named 'package.missing'"),
    "missing.part:app": ("no_module", "no module named 'missing'"),
    "good.part:app": ("no_module", "no module named 'good.part'"),
    "needs_missing:app": ("import_failed", "No module named 'surely_not_installed'"),
    "needs_missing_part:app": ("import_failed", "No module named 'package.missing'"),
    "bad_package.module:application": ("import_failed", "surely_not_installed"),
    "raises:app": ("import_failed", "RuntimeError: while importing"),
    "syntax:app": ("import_failed", "SyntaxError"),
    "exits:app": ("import_failed", "SystemExit: no configuration"),
    "good:aplication": ("no_attribute", "no attribute 'aplication'; did you mean 'application'?"),
    "good:Holder.iner": ("no_attribute", "'Holder' of module 'good' has no attribute 'iner'"),
    "good:late.app": ("import_failed", "KeyError: 'in a property'"),
    "good": ("no_attribute", "'good': write module:callable"),
    ":app": ("no_attribute", "write module:callable"),
    "good:": ("no_attribute", "write module:callable"),
    "good:()": ("no_attribute", "no attribute ''"),
    "good:number": ("not_callable", "'good:number' is of type int, which cannot be called"),
    "good:make_number()": ("not_callable", "returned a value of type int, not a callable"),
    "good:number()": ("not_callable", "cannot be called"),
    "good:make_fails()": ("factory_failed", "ValueError: in the factory"),
    "good:make_exits()": ("factory_failed", "SystemExit: 2"),
}


@pytest.mark.parametrize("specification", BAD)
def test_bad_specifications(specification: str) -> None:
    """Each failure has its own name: a missing module is told apart from a failing import of a
    present one."""
    with pytest.raises(LoadError) as caught:
        load(specification)
    name, text = BAD[specification]
    assert caught.value.name == name
    assert text in caught.value.text


def test_traceback_begins_in_the_application() -> None:
    """The traceback of a failing import shows the application's frames and none of the import
    machinery."""
    with pytest.raises(LoadError) as caught:
        load("raises:app")
    text = caught.value.text
    assert 'raises.py", line 3' in text
    assert "in inner" in text
    assert "importlib" not in text
    assert "_loader.py" not in text
