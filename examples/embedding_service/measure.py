# SPDX-License-Identifier: Apache-2.0
"""Measures what the cache and the batches of the example bring.

    python examples/embedding_service/measure.py http://127.0.0.1:8000

Asks the running service with 16 clients: texts it does not know (one call of the model for many),
the same texts again (none), and for comparison texts one after the other (a call for each).
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote
from urllib.request import urlopen

TEXTS = 64
CLIENTS = 16


def get(url: str) -> dict[str, object]:
    with urlopen(url, timeout=120) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def timed(base: str, texts: list[str], clients: int) -> tuple[float, int]:
    """Texts per second, and calls of the model."""
    before = int(str(get(f"{base}/stats")["model_calls"]))
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda text: get(f"{base}/embed?text={quote(text)}"), texts))
    seconds = time.perf_counter() - start
    return len(texts) / seconds, int(str(get(f"{base}/stats")["model_calls"])) - before


def main() -> None:
    base, run = sys.argv[1].rstrip("/"), time.time_ns()
    alone = [f"text {number} of run {run}, alone" for number in range(TEXTS)]
    together = [f"text {number} of run {run}, together" for number in range(TEXTS)]
    for name, texts, clients in (
        ("one after the other", alone, 1),
        (f"{CLIENTS} clients, batched", together, CLIENTS),
        (f"{CLIENTS} clients, cached", together, CLIENTS),
    ):
        rate, calls = timed(base, texts, clients)
        print(f"{name:22} {rate:8.1f} texts/s   {calls:3} calls of the model for {len(texts)}")


if __name__ == "__main__":
    main()
