# SPDX-License-Identifier: Apache-2.0
"""The hornbeam command with a real node: serves, ends, and says why it cannot start."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from live.serving import (
    EXAMPLES,
    START,
    STOP,
    alive,
    command,
    descendants,
    serving,
    text,
    wait_until,
)
from ports import free_port

HELLO = EXAMPLES / "hello_wsgi"
ONE_WORKER = ("--workers", "1")

BLOCKING = """
import pathlib, sys, time

FOLDER = pathlib.Path(__file__).parent

def application(environ, start_response):
    (FOLDER / "started").touch()
    while not (FOLDER / "go").exists():
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"finished"]
"""


def test_serves_and_says_where() -> None:
    """The first line names version, application, interface and address; the address answers."""
    with serving("app:application", HELLO, *ONE_WORKER) as served:
        start = f"Hornbeam {version('hornbeam')} serves app:application (wsgi) on http://127.0.0.1:"
        assert served.announcement.startswith(start)
        assert served.get() == (200, b"Hello from Hornbeam!")


def test_serves_over_tls(tmp_path: Path) -> None:
    """--certfile and --keyfile switch TLS on; a client that trusts the certificate is answered."""
    certificate, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", key, "-out", certificate)
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *subject, *files],
        check=True,
        capture_output=True,
        timeout=START,
    )
    tls = ("--certfile", certificate, "--keyfile", key, "--tls-min-version", "1.3")
    with serving("app:application", HELLO, *ONE_WORKER, *tls) as served:
        assert "on https://127.0.0.1:" in served.announcement
        trust = ssl.create_default_context(cafile=certificate)
        client = http.client.HTTPSConnection(served.host, served.port, timeout=STOP, context=trust)
        client.request("GET", "/")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"Hello from Hornbeam!")
        client.close()


def test_a_wrong_certificate_is_named() -> None:
    """A file that is not there: status 1, and standard error names option and file."""
    with command("--certfile", "/nowhere.pem", "--app-dir", str(HELLO), "app:application") as (
        process,
        stderr,
    ):
        assert process.wait(START) == 1
        assert "the option certfile: the file /nowhere.pem cannot be read" in text(stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    """TERM and INT: status 0, and neither the node nor a worker is left."""
    with serving("app:application", HELLO, *ONE_WORKER) as served:
        below = descendants(served.process.pid)
        assert len(below) >= 2  # the node and its worker
        served.process.send_signal(number)
        assert served.process.wait(STOP) == 0
        wait_until(lambda: not any(map(alive, below)), "every process below the command ended")


def test_open_request_finishes_when_told_to_stop(tmp_path: Path) -> None:
    """A request that runs when TERM arrives is answered before the node ends."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    answers: list[tuple[int, bytes]] = []
    with serving("blocking:application", tmp_path, *ONE_WORKER) as served:
        client = threading.Thread(target=lambda: answers.append(served.get()), daemon=True)
        client.start()
        wait_until((tmp_path / "started").exists, "the request reached the application")
        served.process.terminate()
        wait_until(lambda: refuses(served.host, served.port), "the listener closed")
        (tmp_path / "go").touch()
        client.join(STOP)
        assert served.process.wait(STOP) == 0
    assert answers == [(200, b"finished")]


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_second_signal_does_not_wait(tmp_path: Path) -> None:
    """TERM again while a request hangs: the node is killed, the status tells by which signal."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    with serving("blocking:application", tmp_path, *ONE_WORKER) as served:
        below = descendants(served.process.pid)
        with socket.create_connection((served.host, served.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until((tmp_path / "started").exists, "the request reached the application")
            served.process.terminate()
            wait_until(lambda: refuses(served.host, served.port), "the listener closed")
            served.process.terminate()
            assert served.process.wait(STOP) == 128 + signal.SIGKILL
        wait_until(lambda: not any(map(alive, below)), "every process below the command ended")


def test_node_does_not_outlive_a_killed_command() -> None:
    """After kill -9 of the command the node and its workers end by themselves."""
    with serving("app:application", HELLO, *ONE_WORKER) as served:
        below = descendants(served.process.pid)
        served.process.kill()
        served.process.wait(STOP)
        wait_until(lambda: not any(map(alive, below)), "every process below the command ended")


def test_command_tells_that_its_node_was_killed() -> None:
    """kill -9 of the node ends the command with 128 + 9, and the workers with it."""
    with serving("app:application", HELLO, *ONE_WORKER) as served:
        below = descendants(served.process.pid)
        os.kill(served.node_pid(), signal.SIGKILL)
        assert served.process.wait(STOP) == 128 + signal.SIGKILL
        wait_until(lambda: not any(map(alive, below)), "every process below the command ended")


def failure(*argv: str) -> str:
    """What a command that must not start wrote on standard error."""
    with command("--bind", "127.0.0.1:0", *argv) as (process, stderr):
        assert process.wait(START) == 1
        assert process.stdout is not None
        assert process.stdout.read() == b""
        stderr.seek(0)
        return stderr.read().decode()


@pytest.mark.parametrize(
    ("source", "spec", "reason"),
    [
        ("", "nothere:application", "nothere"),
        ("import nothere_either", "sample:application", "nothere_either"),
        ("application = None", "sample:missing", "missing"),
        ("application = 3", "sample:application", "callable"),
        ("raise ValueError('out of paint')", "sample:application", "out of paint"),
    ],
)
def test_application_that_does_not_load_is_the_reason(
    tmp_path: Path, source: str, spec: str, reason: str
) -> None:
    """Status 1 and why, on standard error; nothing is announced."""
    (tmp_path / "sample.py").write_text(source)
    assert reason in failure("--app-dir", str(tmp_path), *ONE_WORKER, spec)


def test_busy_port_is_the_reason() -> None:
    """An address in use: status 1 and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = failure("--bind", address, "--app-dir", str(HELLO), *ONE_WORKER, "app:application")
    assert address in text
    assert "in use" in text


@pytest.mark.parametrize(
    ("option", "value"), [("--workers", "0"), ("--threads", "0"), ("--timeout", "-1")]
)
def test_option_out_of_range_is_named(option: str, value: str) -> None:
    """The node checks the values; its message names the option."""
    text = failure(option, value, "--app-dir", str(HELLO), "app:application")
    assert f"option {option.removeprefix('--')}" in text


def test_unix_socket(tmp_path: Path) -> None:
    """--bind unix:/path serves on that socket."""
    path = tmp_path / "s"
    argv = ("--bind", f"unix:{path}", "--app-dir", str(HELLO), *ONE_WORKER, "app:application")
    with command(*argv) as (_process, _stderr):
        wait_until(path.exists, "the socket exists", START)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
    assert answer.endswith(b"Hello from Hornbeam!")


def test_workers_do_not_see_the_commands_variable(tmp_path: Path) -> None:
    """The application's environment is the one the command was started in, nothing added."""
    (tmp_path / "sample.py").write_text(
        "import os\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [repr([k for k in os.environ if k.startswith('HORNBEAM')]).encode()]\n"
    )
    variables = {"HORNBEAM_SEEN": "1"}
    with serving("sample:application", tmp_path, *ONE_WORKER, **variables) as served:
        assert served.get() == (200, b"['HORNBEAM_SEEN']")


def test_make_run_serves_the_example() -> None:
    """`make run` with an address serves the hello example there and ends on INT."""
    port = free_port()
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        ["make", "-s", "run", f"BIND=127.0.0.1:{port}", "ARGS=--workers 1"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as process:
        try:
            wait_until(
                lambda: process.poll() is not None or not refuses("127.0.0.1", port),
                "make run listens",
                START,
            )
            assert process.poll() is None, "make run ended by itself"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=STOP)
    assert f"on http://127.0.0.1:{port}".encode() in output
