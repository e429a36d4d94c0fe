# SPDX-License-Identifier: Apache-2.0
"""The ASGI examples as the command serves them."""

from __future__ import annotations

from pathlib import Path

from websockets.sync.client import connect

from live.serving import EXAMPLES, command, first_line, serving, text


def test_hello() -> None:
    """The hello example answers, many times over one connection."""
    with serving("app:application", EXAMPLES / "hello_asgi", "--interface", "asgi") as served:
        connection = served.connection()
        for _ in range(50):
            connection.request("GET", "/")
            response = connection.getresponse()
            assert response.status == 200
            assert response.headers["content-type"] == "text/plain"
            assert response.read() == b"Hello from Hornbeam ASGI!"
        connection.close()


def test_websocket_chat() -> None:
    """The chat example sends back what it gets, whatever its length, and ends with its client."""
    with (
        serving("app:app", EXAMPLES / "websocket_chat", "--interface", "asgi") as served,
        connect(f"ws://{served.host}:{served.port}/", max_size=None, proxy=None) as socket,
    ):
        for text_ in ("hello", "", "\u00e4\u4e16", "x" * 300_000):
            socket.send(text_)
            assert socket.recv(timeout=30) == text_
        socket.send(b"\x00\xff")
        assert socket.recv(timeout=30) == b"\x00\xff"
        socket.close(4001, "enough")
        assert socket.close_code == 4001


FAILING = """
async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database today"})
"""


def test_failed_startup(tmp_path: Path) -> None:
    """A startup that fails stops the command, which prints what the application said."""
    (tmp_path / "failing.py").write_text(FAILING)
    argv = ("--bind", "127.0.0.1:0", "--app-dir", str(tmp_path), "--interface", "asgi")
    with command(*argv, "failing:application") as (process, stderr):
        assert first_line(process) == ""
        assert process.wait(30) != 0
        assert "no database today" in text(stderr)
