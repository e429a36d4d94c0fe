# SPDX-License-Identifier: Apache-2.0
"""Slow clients cost neither memory nor workers, and neither do slow applications.

SLOW_PEERS_MIB in the environment sets how much is streamed each way (default 256).
"""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apps.slow_cases import CHUNK
from live.conftest import Start
from live.proc import resident
from live.raw import Raw, request
from live.samples import MIB
from live.serving import Served, wait_until
from live.streams import Streams

SIZE = int(os.environ.get("SLOW_PEERS_MIB", "256"))  # MiB
WARM_UP = 32  # MiB, as fast as it goes: buffers, heaps and arenas get their usual size
GROWTH = 32 * MIB
FASTEST = 96 * MIB  # bytes a second that the slow side takes at most
SMALL_BUFFER = 65536  # of a slow client's socket
# Seconds. Whoever is held up by a slow peer waits for as long as that one likes; a machine under
# load takes its time, too.
MOMENT = 20


@pytest.fixture(params=["wsgi", "asgi"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(interface: str, start: Start, start_asgi: Start) -> Served:
    """One worker, with two threads or a loop."""
    if interface == "asgi":
        return start_asgi("apps.slow_cases_asgi:application")
    return start("apps.slow_cases:application", "--threads", "2")


@dataclass
class Memory:
    """How far the node and its worker have grown above what they held at first."""

    served: Served
    first: dict[int, int] = field(default_factory=dict)
    growth: int = 0

    def look(self) -> None:
        for pid in (self.served.node_pid(), *self.served.worker_pids()):
            held = resident(pid)
            self.growth = max(self.growth, held - self.first.setdefault(pid, held))


def download(served: Served, size: int, look: Callable[[], None], rate: float = 0) -> float:
    """Reads `size` MiB, at most `rate` bytes a second if not 0. Returns: seconds it took."""
    expected, got = zlib.crc32(CHUNK * 16), 0
    with Raw(served, SMALL_BUFFER if rate else None) as raw:
        raw.send(request("GET", f"/stream/{size}", "Connection: close", version="1.0"))
        assert raw.head().status == 200
        begin = time.monotonic()
        while data := raw.file.read(MIB):
            got += len(data)
            assert zlib.crc32(data) == expected
            if rate:
                # The slowness itself, no wait for something to happen.
                time.sleep(max(0.0, begin + got / rate - time.monotonic()))
            if got % (8 * MIB) == 0:
                look()
    assert got == size * MIB
    return time.monotonic() - begin


def upload(served: Served, size: int, look: Callable[[], None], rate: float = 0) -> float:
    """Writes `size` MiB to an app that takes at most `rate` bytes a second. Returns: seconds."""
    data, check = CHUNK * 16, 0
    with Raw(served) as raw:
        length = f"Content-Length: {size * MIB}"
        raw.send(request("POST", f"/upload/{int(rate)}", length, "Connection: close"))
        begin = time.monotonic()
        for number in range(size):
            raw.send(data)
            check = zlib.crc32(data, check)
            if number % 8 == 0:
                look()
        assert raw.reply().body == b"%d %d" % (size * MIB, check)
    return time.monotonic() - begin


@pytest.mark.parametrize("transfer", [download, upload])
def test_memory_stays_flat_while_one_side_is_slow(
    served: Served, transfer: Callable[..., float]
) -> None:
    """A body that is taken at less than the speed it is made does not pile up."""
    memory = Memory(served)
    quick = transfer(served, WARM_UP, lambda: None)
    rate = min(FASTEST, WARM_UP * MIB / quick / 2)
    memory.look()
    seconds = transfer(served, SIZE, memory.look, rate)
    print(f"{SIZE} MiB in {seconds:.1f} s, grown by {memory.growth / MIB:.1f} MiB")
    assert seconds > SIZE * MIB / rate * 0.9  # it was slow
    assert memory.growth < GROWTH


def get(served: Served, path: str) -> tuple[bytes, float]:
    """The body of a GET on a connection of its own, and the seconds it took."""
    begin = time.monotonic()
    with Raw(served) as raw:
        return raw.ask("GET", path, "Connection: close").body, time.monotonic() - begin


def produced(served: Served) -> int:
    """Bytes that the streaming app has yielded since the worker began."""
    return int(get(served, "/progress/")[0]) * len(CHUNK)


def stalls(served: Served, before: int) -> Callable[[], bool]:
    """A condition: the app has yielded more than `before`, and nothing since last asked."""
    seen = [before]

    def same() -> bool:
        seen.append(produced(served))
        return seen[-1] == seen[-2] != before

    return same


def test_stalled_client_holds_up_nobody_else(served: Served) -> None:
    """One client takes nothing of an endless response: the app stops producing, the other thread
    serves the others, and the stalled one goes on where it stood when it reads again.
    """
    before = produced(served)
    with Raw(served, SMALL_BUFFER) as stalled:
        stalled.send(request("GET", "/stream/100000", version="1.0"))
        wait_until(stalls(served, before), "the app produces no more")
        so_far = produced(served)
        answers = [get(served, "/hello/") for _ in range(50)]
        assert {body for body, _ in answers} == {b"hello"}
        assert max(seconds for _, seconds in answers) < MOMENT
        assert produced(served) == so_far
        assert stalled.head().status == 200
        for _ in range(32):
            assert stalled.file.read(len(CHUNK) * 16) == CHUNK * 16
        assert produced(served) > so_far


def test_stalled_http2_client_stops_its_app(served: Served) -> None:
    """A stream whose flow-control window stays shut costs the node no more than a connection of
    HTTP/1 would: the app stops producing.
    """
    before = produced(served)
    with Streams(served) as stalled:
        stalled.get("/stream/256")
        wait_until(stalls(served, before), "the app produces no more")
        assert produced(served) - before < GROWTH


def test_fast_http2_upload_is_no_flood(served: Served, tmp_path: Path) -> None:
    """A large body that comes as fast as the network carries it is taken whole."""
    path = tmp_path / "body"
    with path.open("wb") as file:
        file.truncate(192 * MIB)
    url = f"http://{served.host}:{served.port}/upload/0"
    argv = ["curl", "--silent", "--http2-prior-knowledge", "--upload-file", str(path), url]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.stdout.startswith(b"%d " % (192 * MIB)), done


@pytest.fixture
def tricklers(
    interface: str, start: Start, start_asgi: Start
) -> Iterator[tuple[Served, list[Raw]]]:
    """One worker that serves one request at a time, and twenty clients that each send the head of
    a 64 KiB body.
    """
    if interface == "asgi":
        served = start_asgi("apps.slow_cases_asgi:application", ("max_concurrent", 1))
    else:
        served = start("apps.slow_cases:application", "--threads", "1")
    with ExitStack() as stack:
        clients = [stack.enter_context(Raw(served)) for _ in range(20)]
        for client in clients:
            client.send(request("POST", "/upload/0", "Content-Length: 65536"))
        yield served, clients


def test_trickling_clients_hold_no_worker(tricklers: tuple[Served, list[Raw]]) -> None:
    """Twenty bodies that come a byte a second: others are served by the only thread meanwhile, and
    the slow ones are answered when their bodies are whole.
    """
    served, clients = tricklers
    slowest = 0.0
    for _second in range(3):
        for client in clients:
            client.send(b"x")
        end = time.monotonic() + 1
        while time.monotonic() < end:
            body, seconds = get(served, "/hello/")
            assert body == b"hello"
            slowest = max(slowest, seconds)
    assert slowest < MOMENT
    whole = b"%d %d" % (65536, zlib.crc32(b"x" * 65536))
    for client in clients:
        client.send(b"x" * (65536 - 3))
        assert client.reply().body == whole
