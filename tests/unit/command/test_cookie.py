# SPDX-License-Identifier: Apache-2.0
"""Cookie files: made at random for their owner alone, refused when others may read them."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hornbeam_erlang import _cookie


def test_missing_file_is_made_with_a_random_cookie_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, 64 hexadecimal digits, and the same cookie ever after."""
    file = tmp_path / "cookie"
    cookie = _cookie.ensure(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(bytes.fromhex(cookie)) == 32
    assert _cookie.ensure(file) == cookie
    assert _cookie.ensure(tmp_path / "other") != cookie
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cookie", "other"]


def test_those_who_start_at_once_agree(tmp_path: Path) -> None:
    """Eight threads that all find no file get one cookie."""
    file = tmp_path / "cookie"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(_cookie.ensure, [file] * 8))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660])
def test_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Whatever group or others may do with it; the error says what to run."""
    file = tmp_path / "cookie"
    file.write_text("secret")
    file.chmod(mode)
    with pytest.raises(_cookie.CookieError, match=r"others may read or write.*chmod 600"):
        _cookie.ensure(file)


@pytest.mark.parametrize("text", ["", "\n", "two words", "caf\u00e9", "x" * 256, "a\nb"])
def test_file_without_a_cookie_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing, spaces within, more than an atom can hold; the error names the file, no cookie."""
    file = tmp_path / "cookie"
    file.touch(0o600)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(_cookie.CookieError, match="cookie") as caught:
        _cookie.read(file)
    assert "two words" not in str(caught.value)


def test_line_ends_of_an_editor_are_no_part_of_the_cookie(tmp_path: Path) -> None:
    """As in Erlang, which reads the same file; 0400 is its own choice."""
    file = tmp_path / "cookie"
    file.write_text("secret\r\n")
    file.chmod(0o400)
    assert _cookie.read(file) == "secret"


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """No folder is made."""
    with pytest.raises(_cookie.CookieError, match="cannot write the cookie file"):
        _cookie.ensure(tmp_path / "no" / "cookie")


def test_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, the file, else Erlang's own file at home; never two of them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = _cookie.chosen(None, None)
    assert at_home == ((tmp_path / ".erlang.cookie").read_text(), True)
    assert _cookie.chosen(None, "from-variable") == ("from-variable", False)
    file = str(tmp_path / "own")
    assert _cookie.chosen(file, None) == (Path(file).read_text(), False)
    with pytest.raises(_cookie.CookieError, match="use one"):
        _cookie.chosen(file, "from-variable")
    with pytest.raises(_cookie.CookieError, match="variable HORNBEAM_COOKIE"):
        _cookie.chosen(None, "a b")


def test_directory_is_no_cookie_file(tmp_path: Path) -> None:
    """It is refused with the path."""
    os.mkdir(tmp_path / "folder", 0o700)
    with pytest.raises(_cookie.CookieError, match="folder"):
        _cookie.ensure(tmp_path / "folder")
