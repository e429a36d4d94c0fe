# SPDX-License-Identifier: Apache-2.0
"""How a worker greets, loads its application and gets ready, or says why not."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hornbeam_erlang import __version__
from hornbeam_erlang._config import Config, parse_config
from hornbeam_erlang._wire import (
    BOOT,
    CALL,
    ERROR,
    FAILED,
    HELLO,
    OPEN,
    READY,
    RESULT,
    ProtocolError,
)
from hornbeam_erlang.codec import encode
from unit.worker.conftest import APPLICATION
from unit.worker.harness import TESTS, Node


def test_hello_tells_who_is_there(node: Node) -> None:
    """HELLO carries the versions, the package, the interpreter, the codec and the process."""
    _, low, high, info = node.hello
    assert (low, high) == (1, 1)
    assert info[b"version"] == __version__.encode()
    assert info[b"python"] == platform.python_version().encode()
    assert info[b"codec"] in (b"compiled", b"pure")
    assert info[b"pid"] == node.pid


@pytest.mark.parametrize("codec", ["compiled", "pure"])
def test_codec_is_told(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec in HELLO is the one that runs, and the worker serves with either."""
    monkeypatch.setenv("HORNBEAM_CODEC", codec)
    with Node(APPLICATION) as node:
        assert node.hello[3][b"codec"] == codec.encode()
        assert json.loads(node.request("/quick", query="x").body) == "x"


FAILURES = {
    "no_such_module:app": (b"no_module", b"no module named 'no_such_module'"),
    "unit.worker.applications:aplication": (b"no_attribute", b"did you mean 'application'?"),
    "unit.worker.applications:TEXT": (b"not_callable", b"is of type list"),
    "unit.worker.applications:exits()": (b"factory_failed", b"SystemExit: 4"),
}


@pytest.mark.parametrize("app", FAILURES)
def test_application_that_does_not_load(app: str) -> None:
    """The worker says FAILED with the name and the text, and ends with status 1."""
    with Node(app) as node:
        assert node.ready is not None
        code, name, text = node.ready
        assert (code, name) == (FAILED, FAILURES[app][0])
        assert FAILURES[app][1] in text
        assert node.wait_end() == 1


def test_import_that_fails(tmp_path: Path) -> None:
    """The traceback of an import that raised is in FAILED, beginning in the application."""
    (tmp_path / "broken_app.py").write_text("import json\n1 / 0\n")
    with Node("broken_app:app", {b"pythonpath": [str(tmp_path).encode()]}) as node:
        assert node.ready is not None
        assert node.ready[:2] == (FAILED, b"import_failed")
        text = node.ready[2].decode()
        assert f'File "{tmp_path}/broken_app.py", line 2' in text
        assert "ZeroDivisionError" in text
        assert "hornbeam_erlang" not in text


def test_version_in_common_is_needed() -> None:
    """A node that speaks other versions only gets ERROR `version`, and the worker ends."""
    with Node("", handshake=False) as node:
        node.send((HELLO, 2, 9, {}))
        node.expect(HELLO)
        code, name, text = node.receive()
        assert (code, name) == (ERROR, b"version")
        assert b"2..9" in text
        assert node.wait_end() == 70


def test_messages_before_boot() -> None:
    """OPEN before BOOT is `bad_state`."""
    with Node("", handshake=False) as node:
        node.send((HELLO, 1, 1, {}), node.open_message())
        node.expect(HELLO)
        assert node.expect(ERROR)[1] == b"bad_state"
        assert node.wait_end() == 70


@contextmanager
def loading(folder: Path) -> Iterator[Node]:
    """A node whose worker imports the application until the end of the block."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    (folder / "slow_app.py").write_text(f"open({str(fifo)!r}).read()\n")
    config = {
        b"app": b"slow_app:app",
        b"pythonpath": [str(folder).encode()],
        b"response_window": 10,
        b"request_window": 10,
        b"heartbeat": 100000,
    }
    with Node("", handshake=False) as node:
        node.send((HELLO, 1, 1, {}), (BOOT, config))
        node.expect(HELLO)
        with fifo.open("w"):  # returns when the import has begun
            yield node


def test_messages_while_loading(tmp_path: Path) -> None:
    """OPEN while the application loads is `bad_state`, noticed though the main thread is
    importing."""
    with loading(tmp_path) as node:
        node.send(node.open_message())
        assert node.expect(ERROR)[1] == b"bad_state"
        assert node.wait_end() == 70


def test_end_of_the_node_while_loading(tmp_path: Path) -> None:
    """A worker whose node goes away during the import ends."""
    with loading(tmp_path) as node:
        node.close_write()
        assert node.wait_end() == 1


def test_surroundings_of_the_application(tmp_path: Path) -> None:
    """pythonpath comes first, in order; the directory is the node's; argv has nothing of the
    worker's."""
    extra = [str(tmp_path).encode(), str(TESTS).encode()]
    with Node(APPLICATION, {b"pythonpath": extra}) as node:
        where = json.loads(node.request("/where").body)
    assert where["path"][:2] == [item.decode() for item in extra]
    assert where["cwd"] == os.getcwd()
    assert where["argv"] == ["hornbeam"]
    assert where["thread"] == "MainThread"


def test_stdout_is_the_applications_own(capfd: pytest.CaptureFixture[str]) -> None:
    """What an application prints reaches standard output, and not the connection."""
    with Node(APPLICATION) as node:
        assert json.loads(node.request("/prints").body) == "printed"
        assert json.loads(node.request("/quick", query="x").body) == "x"
    assert capfd.readouterr().out == "printed\nwritten\n"


EAGER = """
import hornbeam_erlang
hornbeam_erlang.hook("own", lambda action, *args: [action, *args])
found = hornbeam_erlang.call("f")
def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(found).encode()]
"""


def test_calls_while_loading(tmp_path: Path) -> None:
    """An application may call the node while it is imported, and the thread that waits serves what
    is done for its call; handlers are announced when all is loaded."""
    (tmp_path / "eager.py").write_text(EAGER)
    with Node("", handshake=False) as node:
        node.load("eager:app", {b"pythonpath": [str(tmp_path).encode()]})
        code, ident, origin, _, service, _ = node.receive()
        assert (code, ident, origin, service) == (CALL, 1, 0, b"call")
        nested = encode([["act", 1], {}])
        node.send((CALL, 1, ident, 5000, b"hook/own", nested))
        assert node.receive() == (RESULT, 1, encode(["act", 1]))
        node.send((RESULT, ident, encode("found")))
        assert node.receive() == (READY, {b"hooks": [b"own"]})
        assert node.request("/").body == b"'found'"


def test_call_that_nobody_serves_while_loading(tmp_path: Path) -> None:
    """A call of the node that has nothing to do with the worker's own is refused before READY."""
    with loading(tmp_path) as node:
        node.send((CALL, 1, 0, 5000, b"hook/own", encode([[], {}])))
        assert node.expect(ERROR)[1] == b"bad_state"
        assert node.wait_end() == 70


def test_programs_do_not_inherit_the_connection(node: Node) -> None:
    """A program that the application starts has neither of the connection's descriptors."""
    assert json.loads(node.request("/inherited").body).strip() == "[]"


def test_forked_child_is_not_connected(node: Node) -> None:
    """A forked child gets NotConnected and cannot write to the connection; the worker goes on."""
    text, status = json.loads(node.request("/fork").body)
    assert "a forked child of a worker" in text
    assert status == 0
    assert node.request("/quick").status == 200


def test_unknown_keys_of_boot_are_ignored() -> None:
    """A newer node may say more than this worker knows."""
    with Node(APPLICATION, {b"later": (1, [None])}) as node:
        assert node.ready is not None
        assert node.ready[0] == READY


GOOD: dict[bytes, Any] = {
    b"app": b"a:b",
    b"response_window": 1,
    b"request_window": 2147483648,
    b"heartbeat": 1,
}


def test_config_defaults() -> None:
    """What BOOT may leave out has defaults."""
    assert parse_config(GOOD) == Config(
        app="a:b",
        interface="wsgi",
        pythonpath=(),
        threads=1,
        script_name="",
        response_window=1,
        request_window=2147483648,
        heartbeat=1,
        ledger=None,
        multiprocess=False,
        loop="auto",
        lifespan="auto",
        lifespan_timeout=30000,
        max_concurrent=1000,
    )


def test_config_of_asgi() -> None:
    """What is for ASGI workers alone arrives as it was sent."""
    config = parse_config(
        {
            **GOOD,
            b"interface": b"asgi",
            b"loop": b"uvloop",
            b"lifespan": b"on",
            b"lifespan_timeout": 1,
            b"max_concurrent": 65536,
        }
    )
    assert (config.interface, config.loop, config.lifespan) == ("asgi", "uvloop", "on")
    assert (config.lifespan_timeout, config.max_concurrent) == (1, 65536)


def test_config_directories_of_any_bytes() -> None:
    """A directory whose name is no UTF-8 is spelled as Python spells it."""
    assert parse_config({**GOOD, b"pythonpath": [b"/\xff"]}).pythonpath == (os.fsdecode(b"/\xff"),)


BAD: list[tuple[bytes, Any]] = [
    (b"app", None),
    (b"app", 1),
    (b"app", b"\xff"),
    (b"interface", b"cgi"),
    (b"interface", 1),
    (b"pythonpath", b"/a"),
    (b"pythonpath", [1]),
    (b"threads", 0),
    (b"threads", 1025),
    (b"threads", True),
    (b"script_name", 1),
    (b"response_window", 0),
    (b"response_window", 2147483649),
    (b"response_window", None),
    (b"request_window", b"1"),
    (b"heartbeat", 0),
    (b"ledger", b""),
    (b"ledger", 1),
    (b"multiprocess", 1),
    (b"loop", b"trio"),
    (b"loop", None),
    (b"lifespan", True),
    (b"lifespan_timeout", 0),
    (b"max_concurrent", 0),
    (b"max_concurrent", 65537),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_config(key: bytes, value: Any) -> None:
    """A value that is out of its type or range is `bad_message`, naming its key."""
    with pytest.raises(ProtocolError) as caught:
        parse_config({**GOOD, key: value})
    assert caught.value.name == "bad_message"
    assert key.decode() in caught.value.text


@pytest.mark.parametrize("key", [b"app", b"response_window", b"request_window", b"heartbeat"])
def test_missing_config(key: bytes) -> None:
    """A key that has no default is asked for by name."""
    with pytest.raises(ProtocolError, match=f"BOOT without {key.decode()}"):
        parse_config({k: v for k, v in GOOD.items() if k != key})


@pytest.mark.parametrize("ledger", ["missing", "short"])
def test_bad_ledger(ledger: str, tmp_path: Path) -> None:
    """A ledger that cannot be mapped is `bad_message`; nothing is started without it."""
    (tmp_path / "short").write_bytes(bytes(15))
    path = str(tmp_path / ledger).encode()
    with Node(APPLICATION, {b"ledger": path}) as node:
        assert node.ready is not None
        assert node.ready[:2] == (ERROR, b"bad_message")
        assert b"ledger of BOOT" in node.ready[2]
        assert node.wait_end() == 70


def test_opening_is_known(node: Node) -> None:
    """A READY worker answers its first request."""
    message = node.open_message("/quick", query="first")
    assert message[0] == OPEN
    node.send(message)
    assert json.loads(node.answer(message[1]).body) == "first"
