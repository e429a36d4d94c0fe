# SPDX-License-Identifier: Apache-2.0
"""The children of the `hornbeam-worker` command: started, replaced when they end, drained.

Runs in the command's main thread, which sleeps until a signal comes, a worker is to be started
again, or the time for draining is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from time import monotonic
from types import FrameType
from typing import Any

from ._attached_worker import DRAIN_LINE, EXIT_UNREACHABLE, READY

FIRST_DELAY = 0.2  # seconds until a worker that has failed is started again, doubled each time
MAX_DELAY = 5.0
TICK = 0.5  # at most so long is the news of a worker not looked at


class Worker:
    """One child process and its successors.

    Attributes:
        process: the one of now; None while there is none.
        due: when the next is started, monotonic.
        has_served: whether any has been ready.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._control: socket.socket | None = None
        self._failures = 0
        self._is_ready = False
        self._began = monotonic()
        self.process: subprocess.Popen[bytes] | None = None
        self.due = self._began
        self.has_served = False

    def start(self) -> None:
        """Starts the next process."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "hornbeam_erlang.worker", "--attached"]
            command.append(str(theirs.fileno()))
            # Ctrl-C at a terminal goes to the command, which drains.
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], process_group=0, env=_environment()
            )
        self._control = ours
        self._is_ready = False
        ours.sendall(json.dumps(self._job).encode() + b"\n")
        ours.setblocking(False)

    def look(self) -> int | None:
        """Notices whether it serves, and its end: then its status."""
        if self.process is None or self._control is None:
            return None
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if self._control.recv(len(READY)):
                self._is_ready = self.has_served = True
                self._failures = 0
        status = self.process.poll()
        if status is not None:
            self._control.close()
            self.process = None
        return status

    def is_hopeless(self, status: int) -> bool:
        """Whether a process that ended so need not be tried again: none has served yet, and it was
        not for want of a node that may be about to come."""
        if self.has_served or status == 0:
            return False
        late = monotonic() - self._began > float(self._job["seconds"])
        return status != EXIT_UNREACHABLE or late

    def plan(self, status: int) -> float:
        """Sees to the next process after one that ended with `status`; seconds until then."""
        delay = 0.0
        if not (self._is_ready and status == 0):
            # Not all at once when a node comes back that had many.
            spread = 0.5 + random.random() / 2
            delay = min(MAX_DELAY, FIRST_DELAY * 2 ** min(self._failures, 10)) * spread
            self._failures += 1
        self.due = monotonic() + delay
        return delay

    def drain(self) -> None:
        """Asks it to finish what it holds."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.sendall(DRAIN_LINE)


def _environment() -> dict[str, str]:
    # The cookie goes to the library, not to whatever the application starts.
    return {name: value for name, value in os.environ.items() if name != "HORNBEAM_COOKIE"}


class Workers:
    """All of them.

    Args:
        job: what each is told; see `_worker_command.job`.
        name: of them in the cluster; each adds its number.
        count: how many. graceful: seconds that they get to finish when the command ends.
    """

    def __init__(self, job: dict[str, Any], name: str, count: int, graceful: float) -> None:
        self._workers = [Worker({**job, "name": f"{name}-{n}"}) for n in range(1, count + 1)]
        self._graceful = graceful
        self._node = job["node"]
        self._deadline: float | None = None
        self._status = 0
        self._bell, self._rope = socket.socketpair()

    def run(self) -> int:
        """Until it is told to end, or a worker cannot be attached at all: the exit status."""
        self._rope.setblocking(False)
        signal.set_wakeup_fd(self._rope.fileno())
        signal.signal(signal.SIGCHLD, _take_note)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._turn():
            select.select([self._bell], (), (), self._pause())
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(4096, socket.MSG_DONTWAIT)
        return self._status

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._deadline is None:
            self._deadline = monotonic() + self._graceful
            for worker in self._workers:
                worker.drain()
        else:
            self._deadline = monotonic()

    def _turn(self) -> bool:
        """Does what is due. True when nothing is left to do."""
        for worker in self._workers:
            status = worker.look()
            if status is not None:
                self._ended(worker, status)
            if worker.process is None and self._deadline is None and worker.due <= monotonic():
                worker.start()
        running = [worker for worker in self._workers if worker.process is not None]
        if self._deadline is not None and self._deadline <= monotonic():
            for worker in running:
                if worker.process is not None:
                    worker.process.kill()
        return self._deadline is not None and not running

    def _ended(self, worker: Worker, status: int) -> None:
        if self._deadline is not None:
            return
        if worker.is_hopeless(status):
            self._status = 1
            self._stop(0, None)
            return
        delay = worker.plan(status)
        if worker.has_served:
            what = "is over" if status == 0 else f"was lost (status {status})"
            text = f"the session with {self._node} {what}; attaching again in {delay:.1f} s"
            print(f"hornbeam-worker: {text}", file=sys.stderr, flush=True)

    def _pause(self) -> float:
        now = monotonic()
        if self._deadline is not None:
            return max(0.0, min(TICK, self._deadline - now))
        dues = [worker.due - now for worker in self._workers if worker.process is None]
        return max(0.0, min([TICK, *dues]))


def _take_note(_number: int, _frame: FrameType | None) -> None:
    """For a signal that only has to wake the command."""
