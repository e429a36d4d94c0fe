# SPDX-License-Identifier: Apache-2.0
"""A page in headless Chromium that opens WebSockets and an EventSource, streams and uploads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.gate import Gate
from hornbeam_erlang.terms import Atom
from live.conftest import Start
from live.serving import START, Served, end

# No sandbox: tests may run as root. The rest keeps it off the network and the profile in a folder.
CHROMIUM = (
    ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
    + ("--disable-background-networking", "--disable-dev-shm-usage", "--ignore-certificate-errors")
    + ("--disable-component-update", "--disable-sync", "--no-proxy-server")
)


@contextmanager
def browser(url: str, folder: Path) -> Iterator[None]:
    """Chromium shows `url`; it is gone afterwards."""
    profile = f"--user-data-dir={folder / 'profile'}"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*CHROMIUM, profile, "--remote-debugging-port=0", url],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield
        finally:
            end(process)


def reported(asgi: Served, gate: Gate, folder: Path, scheme: str = "http") -> Any:
    """What the page reports."""
    url = f"{scheme}://{asgi.host}:{asgi.port}/page/?gate={gate.headers['X-Gate']}"
    with browser(url, folder):
        try:
            return json.loads(gate.hear())
        except TimeoutError:
            raise AssertionError((folder / "log").read_text(errors="replace")) from None


def test_page(asgi: Served, gate: Gate, tmp_path: Path) -> None:
    """Text, bytes, nothing and 300,000 characters come back; codes and reasons arrive; events come
    with their ids; a stream and an upload are whole.
    """
    seen = reported(asgi, gate, tmp_path)
    check(seen)
    assert seen["protocol"] == "http/1.1"


@pytest.mark.usefixtures("ours")
def test_page_over_tls(
    start_asgi: Start, site_folder: Path, certificate: Path, gate: Gate, tmp_path: Path
) -> None:
    """The same over TLS, where Chromium speaks HTTP/2; there it opens WebSockets on streams."""
    options = (("ssl", True), ("certfile", str(certificate)), ("worker_class", Atom("asgi")))
    served = start_asgi("apps.websocket_cases:application", *options, SITE_FOLDER=str(site_folder))
    seen = reported(served, gate, tmp_path, "https")
    check(seen)
    assert seen["protocol"] == "h2"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody trusts and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"))
    argv = ["openssl", "req", "-x509", *key, *subject, *files]
    subprocess.run(argv, check=True, capture_output=True, timeout=START)
    both = folder / "both.pem"
    parts = [(folder / name).read_bytes() for name in ("certificate.pem", "key.pem")]
    both.write_bytes(b"".join(parts))
    return both


def check(seen: Any) -> None:
    """What the page must have seen whatever it is served over."""
    assert seen["echoed"] == {
        "messages": ["Zoë 東京", [0, 128, 255], "", 300000],
        "code": 4001,
        "clean": True,
    }
    assert seen["chosen"] == "mqtt"
    assert seen["closed"] == [4002, "Zoë"]
    assert seen["refused"] == [1006, ""]
    assert seen["streamed"] == [[str(number), f"event {number}"] for number in range(5)]
    assert (seen["size"], seen["uploaded"]) == (1_000_000, 300_000)
