# SPDX-License-Identifier: Apache-2.0
"""A page in headless Chromium that opens WebSockets and an EventSource, streams and uploads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.gate import Gate
from live.serving import Served, end

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
    assert seen["protocol"] == "http/1.1"
