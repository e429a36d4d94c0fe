# SPDX-License-Identifier: Apache-2.0
"""What is measured, as tables: parts, their servers and loads, and what is aimed at.

Runs in: the process of the benchmark. A row more is a load more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from load import Http
from sockets import Sockets


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load and what it counts, at some numbers of connections; `quick` for a first impression.

    With `by_memory` the servers are compared by what a connection costs in memory.
    """

    name: str
    counts: str
    load: Http | Sockets
    connections: tuple[int, ...]
    quick: tuple[int, ...]
    by_memory: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Loads that share a start of each server. Ratios refer to the first of the servers."""

    servers: tuple[str, ...]
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True)
class Aim:
    """`ours` is to be at least `factor` times as good as `peer` under a load of a part."""

    part: str
    scenario: str
    ours: str
    peer: str
    factor: float


def http(name: str, load: Http, *connections: int) -> Scenario:
    return Scenario(name, "requests", load, connections, (64,))


def sse(name: str, pause: str) -> Scenario:
    load = Sockets("events", f"/events?{pause}", 128)
    return Scenario(name, "events", load, (1000,), (200,))


HELLO = http("hello", Http("/", b"Hello from Hornbeam!"), 1, 64, 512)
LARGE = http("64 KiB", Http("/large", b"x" * 65536), 1, 64, 512)
WAIT = http("1 ms", Http("/wait", b"Hello from Hornbeam!"), 64, 512)
DOCUMENT = json.dumps({"numbers": list(range(100)), "text": "x" * 609})
JSON = http("JSON of 1 KiB", Http("/json", DOCUMENT.encode(), DOCUMENT), 64)

PACED, UNPACED = sse("SSE, 10/s each", "0.1"), sse("SSE, unpaced", "0")

ECHO = Scenario("WebSocket echo", "messages", Sockets("echo", "/socket", 64), (64,), (64,))
IDLE = Scenario(
    "idle WebSockets", "sockets", Sockets("idle", "/socket", 64), (10000,), (1000,), by_memory=True
)
FANOUT = Scenario("fan-out", "deliveries", Sockets("fanout", "/topic", 128), (10000,), (1000,))

WSGI = ("hornbeam", "gunicorn", "uvicorn", "granian-wsgi", "granian-asgi")
ASGI = ("hornbeam-asgi", "uvicorn", "granian-asgi", "hypercorn")

PARTS = {
    "wsgi": Part(WSGI, (HELLO, LARGE)),
    "asgi": Part(ASGI, (HELLO, LARGE, WAIT, JSON)),
    "sse": Part(ASGI, (PACED, UNPACED)),
    "websocket": Part(ASGI, (ECHO,)),
    "idle": Part(ASGI, (IDLE,)),
    "fanout": Part(("hornbeam-topics", "hornbeam-pubsub", "uvicorn-redis"), (FANOUT,)),
}

AIMS = (
    Aim("asgi", "hello", "hornbeam-asgi", "uvicorn", 1.3),
    Aim("asgi", "hello", "hornbeam-asgi", "granian-asgi", 1.0),
    Aim("websocket", "WebSocket echo", "hornbeam-asgi", "uvicorn", 1.5),
    Aim("idle", "idle WebSockets", "hornbeam-asgi", "uvicorn", 2.0),
)
