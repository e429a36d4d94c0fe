# SPDX-License-Identifier: Apache-2.0
"""ASGI over HTTP/2: the scope, bodies, trailers, early hints, push, resets, flow control."""

from __future__ import annotations

import ast
import json
import subprocess
from typing import Any

import pytest
from h2.settings import SettingCodes

from apps.gate import Gate
from live.http2 import Http2
from live.proc import resident
from live.raw import Raw
from live.samples import MIB, digest, sample
from live.serving import Served, wait_until

pytestmark = pytest.mark.usefixtures("with_http2")


def gate_field(gate: Gate) -> tuple[str, str]:
    return ("x-gate", gate.headers["X-Gate"])


def scope(connection: Http2, path: str, *fields: tuple[str, str]) -> dict[str, Any]:
    shown = json.loads(connection.ask(path, *fields).body)
    plain = {key: value for key, (_, value) in shown.items() if key not in ("state", "extensions")}
    return {key: ast.literal_eval(value) for key, value in plain.items()}


def test_scope(asgi: Served) -> None:
    """`http_version` is "2"; `:authority` is the first header, `host`; no pseudo-header is left."""
    with Http2(asgi) as connection:
        seen = scope(connection, "/scope/a%20b?q=%C3%A9", ("x-one", "1"), ("x-one", "2"))
    assert (seen["http_version"], seen["scheme"], seen["method"]) == ("2", "http", "GET")
    assert (seen["path"], seen["raw_path"]) == ("/scope/a b", b"/scope/a%20b")
    assert seen["query_string"] == b"q=%C3%A9"
    names = [name for name, _ in seen["headers"]]
    assert not [name for name in names if name.startswith(b":")]
    assert dict(seen["headers"])[b"host"] == f"{asgi.host}:{asgi.port}".encode()
    assert b", ".join(v for name, v in seen["headers"] if name == b"x-one") == b"1, 2"


@pytest.mark.usefixtures("ours")
def test_authority_comes_first(asgi: Served) -> None:
    """`host`, made of `:authority`, is at the start of the headers."""
    with Http2(asgi) as connection:
        assert scope(connection, "/scope/", ("accept", "*/*"))["headers"][0][0] == b"host"


def test_cookie_crumbs(asgi: Served) -> None:
    """Cookies that HTTP/2 cuts into crumbs arrive joined with `; `, or as they came."""
    with Http2(asgi) as connection:
        seen = scope(connection, "/scope/", ("cookie", "a=1"), ("cookie", "b=2"))
    cookies = b"; ".join(value for name, value in seen["headers"] if name == b"cookie")
    assert cookies == b"a=1; b=2"


@pytest.mark.parametrize("size", [0, 10, 65535, 65536, 5 * MIB])
def test_body(asgi: Served, size: int) -> None:
    """A body above the windows arrives whole."""
    data = sample(size)
    with Http2(asgi) as connection:
        stream = connection.request("/digest/", method="POST", end=False)
        connection.data(stream, data, end=True)
        assert json.loads(connection.whole(stream).body)[:2] == digest(data)


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_body_that_ends_with_trailers(asgi: Served, size: int) -> None:
    """A request body that ends with trailers ends."""
    data = sample(size)
    with Http2(asgi) as connection:
        stream = connection.request("/digest/", ("te", "trailers"), method="POST", end=False)
        if data:
            connection.data(stream, data)
        connection.trailers(stream, ("x-sum", "1"))
        assert json.loads(connection.whole(stream).body)[:2] == digest(data)


@pytest.mark.parametrize("size", [1, 200_000])
def test_body_whose_end_comes_alone(asgi: Served, size: int) -> None:
    """Content-Length is reached before the stream is ended: the answer waits for the end, or a
    client that is still sending would see its stream closed.
    """
    with Http2(asgi) as connection:
        length = ("content-length", str(size))
        stream = connection.request("/digest/", length, method="POST", end=False)
        connection.data(stream, b"x" * size)
        connection.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.whole(stream)
        connection.socket.settimeout(30)
        connection.data(stream, b"", end=True)
        assert json.loads(connection.whole(stream).body)[0] == size
        assert connection.streams[stream].reset is None


def test_body_of_known_length_that_ends_with_trailers(asgi: Served) -> None:
    """The same with trailers instead of the empty frame."""
    with Http2(asgi) as connection:
        stream = connection.request("/echo/", ("content-length", "4"), method="POST", end=False)
        connection.data(stream, b"body")
        connection.trailers(stream, ("x-sum", "1"))
        assert connection.whole(stream).body == b"body"


def test_conversation(asgi: Served) -> None:
    """What is sent comes back while the request is still open."""
    with Http2(asgi) as connection:
        stream = connection.request("/both-ways/", method="POST", end=False)
        connection.data(stream, b"a" * 200_000)
        found = connection.streams[stream]
        connection.read_until(lambda: len(found.body) >= 1)
        for word in (b"one", b"two"):
            connection.data(stream, word)
            connection.read_until(lambda: found.body.endswith(word))  # noqa: B023 # used at once
        connection.data(stream, b"", end=True)
        assert connection.whole(stream).body == b"a" * 200_000 + b"onetwo"


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("way", ["whole", "pieces"])
def test_trailers(asgi: Served, way: str) -> None:
    """Trailers of several messages come as one block after the body."""
    with Http2(asgi) as connection:
        stream = connection.ask(f"/trailing/{way}", ("te", "trailers"))
    assert stream.body.endswith(b"last")
    assert dict(stream.trailers)["x-sum"] == "42"
    assert ", ".join(value for name, value in stream.trailers if name == "x-end") == "1, 2"


@pytest.mark.usefixtures("ours")
def test_trailers_that_do_not_come(asgi: Served) -> None:
    """Announced and not sent: the stream is reset, not ended."""
    with Http2(asgi) as connection:
        assert connection.ask("/no-trailers/", ("te", "trailers")).reset is not None


@pytest.mark.usefixtures("ours")
def test_early_hints(asgi: Served, gate: Gate) -> None:
    """103 with the links before the answer is made."""
    with Http2(asgi) as connection:
        stream = connection.request("/hints/", gate_field(gate))
        found = connection.streams[stream]
        connection.read_until(lambda: len(found.informational) == 2)
        first = dict(found.informational[0])
        assert first[":status"] == "103"
        assert "</app.js>; rel=preload" in first["link"]
        assert not found.head
        gate.expect("hinted")
        gate.open()
        assert connection.whole(stream).body == b"hinted"
        assert found.one("x-final") == "1"


@pytest.mark.usefixtures("ours")
def test_push(asgi: Served) -> None:
    """Pushed requests run in the application like others, with the authority of the first one."""
    with Http2(asgi, settings={SettingCodes.ENABLE_PUSH: 1}) as connection:
        names = connection.ask("/extensions/").body.decode().split()
        assert "http.response.push" in names
        assert connection.ask("/pushing/").body == b"pushed"
        connection.read_until(lambda: len(connection.pushed) == 2)
        found = {dict(head)[":path"]: stream for stream, head in connection.pushed.items()}
        assert set(found) == {"/hello/", "/scope/a%20b/%C3%A9"}
        assert connection.whole(found["/hello/"]).body == b"hello"
        seen = json.loads(connection.whole(found["/scope/a%20b/%C3%A9"]).body)
        assert seen["path"][1] == repr("/scope/a b/é")
        assert "b'accept-language', b'eo'" in seen["headers"][1]
        heads = [dict(head) for head in connection.pushed.values()]
        assert {head[":authority"] for head in heads} == {connection.authority}


@pytest.mark.usefixtures("ours")
def test_push_that_the_client_forbids(asgi: Served) -> None:
    """A client that wants no push gets none, and its answer."""
    with Http2(asgi) as connection:
        assert connection.ask("/pushing/").body == b"pushed"
        assert connection.ask("/hello/").body == b"hello"
        assert connection.pushed == {}


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("kind", ["told", "untold"])
def test_pathsend(asgi: Served, site_folder: Any, kind: str) -> None:
    """A file by its path, larger than the windows."""
    with Http2(asgi) as connection:
        found = connection.ask(f"/pathsend/sample.bin/{kind}").body
    assert found == (site_folder / "sample.bin").read_bytes()


def test_reset_is_a_disconnect(asgi: Served, gate: Gate) -> None:
    """RST_STREAM: the application gets `http.disconnect`; other streams go on."""
    with Http2(asgi) as connection:
        stream = connection.request("/told/", gate_field(gate))
        gate.expect("waits")
        connection.reset(stream)
        gate.expect("http.disconnect")
        assert connection.ask("/hello/").body == b"hello"


@pytest.mark.usefixtures("ours")
def test_reset_cancels_the_work(asgi: Served, gate: Gate) -> None:
    """A task that does not look is cancelled; other streams go on."""
    with Http2(asgi) as connection:
        stream = connection.request("/ignores/", gate_field(gate))
        gate.expect("sleeps")
        connection.reset(stream)
        gate.expect("cancelled")
        assert connection.ask("/hello/").body == b"hello"


@pytest.mark.usefixtures("ours")
def test_broken_response_is_reset(asgi: Served) -> None:
    """A response that breaks off is reset, never ended cleanly; other streams go on."""
    with Http2(asgi) as connection:
        for path in ("/half/", "/raising/body", "/mismatch/shorter"):
            stream = connection.ask(path)
            assert (stream.ended, stream.reset is None) == (False, False), path
        assert connection.ask("/hello/").body == b"hello"


def test_streams_do_not_wait_for_each_other(asgi: Served, gate: Gate) -> None:
    """While one stream waits for its application, fifty others are answered."""
    with Http2(asgi) as connection:
        slow = connection.request("/waiting/", gate_field(gate))
        gate.expect("waiting")
        quick = [connection.request("/hello/") for _ in range(50)]
        for stream in quick:
            assert connection.whole(stream).body == b"hello"
        assert not connection.streams[slow].done
        gate.open()
        assert connection.whole(slow).body == b"waited"


@pytest.mark.parametrize("window", [1, 100])
def test_small_windows(asgi: Served, window: int) -> None:
    """A client with a tiny flow-control window gets its answer, piece by piece."""
    with Http2(asgi, window=window) as connection:
        assert connection.ask("/pieces/5/100").body.count(b"x") == 5 * 92


def test_window_that_opens_late(asgi: Served) -> None:
    """A stream whose window is shut gets its head, then its body when the window opens; another
    stream is not kept waiting.
    """
    with Http2(asgi, window=0, grants=False) as connection:
        stream = connection.request("/pieces/10/1000")
        found = connection.streams[stream]
        connection.read_until(lambda: bool(found.head))
        other = connection.request("/bare/")
        assert connection.whole(other).status == 204
        assert found.body == b""
        connection.grant(20_000, stream)
        assert len(connection.whole(stream).body) == 10_000


@pytest.mark.usefixtures("ours")
def test_thousands_of_shut_streams(asgi: Served) -> None:
    """A client that opens two thousand streams with window 0 costs bounded memory; others are
    served meanwhile.
    """
    pids = [asgi.node_pid(), *asgi.worker_pids()]
    before = [resident(pid) for pid in pids]
    with Http2(asgi, window=0, grants=False) as connection:
        limit = connection_limit(connection)
        for _ in range(min(2000, limit)):
            connection.request("/pieces/160/65536")
        with Raw(asgi) as raw:
            for _ in range(20):
                assert raw.ask("GET", "/hello/").body == b"hello"
        growth = [resident(pid) - held for pid, held in zip(pids, before, strict=True)]
    assert max(growth) < 96 * MIB, growth

    def idle() -> bool:
        with Raw(asgi) as raw:
            return int(raw.ask("GET", "/task-count/").body) < 20

    wait_until(idle, "the tasks of the shut streams are gone")


def connection_limit(connection: Http2) -> int:
    """How many streams the server allows at once."""
    connection.ask("/bare/")
    return connection.connection.remote_settings.max_concurrent_streams


def test_streams_are_limited(asgi: Served) -> None:
    """The server says how many streams it takes at once, and refuses more."""
    with Http2(asgi) as connection:
        assert 1 <= connection_limit(connection) <= 1000


def test_h2load(asgi: Served) -> None:
    """Three thousand requests on three connections, fifty streams each: all are answered."""
    url = f"http://{asgi.host}:{asgi.port}/hello/"
    done = subprocess.run(
        ["h2load", "--requests=3000", "--clients=3", "--max-concurrent-streams=50", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout + done.stderr


def test_nghttp(asgi: Served) -> None:
    """nghttp, which sends a priority tree and PRIORITY frames, gets its answers."""
    base = f"http://{asgi.host}:{asgi.port}"
    urls = [f"{base}/hello/", f"{base}/pieces/10/1000", f"{base}/events/3"]
    done = subprocess.run(
        ["nghttp", "--null-out", "--stat", *urls],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 200 ") == 3, done.stdout
