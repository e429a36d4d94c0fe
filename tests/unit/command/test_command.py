# SPDX-License-Identifier: Apache-2.0
"""The command line without a node: options, the term for the node, what is missing and said so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hornbeam_erlang import _command, _emulator, codec
from hornbeam_erlang.errors import StartFailed
from hornbeam_erlang.terms import Atom

COMMAND = [sys.executable, "-m", "hornbeam_erlang._command"]


def options(*argv: str) -> dict[str, object]:
    given = _command.node_options(_command.parser().parse_args(argv))
    assert all(isinstance(key, Atom) for key in given)
    return {str(key): value for key, value in given.items()}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--bind", "[::1]:80"], {"bind": ["[::1]:80"]}),
        (["--bind", "8000", "--bind", "unix:/s"], {"bind": ["8000", "unix:/s"]}),
        (["--workers", "3"], {"workers": 3}),
        (["--threads", "8"], {"threads": 8}),
        (["--timeout", "1500"], {"timeout": 1500}),
        (["--interface", "wsgi"], {"worker_class": Atom("wsgi")}),
        (["--interface", "asgi"], {"worker_class": Atom("asgi")}),
        (["--app-dir", "/srv/app"], {"pythonpath": ["/srv/app"]}),
        (["--max-connections", "7"], {"max_connections": 7}),
        (["--certfile", "c"], {"ssl": True, "certfile": "c"}),
        (["--keyfile", "k"], {"keyfile": "k"}),
        (["--keyfile-password", "p"], {"keyfile_password": "p"}),
        (["--cacertfile", "a"], {"cacertfile": "a"}),
        (["--verify", "optional"], {"verify": Atom("optional")}),
        (["--ciphers", "A:B"], {"ciphers": "A:B"}),
        (["--tls-min-version", "1.3"], {"tls_min_version": Atom("tlsv1.3")}),
        (
            ["--sname", "a@b", "--join", "c@d", "--join", "e@f", "--join-dns", "x.example"],
            {"cluster": {Atom("nodes"): ["c@d", "e@f"], Atom("dns"): "x.example"}},
        ),
        ([], {}),
    ],
)
def test_options_are_named_as_the_node_names_them_and_only_those_given(
    argv: list[str], expected: dict[str, object]
) -> None:
    """What was given arrives under the node's names; what was not is left to the node."""
    always = {
        "pythonpath": [os.getcwd()],
        "python": sys.executable,
        "workers": len(os.sched_getaffinity(0)),
    }
    assert options(*argv, "app:application") == {**always, **expected}


def test_two_processors_are_shared_between_node_and_workers() -> None:
    """Only on two processors a scheduler is in reserve; else the emulator's own choice stands."""
    flags = [_command.scheduler_flags(count) for count in (1, 2, 3, 64)]
    assert flags == [(), _command.TWO_PROCESSORS_FLAGS, (), ()]


def test_the_emulator_takes_the_flags_for_two_processors() -> None:
    """A node with these flags has one of two schedulers online, and takes binaries by good fit."""
    ask = (
        "[S | _] = [S || {instance, 0, L} <- erlang:system_info({allocator, binary_alloc}),"
        " {options, O} <- L, {as, S} <- O],"
        " [All, Online] = [erlang:system_info(I) || I <- [schedulers, schedulers_online]],"
        ' io:format("~b ~b ~s", [All, Online, S]), halt().'
    )
    command = ["erl", *_command.TWO_PROCESSORS_FLAGS, "-noshell", "-eval", ask]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout == "2 1 gf"


def test_app_dir_is_made_absolute() -> None:
    """A relative folder means the one below the folder the command was started in."""
    assert options("--app-dir", "x/..", "a:b")["pythonpath"] == [os.getcwd()]


def test_environment_carries_one_external_term() -> None:
    """The variable holds the encoded pair of app and options, keys as atoms, texts as binaries."""
    arguments = _command.parser().parse_args(["--workers", "2", "--interface", "wsgi", "é:f"])
    variables = _command.environment(arguments, {})
    term = codec.decode(bytes.fromhex(variables[_command.VARIABLE]))
    assert term == ("é:f", _command.node_options(arguments))
    assert variables["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("installed", ["cowboy", "cowboy-2.8.0"])
def test_code_is_found_on_erl_libs(tmp_path: Path, installed: str) -> None:
    """A library folder of ERL_LIBS holds an application with or without its version."""
    ebin = tmp_path / "libs" / installed / "ebin"
    ebin.mkdir(parents=True)
    (ebin / "cowboy.app").touch()
    erl_libs = f"/nowhere:{tmp_path / 'libs'}"
    assert _emulator.code_folder("cowboy", tmp_path, erl_libs) == ebin


def test_code_that_was_built_wins_over_what_was_unpacked(tmp_path: Path) -> None:
    """A dependency from the registry is in _build; leftovers in .deps do not shadow it."""
    built = tmp_path / "_build" / "default" / "lib" / "ranch" / "ebin"
    unpacked = tmp_path / ".deps" / "lib" / "ranch-2.1.0" / "ebin"
    for ebin in (built, unpacked):
        ebin.mkdir(parents=True)
        (ebin / "ranch.app").touch()
    assert _emulator.code_folder("ranch", tmp_path, "") == built


def test_code_that_is_nowhere_is_named(tmp_path: Path) -> None:
    """A tree that was not built says which application is missing and what to run."""
    with pytest.raises(StartFailed, match="hornbeam is not built: run make in"):
        _emulator.code_folder("hornbeam", tmp_path, "")


def run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *argv],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_missing_erlang_is_said_with_what_to_install(tmp_path: Path) -> None:
    """Without erl on PATH: status 1, and the packages to install."""
    done = run("app:application", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no Erlang on PATH" in done.stderr
    assert "apt-get install erlang-base" in done.stderr


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "module:callable"),
        (["--workers", "many", "a:b"], "--workers"),
        (["--interface", "fastcgi", "a:b"], "--interface"),
        (["--app-dir", "/does/not/exist", "a:b"], "/does/not/exist is not a folder"),
        (["--unknown", "a:b"], "--unknown"),
    ],
)
def test_wrong_command_lines_are_refused(argv: list[str], complaint: str) -> None:
    """A command line that cannot be right: status 2 and the argument at fault, no node started."""
    done = run(*argv)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_version_is_printed() -> None:
    """--version prints the name and the version on standard output."""
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "hornbeam")
