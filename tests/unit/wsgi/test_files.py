# SPDX-License-Identifier: Apache-2.0
"""`wsgi.file_wrapper`: real files are sent by the node, everything else is read, by a real
worker."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from hornbeam_erlang._wsgi_file import FileWrapper
from unit.worker.harness import Node

CONTENT = b"0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file with spaces"
    file.write_bytes(CONTENT)
    return file


# offset, Content-Length the application gives -> Content-Length sent, what FILE asks for
REGIONS = {
    ("0", ""): (b"10", (0, 10)),
    ("4", ""): (b"6", (4, 6)),
    ("0", "10"): (b"10", (0, 10)),
    ("2", "3"): (b"3", (2, 3)),
}


@pytest.mark.parametrize(("offset", "length"), REGIONS)
def test_real_file(raw_node: Node, path: Path, offset: str, length: str) -> None:
    """A real file goes as FILE, from its position on and up to Content-Length."""
    answer = raw_node.request("/file", query=f"{path},{offset},{length}")
    content_length, region = REGIONS[offset, length]
    assert answer.kind == "stream"
    assert answer.files == [(str(path).encode(), *region)]
    assert (answer.headers[b"content-length"], answer.body) == (content_length, b"")


def test_file_shorter_than_content_length(raw_node: Node, path: Path) -> None:
    """A file that is shorter than Content-Length is a 500, and no byte of it is sent."""
    answer = raw_node.request("/file", query=f"{path},8,5")
    assert answer.abort == (b"length_mismatch", b"Content-Length is 5, the body has 0 bytes")
    assert answer.files == []


def test_empty_rest(raw_node: Node, path: Path) -> None:
    """A file at its end is an empty response."""
    answer = raw_node.request("/file", query=f"{path},10,")
    assert (answer.kind, answer.headers[b"content-length"]) == ("response", b"0")


def test_head_of_a_file(raw_node: Node, path: Path) -> None:
    """HEAD tells the length and sends nothing."""
    answer = raw_node.request("/file", query=f"{path},0,", method="HEAD")
    assert (answer.kind, answer.headers[b"content-length"]) == ("response", b"10")


READ = {
    "file_like": b"not a real file",
    "temporary_file": b"temporary",
    "deleted_file": b"deleted",
}


@pytest.mark.parametrize("name", READ)
def test_other_files_are_read(raw_node: Node, name: str) -> None:
    """What is no file, or not safely there under its name, is read in blocks."""
    answer = raw_node.request(f"/{name}")
    assert answer.body == READ[name]
    assert answer.files == []
    assert len(answer.chunks) > 1


def test_wrapper_closes(raw_node: Node) -> None:
    """`close()` of the wrapped object is called."""
    raw_node.request("/file_like")
    assert json.loads(raw_node.request("/closings").body)[-1] == "file_like"


def test_inside_the_validator(node: Node, path: Path) -> None:
    """A wrapper that some middleware has wrapped again is iterated."""
    answer = node.request("/file", query=f"{path},0,")
    assert (answer.body, answer.files) == (CONTENT, [])


def test_region_of_odd_files(path: Path) -> None:
    """No region for files without a name, without a descriptor, closed, or replaced under their
    name."""
    with path.open("rb") as file:
        assert FileWrapper(file).region() is not None
        by_number = open(file.fileno(), "rb", closefd=False)
        assert FileWrapper(by_number).region() is None
        by_number.close()
        path.unlink()
        path.write_bytes(b"other")
        assert FileWrapper(file).region() is None
    assert FileWrapper(file).region() is None
    assert FileWrapper(io.BytesIO(b"x")).region() is None
    with Path("/dev/null").open("rb") as device:
        assert FileWrapper(device).region() is None


def test_wrapper_is_an_iterable_of_blocks() -> None:
    """The wrapper yields blocks of the size that was asked for, and `close` only where there is
    one."""
    assert list(FileWrapper(io.BytesIO(b"abcde"), 2)) == [b"ab", b"cd", b"e"]
    assert hasattr(FileWrapper(io.BytesIO(b"")), "close")
    assert not hasattr(FileWrapper(object()), "close")
