# SPDX-License-Identifier: Apache-2.0
"""Compares a request and its answer, to Erlang and to workers, with Redis: `python
benchmarks/hooks.py`.

Runs in: one process, which starts a redis-server, a responder on two of its lists and a node with
two workers. One thread of one worker asks Erlang, its own worker, the other worker and Redis by
turns (redis-py with hiredis on a Unix socket). Prints medians and ratios and writes them to a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import servers
import state
from comparison import Size, choose

# How many times faster than Redis a round trip is to be.
AIMS = {"call": 1.0, "execute, own worker": 1.0, "execute, other worker": 1.0}
ECHO = '-eval "hornbeam:register_function(echo,fun([Value])->Value end)."'


def workers() -> list[int]:
    """The Python workers on this machine whose application is this benchmark's."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if b"hornbeam_erlang.worker" in (process / "cmdline").read_bytes() and (
                b"BENCH_RESPONDER_PID" in (process / "environ").read_bytes()
            ):
                found.append(int(process.name))
        except OSError:
            continue  # no process, somebody else's, or one that has ended
    return found


@contextmanager
def responder(socket: Path) -> Iterator[int]:
    """The process that answers on the lists."""
    script = servers.APPS / "redis_responder.py"
    argv = ["env", f"BENCH_REDIS_SOCKET={socket}", sys.executable, str(script)]
    with subprocess.Popen(argv) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def measure(chosen: argparse.Namespace) -> list[state.Round]:
    """Every round."""
    with ExitStack() as running:
        socket = Path(running.enter_context(TemporaryDirectory())) / "redis"
        redis = servers.program(state.redis_with_socket(socket), servers.accepts)
        redis_pid, _ = running.enter_context(redis)
        answering = running.enter_context(responder(socket))
        _, port = running.enter_context(
            servers.program(
                servers.hornbeam(
                    "bench_hooks:application", "--workers", "2", "--timeout", "300000"
                ),
                servers.answers,
                BENCH_REDIS_PID=str(redis_pid),
                BENCH_REDIS_SOCKET=str(socket),
                BENCH_RESPONDER_PID=str(answering),
                ERL_FLAGS=ECHO,
            )
        )
        pids = ",".join(map(str, workers()))
        return state.ask_rounds(chosen.rounds, port, f"/operations?{chosen.count}&{pids}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison. Returns: 0."""
    count = Size("count", 3000, 200, "operations in a turn")
    chosen = choose(argv, "hooks", "Compare calls and hooks with Redis.", 7, count)
    return state.conclude(chosen, measure(chosen), AIMS)


if __name__ == "__main__":
    sys.exit(main())
