# SPDX-License-Identifier: Apache-2.0
"""What an application sees of a client that leaves: `http.disconnect`, `OSError`, cancellation."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from apps.gate import Gate
from live.raw import Raw, request
from live.serving import Served, wait_until


def asking(asgi: Served, gate: Gate, path: str, *fields: str, body: bytes = b"") -> Raw:
    """A client that has asked for `path` and not read anything."""
    raw = Raw(asgi)
    raw.send(request("POST", path, f"X-Gate: {gate.headers['X-Gate']}", *fields, body=body))
    return raw


def leave(raw: Raw, how: str = "closes") -> None:
    """Closes the connection, or resets it."""
    if how == "resets":
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("body", [b"", b"body", b"x" * 200_000])
def test_receive_after_the_body(asgi: Served, gate: Gate, how: str, body: bytes) -> None:
    """After the body, receive() waits and then gives `http.disconnect`, and again when asked."""
    raw = asking(asgi, gate, "/told/", body=body)
    gate.expect("waits")
    leave(raw, how)
    gate.expect("http.disconnect")
    gate.expect("http.disconnect")


def test_receive_within_the_response(asgi: Served, gate: Gate) -> None:
    """A response that has begun does not keep the disconnect from the application."""
    raw = asking(asgi, gate, "/told-while-answering/")
    assert raw.head().status == 200
    assert raw.chunk() == b"begun"
    gate.expect("waits")
    leave(raw)
    gate.expect("http.disconnect")


def test_receive_after_the_response(asgi: Served, gate: Gate) -> None:
    """Once the response has been sent, receive() gives `http.disconnect`."""
    with asking(asgi, gate, "/told-after-answering/") as raw:
        assert raw.reply().body == b"answered"
        gate.expect("http.disconnect")


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_body_that_breaks_off(asgi: Served, gate: Gate, framing: str) -> None:
    """A client that leaves within its upload: `http.disconnect`, never a shorter body."""
    raw = asking(asgi, gate, "/told-in-the-body/", framing)
    raw.send(b"186a0\r\n" * ("chunked" in framing) + b"x" * 99_999)
    gate.expect("reads")
    leave(raw)
    gate.expect("http.disconnect")


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("first", ["told", "untold"])
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_send_after_a_disconnect_raises(asgi: Served, gate: Gate, first: str, how: str) -> None:
    """send() after a disconnect raises OSError, whether the application was told or not."""
    raw = asking(asgi, gate, f"/sends-on/{first}")
    gate.expect("begun")
    leave(raw, how)
    gate.expect("OSError")


@pytest.mark.usefixtures("ours")
def test_first_send_after_a_disconnect_raises(asgi: Served, gate: Gate) -> None:
    """It raises as well when nothing had been sent before."""
    raw = asking(asgi, gate, "/starts-late/")
    gate.expect("waits")
    leave(raw)
    gate.expect("OSError")


@pytest.mark.usefixtures("ours")
def test_own_oserror_is_not_logged(asgi: Served, gate: Gate) -> None:
    """The exception that the server raised is no error of the application: no traceback."""
    before = asgi.errors().count("Traceback")
    raw = asking(asgi, gate, "/sends-on/told")
    gate.expect("begun")
    leave(raw)
    gate.expect("OSError")
    with Raw(asgi) as other:
        assert other.ask("GET", "/raising/first").status == 500  # one that is logged
    wait_until(lambda: asgi.errors().count("Traceback") > before, "the other one is logged")
    assert asgi.errors().count("Traceback") == before + 1


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_task_is_cancelled(asgi: Served, gate: Gate, how: str) -> None:
    """The request's task is cancelled when the client leaves and the app does not look."""
    raw = asking(asgi, gate, "/ignores/")
    gate.expect("sleeps")
    leave(raw, how)
    gate.expect("cancelled")


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(("path", "word"), [("/cleans-up/", "cleaned up"), ("/stubborn/", "ended")])
def test_cancelled_task_may_clean_up(asgi: Served, gate: Gate, path: str, word: str) -> None:
    """A cancelled task comes to its end in its own time; the worker serves on."""
    raw = asking(asgi, gate, path)
    gate.expect("sleeps")
    leave(raw)
    gate.expect(word)
    with Raw(asgi) as other:
        assert other.ask("GET", "/hello/").body == b"hello"


@pytest.mark.usefixtures("ours")
def test_who_looks_is_not_cancelled(asgi: Served, gate: Gate, tmp_path: Path) -> None:
    """An app that hears `http.disconnect` finishes what it does: it is not cancelled, even when it
    takes longer than the grace after which others are.
    """
    raw = asking(asgi, gate, "/looks/")
    gate.expect("waits")
    with Gate(tmp_path / "other") as other:
        ignoring = asking(asgi, other, "/ignores/")
        other.expect("sleeps")
        leave(raw)
        gate.expect("told")
        leave(ignoring)
        other.expect("cancelled")  # one grace later than the first one left
        gate.open()
        gate.expect("finished")
