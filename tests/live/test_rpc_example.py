# SPDX-License-Identifier: Apache-2.0
"""The example of inference on other nodes does what it shows, on a front, two GPU nodes and one
that keeps the log; also when a GPU node is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from live import nodes
from live.serving import EXAMPLES, Served, serving, wait_until

FOLDER = EXAMPLES / "distributed_rpc"
TEXTS = ["one", "two", "three", "four", "five"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The front, the names and servers of the GPU nodes, the node of the log."""

    front: Served
    gpus: dict[str, Served]
    log: nodes.Node

    def ask(self, path: str, **query: Any) -> Any:
        status, body = self.front.get(f"{path}?{urlencode(query, doseq=True)}")
        assert status == 200, self.front.errors()
        return json.loads(body)


def gpu(name: str, code: Path) -> Any:
    options = ("--sname", name, "--workers", "1", "--threads", "2")
    variables = {**nodes.VARIABLES, "ERL_FLAGS": f"-pa {code}"}
    return serving("gpu:application", FOLDER, *options, **variables)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    code = tmp_path_factory.mktemp("ebin")
    sources = sorted(map(str, (FOLDER / "erlang").glob("*.erl")))
    subprocess.run(["erlc", "-Werror", "-o", str(code), *sources], check=True, timeout=60)
    names = [nodes.named("gpu"), nodes.named("gpu")]
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        gpus = pool.map(lambda name: stack.enter_context(gpu(name, code)), names)
        log = stack.enter_context(nodes.plain("logs"))
        front = serving(
            "app:application",
            FOLDER,
            *("--sname", nodes.named("front"), "--interface", "asgi", "--workers", "1"),
            GPU_NODES=" ".join(names),
            LOG_NODE=log.name,
            **nodes.VARIABLES,
        )
        running = dict(zip(names, gpus, strict=True))
        yield Cluster(stack.enter_context(front), running, log)


def test_inference(cluster: Cluster) -> None:
    """Both GPU nodes make a part of the vectors, which come back in order; a prediction comes from
    one of them."""
    expected = cluster.ask("/embed", text=TEXTS)
    assert expected["nodes"] == sorted(cluster.gpus)
    alone = [cluster.ask("/embed", text=text)["vectors"][0] for text in TEXTS]
    assert expected["vectors"] == alone
    found = cluster.ask("/predict", text="what is it")
    assert (found["label"], found["node"]) == ("question", min(cluster.gpus))
    assert set(cluster.ask("/nodes")["nodes"]) >= set(cluster.gpus)


def test_log(cluster: Cluster) -> None:
    """What is cast to the node of the log is shown there."""
    cluster.ask("/nodes", user="alice")
    wait_until(lambda: "alice has asked" in cluster.log.log(), "the log")
    assert "NOTICE" in cluster.log.log()


def test_gpu_node_is_killed(cluster: Cluster) -> None:
    """Requests go on when a GPU node is killed, with the same vectors, and soon without it; the
    last one's end leaves the front."""
    expected = cluster.ask("/embed", text=TEXTS)["vectors"]
    for left in (1, 0):
        name, served = max(cluster.gpus.items())
        del cluster.gpus[name]
        os.kill(served.node_pid(), signal.SIGKILL)

        def is_left_out(left: int = left) -> bool:
            found = cluster.ask("/embed", text=TEXTS)
            assert found["vectors"] == expected
            return len(found["nodes"]) == left

        wait_until(is_left_out, "the node is gone")
