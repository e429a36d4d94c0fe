# SPDX-License-Identifier: Apache-2.0
"""Compares a message to 1 and to 100 subscribers with Redis: `python benchmarks/publish.py`.

Runs in: one process, which starts a redis-server and a node with one ASGI worker. The event loop of
that worker publishes and has the subscribers, on hornbeam and on Redis (redis-py with hiredis, over
TCP and over a Unix socket) by turns; the next message goes out when all have the last one. Prints
medians and ratios and writes them to a file. 10,000 subscribers are a part of compare_servers.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import servers
import state
from comparison import Size, choose

# How many times faster than Redis a message is to be with all subscribers.
AIMS = {"publish to 1": 1.0, "publish to 100": 1.0}


def measure(chosen: argparse.Namespace) -> list[state.Round]:
    """Every round."""
    with ExitStack() as running:
        socket = Path(running.enter_context(TemporaryDirectory())) / "redis"
        redis = servers.program(state.redis_with_socket(socket), servers.accepts)
        redis_pid, redis_port = running.enter_context(redis)
        options = ("--interface", "asgi", "--workers", "1", "--timeout", "300000")
        _, port = running.enter_context(
            servers.program(
                servers.hornbeam("bench_publish:application", *options),
                servers.answers,
                BENCH_REDIS_PID=str(redis_pid),
                BENCH_REDIS_PORT=str(redis_port),
                BENCH_REDIS_SOCKET=str(socket),
            )
        )
        return state.ask_rounds(chosen.rounds, port, f"/operations?{chosen.count}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    count = Size("count", 3000, 200, "deliveries in a turn")
    chosen = choose(argv, "publish", "Compare publish with Redis.", 7, count)
    return state.conclude(chosen, measure(chosen), AIMS)


if __name__ == "__main__":
    sys.exit(main())
