# SPDX-License-Identifier: Apache-2.0
"""TLS through the hornbeam command, with clients that applications are used with."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest
from websockets.sync.client import connect

from live.serving import START, STOP, Served, serving

APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": event["bytes"]})
    elif scope["type"] == "http":
        body = f"{scope['scheme']} {scope['http_version']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


Trust = Callable[[], ssl.SSLContext]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Trust]]:
    """The application over TLS, and what makes a client trust it: a context of its own for each,
    since httpx writes into it which versions of HTTP it speaks."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "app.py").write_text(APPLICATION)
    certificate = folder / "certificate.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", certificate.with_suffix(".key"), "-out", certificate)
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, *files],
        check=True,
        capture_output=True,
        timeout=START,
    )
    certificate.write_bytes(certificate.read_bytes() + certificate.with_suffix(".key").read_bytes())
    options = ("--workers", "1", "--interface", "asgi", "--certfile", str(certificate))
    with serving("app:application", folder, *options) as served:
        yield served, lambda: ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize(("http2", "version"), [(False, "1.1"), (True, "2")])
def test_httpx(secure: tuple[Served, Trust], http2: bool, version: str) -> None:
    """httpx agrees on the version by ALPN; the scope says https and that version."""
    served, trust = secure
    url = f"https://{served.host}:{served.port}/"
    with httpx.Client(http2=http2, verify=trust(), timeout=STOP, trust_env=False) as client:
        for _ in range(3):
            answer = client.get(url)
            assert (answer.status_code, answer.text) == (200, f"https {version}")


def test_websocket(secure: tuple[Served, Trust]) -> None:
    """A WebSocket over TLS: its scope says wss, and bytes of any size come back, however often."""
    served, trust = secure
    address = f"wss://{served.host}:{served.port}/"
    with connect(address, ssl=trust(), open_timeout=STOP, proxy=None) as socket:
        assert socket.recv(timeout=STOP) == "wss"
        for size in (0, 1, 70_000, *range(300)):
            socket.send(b"x" * size)
            assert socket.recv(timeout=STOP) == b"x" * size
