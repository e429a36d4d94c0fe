# SPDX-License-Identifier: Apache-2.0
"""A worker whose event loop is blocked by its application, beside one that is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from live.serving import serving

APPLICATION = """
import asyncio, time
from pathlib import Path

go, begun = Path(__file__).with_name("go"), Path(__file__).with_name("begun")

async def application(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/block":
        begun.touch()
        while not go.exists():
            time.sleep(0.01)
    if scope["path"] == "/wait":
        while not go.exists():
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"done"})
"""


def test_blocked_loop_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Requests go to the worker whose loop is free, though it has as much to do: what the blocked
    one was given comes back within moments."""
    (tmp_path / "blocked.py").write_text(APPLICATION)
    options = ("--interface", "asgi", "--workers", "2")
    with (
        serving("blocked:application", tmp_path, *options) as served,
        ThreadPoolExecutor(2) as clients,
    ):
        slow = [clients.submit(served.get, path) for path in ("/block", "/wait")]
        try:
            while not (tmp_path / "begun").exists():
                assert not slow[0].done()
            for _ in range(10):
                began = monotonic()
                assert served.get("/") == (200, b"done")
                assert monotonic() - began < 30
        finally:
            (tmp_path / "go").touch()
        assert [one.result(30) for one in slow] == [(200, b"done")] * 2
