# SPDX-License-Identifier: Apache-2.0
"""`wsgi.file_wrapper` with a real file: the node sends it, its bytes do not pass through Python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live.proc import transferred
from live.raw import PLAIN, Raw, request
from live.samples import MIB
from live.serving import Served, wait_until

BIG = 64 * MIB


@pytest.fixture(scope="module")
def sample_bytes(site_folder: Path) -> bytes:
    return (site_folder / "sample.bin").read_bytes()


@pytest.mark.parametrize("fields", [[], [PLAIN]], ids=["checked", "plain"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_file_arrives_whole(
    cases: Served, sample_bytes: bytes, version: str, fields: list[str]
) -> None:
    """The bytes of the file, through the validator and by the node."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/file/sample.bin/0/", *fields, version=version).body == sample_bytes


@pytest.mark.parametrize(
    ("offset", "length", "end"),
    [
        (0, "", 300_000),
        (1000, "", 300_000),
        (299_999, "", 300_000),
        (300_000, "", 300_000),
        (0, "1000", 1000),
        (1000, "1000", 2000),
        (0, "0", 0),
    ],
)
def test_part_of_a_file(
    cases: Served, sample_bytes: bytes, offset: int, length: str, end: int
) -> None:
    """From where the file stands, up to Content-Length; the connection goes on."""
    with Raw(cases) as raw:
        reply = raw.ask("GET", f"/file/sample.bin/{offset}/{length}", PLAIN)
        assert reply.head.one("content-length") == str(end - offset)
        assert reply.body == sample_bytes[offset:end]
        assert raw.ask("GET", "/hello/").body == b"hello"


def test_file_shorter_than_its_length(cases: Served) -> None:
    """Content-Length beyond the end of the file is known before the head: 500."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/file/sample.bin/0/300001", PLAIN).status == 500


def test_head_of_a_file(cases: Served) -> None:
    """HEAD tells the length and sends nothing of the file."""
    with Raw(cases) as raw:
        path = "/file/sample.bin/0/"
        raw.send(request("HEAD", path, PLAIN) + request("GET", "/hello/"))
        assert raw.reply("HEAD").head.one("content-length") == "300000"
        assert raw.reply().body == b"hello"


def test_bytes_do_not_pass_through_python(cases: Served, site_folder: Path) -> None:
    """64 MiB by the node: the worker neither reads nor writes as much as 1 MiB meanwhile. Through
    the validator, which hides the file, it does both with every byte.
    """
    with (site_folder / "big.bin").open("wb") as big:
        big.truncate(BIG)
    (worker,) = cases.worker_pids()
    moved = {}
    for fields in ([], [PLAIN]):
        before = transferred(worker)
        with Raw(cases) as raw:
            body = raw.ask("GET", "/file/big.bin/0/", *fields).body
        assert (len(body), body.count(0)) == (BIG, BIG)
        moved[bool(fields)] = transferred(worker) - before
    assert moved[True] < MIB
    assert moved[False] > 2 * BIG


def test_file_is_closed(cases: Served, site_folder: Path) -> None:
    """After the response the worker has the file no longer open."""
    with Raw(cases) as raw:
        assert raw.ask("GET", "/file/sample.bin/0/", PLAIN).status == 200
    (worker,) = cases.worker_pids()
    path = str(site_folder / "sample.bin")
    wait_until(lambda: path not in open_files(worker), "the file is closed")


def open_files(pid: int) -> set[str]:
    """The paths that a process has open."""
    folder, found = f"/proc/{pid}/fd", set()
    for number in os.listdir(folder):
        try:
            found.add(os.readlink(f"{folder}/{number}"))
        except FileNotFoundError:
            continue  # closed since it was listed
    return found
