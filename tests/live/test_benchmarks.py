# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself runs: its quick form against the real server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from live.serving import ROOT


@pytest.mark.parametrize(
    ("parts", "servers", "expected"),
    [
        (["wsgi"], ["hornbeam", "hornbeam-w1"], ["hello", "64 KiB"]),
        (
            ["asgi", "sse"],
            ["hornbeam-asgi"],
            ["hello", "64 KiB", "1 ms", "JSON of 1 KiB", "SSE, 10/s each", "SSE, unpaced"],
        ),
        (["websocket", "idle"], ["hornbeam-asgi"], ["WebSocket echo", "idle WebSockets"]),
        (["fanout"], ["hornbeam-topics", "hornbeam-pubsub"], ["fan-out"]),
    ],
)
def test_quick_comparison(parts: list[str], servers: list[str], expected: list[str]) -> None:
    """One round of each load: a table, a JSON file, no error, what both halves cost."""
    result = ROOT / "benchmarks" / "results" / f"smoke-test-{parts[0]}.json"
    result.unlink(missing_ok=True)
    argv = [*parts, "--quick", "--connections", "20", "--servers", *servers]
    done = subprocess.run(
        [sys.executable, "benchmarks/compare_servers.py", *argv, "--name", result.stem],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(result.read_text())["rows"]
    cells = [(row["cell"]["scenario"], row["cell"]["server"]) for row in rows]
    assert cells == [(scenario, server) for scenario in expected for server in servers]
    assert all(row["valid"] for row in rows)
    # So little work may be less than a clock tick, and the memory of so few sockets lost.
    for kind in ("node", "python"):
        assert any(row["cpu"][kind] > 0 for row in rows)
    for scenario in expected:
        assert f"{scenario}, 20 connections" in done.stdout


needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None,
    reason="redis-server or redis-py is not installed: scripts/setup bench",
)


def quick(script: str) -> Any:
    """What the short form of a comparison writes to its file."""
    result = ROOT / "benchmarks" / "results" / f"smoke-test-{script}.json"
    result.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", "--quick", "--name", result.stem],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@needs_redis
def test_quick_comparison_of_shared_state() -> None:
    """One round of each operation on hornbeam and on Redis: a JSON file with every figure, and ten
    matches cost the same in a small and in a larger table."""
    found = quick("state")
    assert [line["operation"] for line in found["operations"]] == [
        "incr", "get", "set", "get of 100 keys", "pipeline of 100 incr"
    ]  # fmt: skip
    for line in found["operations"]:
        assert len(line["clock"]) == 3
        assert all(took > 0 for took in (*line["clock"].values(), *line["processors"].values()))
    assert found["ten_matches"]["entries"] > 20000
    assert found["ten_matches"]["ratio"] < 12  # 20 times as many keys


@needs_redis
def test_quick_comparison_of_hooks() -> None:
    """One round of calls and executions beside Redis: a JSON file with every figure."""
    found = quick("hooks")["operations"]
    expected = ["call", "execute, own worker", "execute, other worker"]
    assert [line["operation"] for line in found] == expected
    for line in found:
        assert [*line["clock"]] == ["hornbeam", "redis INCR", "redis lists"]
        assert all(took > 0 for took in (*line["clock"].values(), *line["processors"].values()))


def test_quick_comparison_of_rpc() -> None:
    """One round of calls of another node, from Python and from Erlang: a JSON file with every
    figure."""
    found = quick("rpc")["calls"]
    assert [line["way"] for line in found] == [
        "1 at once, a thread", "1 at once, an event loop", "64 at once, an event loop"
    ]  # fmt: skip
    for line in found:
        assert [*line["clock"]] == ["rpc_call", "erpc", "node"]
        assert all(took > 0 for took in (*line["clock"].values(), *line["processors"].values()))


@needs_redis
def test_quick_comparison_of_publish() -> None:
    """One round of messages to one and to a hundred subscribers beside Redis, with every figure."""
    found = quick("publish")["operations"]
    assert [line["operation"] for line in found] == ["publish to 1", "publish to 100"]
    for line in found:
        assert [*line["clock"]] == ["hornbeam", "redis, TCP", "redis, Unix"]
        assert all(took > 0 for took in (*line["clock"].values(), *line["processors"].values()))


def test_quick_measurement_of_a_python_node() -> None:
    """One round of messages and calls beside an Erlang node: a JSON file with every figure."""
    turns = quick("node_messages")["turns"]
    assert len(turns) == 4
    for by in turns.values():
        assert all(rate > 0 for who in ("python", "erlang") for rate, _ in by[who])
