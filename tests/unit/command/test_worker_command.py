# SPDX-License-Identifier: Apache-2.0
"""The command line of hornbeam-worker: what the workers are told, and what is refused."""

from __future__ import annotations

import os

import pytest

from hornbeam_erlang import _worker_command as command

NODE = ("--node", "front@10.0.0.1", "--cookie", "secret")


def told(*argv: str) -> dict[str, object]:
    arguments = command.parser().parse_args([*NODE, *argv])
    command.check(command.parser(), arguments)
    return command.job(arguments)


def test_a_worker_of_an_application() -> None:
    """Defaults, and the folder as an absolute path."""
    assert told("app:application") == {
        "path": [os.getcwd()],
        "node": "front@10.0.0.1",
        "cookie": "secret",
        "kind": "worker",
        "app": "app:application",
        "port": None,
        "labels": {},
        "threads": None,
        "seconds": 10.0,
    }


def test_a_provider_of_hooks() -> None:
    """Labels are texts; the first = ends the name."""
    options = ("--hooks", "models", "--label", "gpu=1", "--label", "a=b=c", "--dist-port", "9100")
    job = told(*options, "--threads", "3", "--connect-timeout", "0.5")
    assert job["kind"] == "hooks"
    assert job["app"] == "models"
    assert job["labels"] == {"gpu": "1", "a": "b=c"}
    assert (job["threads"], job["port"], job["seconds"]) == (3, 9100, 0.5)
    assert told("--hooks", "models")["threads"] == 1


REFUSED = [
    ((), "either module:callable or --hooks"),
    (("a:b", "--hooks", "m"), "either module:callable or --hooks"),
    (("a:b", "--threads", "2"), "as many as the node says"),
    (("a:b", "--label", "gpu"), "expected NAME=VALUE"),
    (("a:b", "--label", "=1"), "expected NAME=VALUE"),
    (("a:b", "--label", "g=" + "x" * 256), "expected NAME=VALUE"),
    (("a:b", "--label", "g=1", "--label", "g=2"), "the same name twice"),
    (("a:b", "--cookie-file", "f"), "not together"),
    (("a:b", "--workers", "0"), "expected 1 to 1024"),
    (("a:b", "--connect-timeout", "0"), "expected seconds"),
    (("a:b", "--connect-timeout", "nan"), "expected seconds"),
    (("a:b", "--dist-port", "0"), "no port"),
    (("a:b", "--app-dir", "/nowhere/at/all"), "not a folder"),
]


@pytest.mark.parametrize(("argv", "text"), REFUSED)
def test_refused(argv: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong ends the command with status 2 and the reason."""
    with pytest.raises(SystemExit) as ended:
        command.main([*NODE, *argv])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_a_cookie_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1: it may be the environment's."""
    assert command.main(["--node", "a@b.c", "--cookie", "two words", "a:b"]) == 1
    assert "argument --cookie" in capsys.readouterr().err
