# SPDX-License-Identifier: Apache-2.0
"""What one request costs a worker: CPU time of a real worker process per request, without a node.

Plays the node over pipes: batches of OPEN for a hello-world application, each answered by
RESPONSE. Prints microseconds of Python CPU per request (from the kernel's accounting), the
share of the attendant in it, and requests per second.

    python benchmarks/worker.py [--batch 32] [--requests 100000] [--headers 1] [--threads 1]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "python")]

from hornbeam_erlang import codec  # noqa: E402
from hornbeam_erlang._wire import RESPONSE  # noqa: E402
from unit.worker.harness import Node  # noqa: E402

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "20")])
    return [b"Hello from Hornbeam!"]
"""
HEADERS = {
    "host": "127.0.0.1:8000",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    "cookie": "session=4f3c2b1a; theme=dark",
    "cache-control": "no-cache",
    "x-request-id": "d2c1f7de-93b2-4fb6-8a1c-0a4b5d9e3c21",
}


def cpu_seconds(pid: int) -> dict[str, float]:
    """CPU time of each thread of `pid` since its start, by the thread's number."""
    return {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def run_batch(node: Node, batch: int, fields: dict[str, Any]) -> None:
    node.send(*[node.open_message("/", **fields) for _ in range(batch)])
    for _ in range(batch):
        node.expect(RESPONSE)


def measure(args: argparse.Namespace) -> None:
    fields = {"headers": dict(list(HEADERS.items())[: args.headers])}
    with Node("bench_app:application", {b"threads": args.threads}, handshake=False) as node:
        (node.root / "bench_app.py").write_text(APP)
        config = {b"threads": args.threads, b"pythonpath": [str(node.root).encode()]}
        node.boot("bench_app:application", config)
        run_batch(node, args.batch, fields)
        batches = max(1, args.requests // args.batch)
        before, start = cpu_seconds(node.pid), perf_counter()
        for _ in range(batches):
            run_batch(node, args.batch, fields)
        after, wall = cpu_seconds(node.pid), perf_counter() - start
    requests = batches * args.batch
    used = [after[task] - before[task] for task in sorted(after, key=int)]
    cpu = sum(used)
    attendant = used[1]  # started right after the main thread
    print(
        f"{codec.NAME} codec, batches of {args.batch}, {args.headers} headers, "
        f"{args.threads} threads: {cpu / requests * 1e6:.2f} us CPU per request "
        f"(the attendant {attendant / cpu:.2%}), {requests / wall:.0f} requests/s with this driver"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("batch", 32), ("requests", 100000), ("headers", 1), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
