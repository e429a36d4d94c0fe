# SPDX-License-Identifier: Apache-2.0
"""How a worker ends: drained, because its node is gone, or because somebody broke the protocol."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._wire import BODY_CREDIT, CALL, ERROR, RESPONSE, RESULT, ProtocolError, parse
from unit.wire import vectors
from unit.worker.conftest import APPLICATION, Gate
from unit.worker.harness import Node, WorkerGone

NOTHING = codec.encode([[], {}])


@pytest.mark.parametrize("threads", [1, 4])
def test_drain_of_an_idle_worker(threads: int) -> None:
    """DRAIN ends an idle worker with status 0."""
    with Node(APPLICATION, {b"threads": threads}) as node:
        node.drain()
        assert node.wait_end() == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_drain_finishes_what_is_open(gate: Gate, threads: int) -> None:
    """DRAIN lets open exchanges finish, also those that had not started, then the worker ends."""
    with Node(APPLICATION, {b"threads": threads}) as node:
        slow = node.open("/gate", query=gate.path)
        uploading = node.open("/call", method="POST", body=(b'["f"', None))
        node.drain()
        gate.open()
        assert json.loads(node.answer(slow).body) == "passed"
        answer = node.receive()
        if answer[0] == BODY_CREDIT:
            node.body(uploading, b"]", fin=True)
            call = node.expect(CALL)
            node.send((RESULT, call[1], codec.encode("done")))
            assert json.loads(node.answer(uploading).body) == ["result", "done"]
        assert node.wait_end() == 0


def test_drain_runs_atexit(tmp_path: Path) -> None:
    """A drained worker ends as a Python program does: what is registered with atexit runs."""
    (tmp_path / "leaving.py").write_text(
        "import atexit, pathlib\n"
        f"atexit.register(pathlib.Path({str(tmp_path / 'left')!r}).touch)\n"
        "app = print\n"
    )
    with Node("leaving:app", {b"pythonpath": [str(tmp_path).encode()]}) as node:
        node.drain()
        assert node.wait_end() == 0
    assert (tmp_path / "left").exists()


def test_drain_while_a_background_thread_leads() -> None:
    """A thread of the application that waits for a call, and so reads, does not keep the worker
    from ending."""
    with Node(APPLICATION) as node:
        node.request("/background")
        node.expect(CALL)
        node.drain()
        assert node.wait_end() == 0


def test_end_of_the_node_when_idle(node: Node) -> None:
    """The end of the node ends an idle worker with status 1."""
    node.close_write()
    assert node.wait_end() == 1


@pytest.mark.parametrize("how", ["gate", "spin"])
@pytest.mark.parametrize("threads", [1, 2])
def test_end_of_the_node_when_busy(gate: Gate, how: str, threads: int, tmp_path: Path) -> None:
    """The end of the node ends a worker whose application blocks, or spins, on every thread."""
    with Node(APPLICATION, {b"threads": threads}) as node:
        path = gate.path if how == "gate" else str(tmp_path / "never")
        for _ in range(threads):
            node.open(f"/{how}", query=path)
        while node.started < threads:
            os.sched_yield()
        node.close_write()
        assert node.wait_end() == 1


def test_end_of_the_node_when_it_streams(node: Node) -> None:
    """A worker that waits for credit ends with its node."""
    node.open("/call", method="POST", body=(b"", None))
    node.expect(BODY_CREDIT)
    node.close_write()
    assert node.wait_end() == 1


def test_failed_write_ends_the_worker(node: Node) -> None:
    """A write to a node that is gone ends the worker with status 1, not with a signal."""
    os.close(node.read_fd)
    node.read_fd = os.open("/dev/null", os.O_RDONLY)
    node.open("/quick")
    assert node.wait_end() == 1


def hostile() -> list[bytes]:
    """One packet of each kind that vectors refuse, with its length, and streams that are no
    packets."""
    frames = [e for e in vectors.read("frames.json", 400) if "must_fail" in e]
    chosen = {e["must_fail"] + e["name"].split(":")[0]: e for e in frames if e["from"] == "node"}
    packets = [vectors.packet(entry) for entry in list(chosen.values())[::4]]
    framed = [len(packet).to_bytes(4, "big") + packet for packet in packets]
    return [*framed, bytes(4), b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("data", hostile(), ids=lambda data: data[:12].hex())
def test_garbage(data: bytes) -> None:
    """Whatever is no legal message gets ERROR with a name and a text, and the worker ends with
    status 70."""
    with Node(APPLICATION) as node:
        node.send_raw(data)
        _, name, text = node.expect(ERROR)
        assert name in (b"bad_packet", b"bad_message")
        assert text
        assert node.wait_end() == 70
        assert f"hornbeam worker {node.pid}: {name.decode()}" in node.stderr()


def test_garbage_while_the_application_runs(gate: Gate) -> None:
    """Garbage is noticed while the only thread is busy; exchanges it held die with the worker."""
    with Node(APPLICATION) as node:
        node.open("/gate", query=gate.path)
        while node.started < 1:
            os.sched_yield()
        node.send_raw(b"\x00\x00\x00\x01x")
        assert node.expect(ERROR)[1] == b"bad_packet"
        assert node.wait_end() == 70


def test_answers_before_the_error_are_sent(node: Node) -> None:
    """What was answered before the garbage arrived reaches the node before ERROR."""
    node.open("/quick", query="before")
    assert node.expect(RESPONSE)[2] == 200
    node.send_raw(b"\x00\x00\x00\x00")
    assert node.expect(ERROR)[1] == b"bad_packet"


def test_bad_connection_field(node: Node) -> None:
    """An OPEN whose Connection does not decode is `bad_message`."""
    node.open("/quick", connection=b"nonsense")
    _, name, text = node.expect(ERROR)
    assert name == b"bad_message"
    assert b"Connection of OPEN" in text
    assert node.wait_end() == 70


def test_error_of_the_node(node: Node) -> None:
    """ERROR from the node is printed and ends the worker with status 70; it is not answered."""
    node.send((ERROR, b"bad_state", b"why ever"))
    with pytest.raises(WorkerGone):
        node.receive()
    assert node.wait_end() == 70
    assert "bad_state: why ever" in node.stderr()


def test_interrupt_is_the_nodes_business(node: Node) -> None:
    """SIGINT, which Ctrl-C sends to the whole group, is ignored."""
    os.kill(node.pid, signal.SIGINT)
    assert node.request("/quick").status == 200


def test_terminate_ends_the_process(node: Node) -> None:
    """SIGTERM has its default action."""
    os.kill(node.pid, signal.SIGTERM)
    assert node.wait_end() == -signal.SIGTERM


def test_crash_leaves_a_trace(node: Node) -> None:
    """A segmentation fault prints where every thread was."""
    os.kill(node.pid, signal.SIGSEGV)
    assert node.wait_end() == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in node.stderr()
    assert "Thread" in node.stderr()


def test_bytes_cut_anywhere(node: Node) -> None:
    """Packets that arrive byte by byte are served as whole ones are."""
    message = node.open_message("/quick", query="dripped")
    for byte in codec.encode_wire_packet([message]):
        node.send_raw(bytes([byte]))
    assert json.loads(node.answer(message[1]).body) == "dripped"


def test_harness_refuses_what_workers_must_not_send() -> None:
    """The node of these tests checks what it receives, so that a worker cannot pass with
    nonsense."""
    with pytest.raises(ProtocolError):
        parse(codec.encode_wire([(16, 1)]))
