# SPDX-License-Identifier: Apache-2.0
"""Cluster options of the command line: which flags they become, and what is refused."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from hornbeam_erlang import _command, _command_cluster, _cookie
from hornbeam_erlang.terms import Atom


def parsed(*argv: str) -> argparse.Namespace:
    return _command.parser().parse_args([*argv, "app:application"])


def flags(*argv: str) -> list[str]:
    return _command_cluster.distribution_flags(parsed(*argv))


ONE_PORT = ["-kernel", "inet_dist_listen_min", "7000", "inet_dist_listen_max", "7000"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ["-start_epmd", "false"]),
        (["--sname", "a@host"], ["-sname", "a@host"]),
        (["--name", "a@host.example"], ["-name", "a@host.example"]),
        (
            ["--sname", "a@localhost"],
            ["-sname", "a@localhost", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"],
        ),
        (
            ["--name", "a@10.0.0.7"],
            ["-name", "a@10.0.0.7", "-kernel", "inet_dist_use_interface", "{10,0,0,7}"],
        ),
        (
            ["--sname", "a@h", "--dist-interface", "0.0.0.0"],
            ["-sname", "a@h", "-kernel", "inet_dist_use_interface", "{0,0,0,0}"],
        ),
        (
            ["--name", "a@::1"],
            ["-name", "a@::1", "-kernel", "inet_dist_use_interface", "{0,0,0,0,0,0,0,1}"]
            + ["-proto_dist", "inet6_tcp"],
        ),
        (
            ["--sname", "a@h", "--dist-ports", "7000-7010"],
            ["-sname", "a@h", *ONE_PORT[:-1], "7010"],
        ),
        (
            ["--sname", "a@h", "--dist-port", "7000"],
            ["-sname", "a@h", *ONE_PORT, "-start_epmd", "false", "-erl_epmd_port", "7000"],
        ),
        (
            ["--sname", "a@h", "--net-ticktime", "8"],
            ["-sname", "a@h"] + ["-kernel", "net_ticktime", "8"],
        ),
        (
            ["--sname", "a@h", "--dist-tls", __file__],
            ["-sname", "a@h", "-proto_dist", "inet_tls", "-ssl_dist_optfile", __file__],
        ),
    ],
)
def test_flags_of_the_emulator(argv: list[str], expected: list[str]) -> None:
    """What is not asked for stays Erlang's default; without a name there is no distribution."""
    assert flags(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--name", "a@short"], "the host has no dot"),
        (["--sname", "a"], "expected NAME@HOST"),
        (["--sname", "a@b", "--name", "a@b.c"], "not allowed with"),
        (["--sname", "a@b; halt"], "expected NAME@HOST"),
        (["--sname", f"{'a' * 255}@b"], "expected NAME@HOST"),
        (["--sname", "a@b", "--dist-port", "0"], "no port"),
        (["--sname", "a@b", "--dist-port", "65536"], "no port"),
        (["--sname", "a@b", "--dist-ports", "9-8"], "the first port is above"),
        (["--sname", "a@b", "--dist-ports", "9"], "no port"),
        (["--sname", "a@b", "--dist-port", "9", "--dist-ports", "9-9"], "not allowed with"),
        (["--sname", "a@b", "--dist-interface", "x"], "x"),
        (["--sname", "a@b", "--net-ticktime", "0"], "expected 1 to 86400"),
        (["--sname", "a@b", "--dist-tls", "/none"], "/none is not a file"),
        (["--cookie-file", "c"], "--cookie-file: has no effect without --name or --sname"),
        (["--dist-port", "9"], "--dist-port: has no effect"),
        (["--join", "a@b"], "--join: has no effect"),
        (["--join-dns", "a"], "--join-dns: has no effect"),
        (["--sname", "a@b", "--join", "c"], "expected NAME@HOST"),
        (["--dist-tls", "c"], "--dist-tls: has no effect"),
        (["--net-ticktime", "9"], "--net-ticktime: has no effect"),
    ],
)
def test_what_cannot_be_is_refused(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program ends with status 2 before anything is started, and names the option."""
    with pytest.raises(SystemExit) as ended:
        _command.main([*argv, "app:application"])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(_cookie.VARIABLE, raising=False)
    monkeypatch.delenv("ERL_EPMD_ADDRESS", raising=False)
    return tmp_path


GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "cluster.md"


def test_manifest_of_the_guide() -> None:
    """The arguments of the Kubernetes example, with the address of a pod in them, are taken."""
    [line] = [row for row in GUIDE.read_text().splitlines() if row.strip().startswith("args: [")]
    argv = json.loads(line.partition("args:")[2])
    arguments = _command.parser().parse_args([arg.replace("$(POD_IP)", "10.1.2.3") for arg in argv])
    assert _command_cluster.distribution_flags(arguments) == [
        *("-name", "hornbeam@10.1.2.3"),
        *("-kernel", "inet_dist_listen_min", "9100", "inet_dist_listen_max", "9100"),
        *("-start_epmd", "false", "-erl_epmd_port", "9100"),
        *("-kernel", "inet_dist_use_interface", "{10,1,2,3}"),
    ]
    options = _command.node_options(arguments)
    assert options[Atom("cluster")] == {Atom("dns"): "hornbeam-nodes.default.svc.cluster.local"}


def test_no_cookie_without_a_name(home: Path) -> None:
    """A node that nobody can connect to makes no cookie file."""
    with _command_cluster.cookie_variables(parsed()) as changes:
        assert changes == {"HORNBEAM_COOKIE": None}
    assert list(home.iterdir()) == []


def test_erlang_reads_its_own_file(home: Path) -> None:
    """The default is the file at home; EPMD listens where the node does."""
    with _command_cluster.cookie_variables(parsed("--sname", "a@localhost")) as changes:
        assert changes == {
            "HORNBEAM_COOKIE": None,
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
    assert (home / ".erlang.cookie").stat().st_mode & 0o777 == 0o600


def test_another_cookie_in_a_home_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookie of the variable or of a file: in a private folder for as long as the node runs."""
    monkeypatch.setenv(_cookie.VARIABLE, "secret")
    with _command_cluster.cookie_variables(parsed("--sname", "a@h")) as changes:
        private = Path(str(changes["HOME"]))
        assert changes == {
            "HORNBEAM_COOKIE": None,
            "HOME": str(private),
            "HORNBEAM_HOME": str(home),
        }
        assert (private / ".erlang.cookie").read_text() == "secret"
        assert (private.stat().st_mode | (private / ".erlang.cookie").stat().st_mode) & 0o077 == 0
    assert not private.exists()
    assert not (home / ".erlang.cookie").exists()


def test_file_others_may_read_ends_the_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1 and what to do; nothing is started."""
    file = home / "cookie"
    file.write_text("secret")
    os.chmod(file, 0o644)
    assert _command.main(["--sname", "a@h", "--cookie-file", str(file), "a:b"]) == 1
    assert "others may read or write the cookie file" in capsys.readouterr().err
