# SPDX-License-Identifier: Apache-2.0
"""What one request costs a worker: CPU time of a real worker process per request, without a node.

Plays the node over pipes: batches of OPEN for an application, each answered by RESPONSE; or of
messages to as many WebSockets, each of which comes back. Prints microseconds of Python CPU per
request or message (from the kernel's accounting), the share of the attendant in it, and how many
there were per second. Loads: `wsgi` and `asgi`, hello world; `json`, 1 KiB posted, parsed and
written again; `echo`, WebSockets.

    python benchmarks/worker.py [--load wsgi] [--batch 32] [--requests 100000] [--headers 1]
        [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "python")]

from hornbeam_erlang import codec  # noqa: E402
from hornbeam_erlang._wire import ACCEPT, BODY_CREDIT, CREDIT, RESPONSE, TEXT, Message  # noqa: E402
from unit.worker.harness import Node  # noqa: E402

APPS = ROOT / "benchmarks" / "apps"
LOADS = ("wsgi", "asgi", "json", "echo")
JSON = json.dumps([{"id": number, "name": f"item {number}"} for number in range(31)]).encode()
ECHOED = b"x" * 64
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


class Load:
    """One load on one worker."""

    def __init__(self, node: Node, args: argparse.Namespace) -> None:
        self.node, self.batch = node, args.batch
        self.fields: dict[str, Any] = {"headers": dict(list(HEADERS.items())[: args.headers])}
        self.path, self.answer = "/", RESPONSE
        if args.load == "json":
            self.path = "/json"
            self.fields.update(method="POST", body=JSON)
        self.sockets: list[int] = []
        if args.load == "echo":
            self.answer = TEXT
            self.sockets = [node.websocket() for _ in range(args.batch)]
            for _ in self.sockets:
                node.expect(ACCEPT)

    def run_batch(self) -> None:
        """Sends as many requests or messages as a batch has, and takes their answers."""
        open_message = self.node.open_message
        if self.sockets:
            self.node.send(*((TEXT, ident, ECHOED) for ident in self.sockets))
        else:
            self.node.send(*(open_message(self.path, **self.fields) for _ in range(self.batch)))
        for _ in range(self.batch):
            self.take()

    def take(self) -> None:
        """Takes one answer; the credit of an echo is granted again as a node does."""
        message: Message = self.node.receive()
        while message[0] == BODY_CREDIT:
            self.node.send((CREDIT, message[1], message[2]))
            message = self.node.receive()
        assert message[0] == self.answer, message


def measure(args: argparse.Namespace) -> None:
    interface = "wsgi" if args.load == "wsgi" else "asgi"
    config = {
        b"threads": args.threads,
        b"interface": interface.encode(),
        b"pythonpath": [str(APPS).encode()],
    }
    with Node(f"bench_{interface}:application", config) as node:
        load = Load(node, args)
        load.run_batch()
        batches = max(1, args.requests // args.batch)
        before, start = cpu_seconds(node.pid), perf_counter()
        for _ in range(batches):
            load.run_batch()
        after, wall = cpu_seconds(node.pid), perf_counter() - start
    count = batches * args.batch
    used = [after[task] - before[task] for task in sorted(after, key=int)]
    cpu = sum(used)
    attendant = used[1]  # started right after the main thread
    print(
        f"{args.load}, {codec.NAME} codec, batches of {args.batch}, {args.headers} headers, "
        f"{args.threads} threads: {cpu / count * 1e6:.2f} us CPU each "
        f"(the attendant {attendant / cpu:.2%}), {count / wall:.0f} per second with this driver"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("batch", 32), ("requests", 100000), ("headers", 1), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--load", choices=LOADS, default="wsgi")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
