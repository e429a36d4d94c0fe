# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 without TLS, by prior knowledge, with curl as the client."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from apps.gate import Gate
from live.samples import MIB, digest, sample
from live.serving import Served
from live.streams import Streams

CURL = ("curl", "--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "20")


def curl(cases: Served, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs curl; a `/path` among the arguments is one on the server."""
    base = f"http://{cases.host}:{cases.port}"
    line = [base + text if text.startswith("/") else text for text in arguments]
    return subprocess.run([*CURL, *line], capture_output=True, timeout=30, check=False)


def body(cases: Served, *arguments: str) -> bytes:
    done = curl(cases, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_hello(cases: Served) -> None:
    """Status, fields and body over HTTP/2; no field of HTTP/1's connections."""
    head, _, rest = body(cases, "--include", "--header", "X-Plain: 1", "/hello/").partition(
        b"\r\n\r\n"
    )
    lines = head.decode().split("\r\n")
    assert lines[0].split() == ["HTTP/2", "200"]
    names = {line.partition(":")[0] for line in lines[1:]}
    assert names == {"content-length", "content-type", "date", "server"}
    assert rest == b"hello"


def test_environ(cases: Served) -> None:
    """SERVER_PROTOCOL and the target as over HTTP/1; cookies joined."""
    seen = json.loads(body(cases, "--cookie", "a=1; b=2", "/environ/a%20b?q=%C3%A9"))
    assert (seen["SERVER_PROTOCOL"], seen["wsgi.url_scheme"]) == ("HTTP/2", "http")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/environ/a b", "q=%C3%A9")
    assert seen["HTTP_COOKIE"] == "a=1; b=2"


def test_host(cases: Served) -> None:
    """HTTP_HOST is :authority, so that applications know what they are called."""
    seen = json.loads(body(cases, "/environ/"))
    assert seen["HTTP_HOST"] == f"{cases.host}:{cases.port}"


@pytest.mark.parametrize("size", [0, 10, 65535, 65536, 5 * MIB])
@pytest.mark.parametrize("told", [True, False])
def test_body_of_a_request(cases: Served, tmp_path: Path, size: int, told: bool) -> None:
    """Bodies below and above the flow-control window, with and without a Content-Length."""
    data = sample(size)
    (tmp_path / "data").write_bytes(data)
    fields = ["--header", "Content-Type: x/y"] + ([] if told else ["--header", "Content-Length:"])
    source = f"@{tmp_path / 'data'}"
    answer = body(cases, *fields, "--data-binary", source, "/input/read(n)")
    assert json.loads(answer)[2] == digest(data)[0]


def test_streamed_response(cases: Served, gate: Gate) -> None:
    """The first chunk arrives before the second is produced."""
    url = f"http://{cases.host}:{cases.port}/gated/"
    field = f"X-Gate: {gate.headers['X-Gate']}"
    with subprocess.Popen(
        [*CURL, "--no-buffer", "--header", field, url], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            gate.expect("after the first")
            assert os.read(process.stdout.fileno(), 100) == b"first"
            gate.open()
            assert process.stdout.read() == b"second"
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("plain", [False, True])
def test_file(cases: Served, site_folder: Path, plain: bool) -> None:
    """A file larger than the window, through the validator and by the node."""
    fields = ["--header", "X-Plain: 1"] if plain else []
    found = body(cases, *fields, "/file/sample.bin/0/")
    assert found == (site_folder / "sample.bin").read_bytes()


def test_streams_do_not_wait_for_each_other(cases: Served, gate: Gate) -> None:
    """While one stream of a connection waits, a hundred others on it are answered."""
    with Streams(cases) as connection:
        slow = connection.get("/waiting/", gate.headers)
        gate.expect("waiting")
        quick = {connection.get(f"/environ/?{number}"): str(number) for number in range(100)}
        connection.read_until_ended(*quick)
        assert slow not in connection.ended
        gate.open()
        connection.read_until_ended(slow)
        assert connection.bodies.pop(slow) == b"waited"
    seen = {stream: json.loads(body) for stream, body in connection.bodies.items()}
    assert {stream: one["QUERY_STRING"] for stream, one in seen.items()} == quick


def test_broken_response_is_reset(cases: Served) -> None:
    """A body that ends early: the stream is reset (curl's 92 or 18), never ended cleanly."""
    done = curl(cases, "--header", "X-Plain: 1", "/mismatch/iterator/shorter")
    assert done.returncode in (18, 92)


def test_head(cases: Served) -> None:
    """HEAD: the fields, no body."""
    head = body(cases, "--head", "--header", "X-Plain: 1", "/file/sample.bin/0/")
    assert b"content-length: 300000" in head
