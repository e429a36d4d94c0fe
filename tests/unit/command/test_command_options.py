# SPDX-License-Identifier: Apache-2.0
"""The node's options as flags of the command: types, and that none is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hornbeam_erlang import _command, _command_options
from hornbeam_erlang._command_options import Option
from hornbeam_erlang.terms import Atom

README = Path(__file__).resolve().parents[3] / "README.md"
TABLE = {option.name: option for group in _command_options.GROUPS.values() for option in group}

# Options of the node that the command gives under a name of its own, in a form that a command line
# can hold, or not at all.
OTHERS = {
    "bind": "--bind",
    "max_connections": "--max-connections",
    "worker_class": "--interface",
    "workers": "--workers",
    "threads": "--threads",
    "timeout": "--timeout",
    "pythonpath": "--app-dir",
    "python": "the command's own",
    "ssl": "--certfile",
    "certfile": "--certfile",
    "keyfile": "--keyfile",
    "keyfile_password": "--keyfile-password",
    "cacertfile": "--cacertfile",
    "verify": "--verify",
    "ciphers": "--ciphers",
    "tls_min_version": "--tls-min-version",
    "cluster": "--join, --join-dns",
    "hooks": "Erlang functions",
}


def documented() -> dict[str, str]:
    """The README's table: option and default."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", README.read_text(), re.MULTILINE)
    table = dict(rows)
    assert table.keys() >= {"bind", "hooks"}
    return table


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--queue-limit", "7"], {"queue_limit": 7}),
        (["--max-body", "infinity"], {"max_body": Atom("infinity")}),
        (["--max-body", "5"], {"max_body": 5}),
        (["--keepalive", "0.5"], {"keepalive": 0.5}),
        (["--keepalive", "5"], {"keepalive": 5}),
        (["--http-version", "HTTP/1.1"], {"http_version": [Atom("HTTP/1.1")]}),
        (["--loop", "asyncio"], {"loop": Atom("asyncio")}),
        (["--websocket-compress"], {"websocket_compress": True}),
        (["--env", "A=b=c", "--env", "D"], {"env": [("A", "b=c"), ("D", False)]}),
        (["--venv", "v"], {"venv": "v"}),
        (["--remote-labels", "gpu=1,zone=a"], {"remote_labels": {"gpu": "1", "zone": "a"}}),
        (["--rpc-allow", "none"], {"rpc_allow": Atom("none")}),
        (["--rpc-allow", "lists"], {"rpc_allow": [("lists", "*", "*")]}),
        (
            ["--rpc-allow", "a:f,b*:*:n@::1"],
            {"rpc_allow": [("a", "f", "*"), ("b*", "*", "n@::1")]},
        ),
    ],
)
def test_types(argv: list[str], expected: dict[str, object]) -> None:
    """What is typed arrives under the node's name as the node's type."""
    arguments = _command.parser().parse_args([*argv, "app:application"])
    given = _command_options.given(arguments)
    assert {name: value for name, value in given.items() if value is not None} == expected


def test_an_environment_of_its_own_has_its_own_interpreter() -> None:
    """With --venv the node looks for the interpreter there."""
    arguments = _command.parser().parse_args(["--venv", "v", "app:application"])
    assert Atom("python") not in _command.node_options(arguments)


@pytest.mark.parametrize(
    "argv",
    [
        ["--queue-limit", "many"],
        ["--max-body", "-"],
        ["--loop", "uv"],
        ["--env", "=x"],
        ["--remote-labels", "gpu"],
    ],
)
def test_what_is_no_value_is_named(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The flag at fault is in the message, and the status is that of a usage error."""
    with pytest.raises(SystemExit) as end:
        _command.parser().parse_args([*argv, "app:application"])
    assert end.value.code == 2
    assert argv[0] in capsys.readouterr().err


def test_no_option_is_missing() -> None:
    """Every option of the node can be given to the command, or is explained above."""
    assert documented().keys() == TABLE.keys() | OTHERS.keys()


@pytest.mark.parametrize("option", TABLE.values(), ids=TABLE.keys())
def test_defaults_are_the_nodes(option: Option) -> None:
    """What stands in parentheses is the default of the README's table."""
    said = re.search(r"\(([^()]*)\)$", option.help)
    assert said is not None
    shown = documented()[option.name].strip("`")
    special = {
        "http_version": "both",
        "queue_timeout": "as --timeout",
        "venv": "that of this command",
    }
    assert said[1] == special.get(option.name, shown)
