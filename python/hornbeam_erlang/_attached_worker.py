# SPDX-License-Identifier: Apache-2.0
"""A worker process that attaches itself to a node on another machine; a child of the
`hornbeam-worker` command, which tells it what to do over a socket, and is told that it serves.

The main thread attaches and then runs what every worker runs (`_worker`). One thread waits for what
the command says: to drain, or, by its end, that it is gone; then this process does not stay.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

from . import _worker
from ._attach import AttachRefused, Wish, attach
from ._distribution_errors import DistributionError
from ._hub import Hub
from ._session_transport import SessionTransport
from ._states import DRAINING, SERVING
from ._transport import end_process
from ._wire import DRAIN
from .errors import NodeDown

EXIT_REFUSED = 3
EXIT_UNREACHABLE = 4
READY = b"ready\n"
DRAIN_LINE = b"drain\n"


def main() -> int:
    """Attaches, serves until it is drained. Returns: the exit status, 0 when it was drained."""
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
    lines = control.makefile("rb")
    job: dict[str, Any] = json.loads(lines.readline())
    sys.path[:0] = job.pop("path")
    try:
        transport: SessionTransport = attach(Wish(**job))
    except AttachRefused as exc:
        return _give_up(EXIT_REFUSED, f"{job['node']} refuses: {exc.text}")
    except DistributionError as exc:
        return _give_up(EXIT_REFUSED, f"{job['node']}: {exc}")
    except NodeDown as exc:
        return _give_up(EXIT_UNREACHABLE, str(exc))
    return _serve(transport, control, lines)


def _give_up(status: int, text: str) -> int:
    print(f"hornbeam-worker: {text}", file=sys.stderr, flush=True)
    return status


def _serve(transport: SessionTransport, control: socket.socket, lines: Any) -> int:
    def started(hub: Hub) -> None:
        hub.on_ready = lambda: control.sendall(READY)
        name = "hornbeam-control"
        threading.Thread(target=_follow, args=(hub, lines), name=name, daemon=True).start()

    status = _worker.run(transport, started)
    transport.leave(status)
    return status


def _follow(hub: Hub, lines: Any) -> None:
    """Drains the worker when the command says so, or has ended."""
    lines.readline()
    phase = hub.session.phase
    if phase == SERVING:
        hub.send((DRAIN,))
        hub.flush()
    elif phase != DRAINING:
        # Nothing was served yet.
        end_process(0)
