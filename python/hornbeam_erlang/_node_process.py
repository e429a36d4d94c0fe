# SPDX-License-Identifier: Apache-2.0
"""The emulator as a child process: started with two pipes for the protocol, its output logged,
ended with certainty.

Runs in the process that starts a node, in the thread that asks; what the emulator prints is read by
a daemon thread, and goes to the logger `hornbeam.node`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from . import codec
from ._emulator import code_folders, erl
from ._spin import processors

VARIABLE = "HORNBEAM_EMBEDDED"
TAIL_LINES = 20  # of its output, for the error when it does not start
REAP_SECONDS = 1.0
MOST_SCHEDULERS = 4  # each costs memory and time at the start, and one program keeps few busy

# Nobody at a terminal, no start of SASL; schedulers sleep when idle.
FLAGS = (
    *("-noinput", "-boot", "start_clean", "+B", "i"),
    *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "-kernel", "logger"),
)
HANDLER = "[{{handler,default,logger_std_h,#{{config=>#{{type=>standard_error}}{}}}}}]"
LINES = r',formatter=>{logger_formatter,#{single_line=>true,template=>[level," ",msg,"\n"]}}'

LEVELS = {
    **dict.fromkeys(("emergency", "alert", "critical"), logging.CRITICAL),
    "error": logging.ERROR,
    "warning": logging.WARNING,
    **dict.fromkeys(("notice", "info"), logging.INFO),
    "debug": logging.DEBUG,
}
log = logging.getLogger("hornbeam.node")


class NodeProcess:
    """One emulator.

    Args:
        options: of the node, by name.
        flags: further flags of the emulator.
        variables: changes of its environment, None for one to unset.
        output: file that its output is added to; None: it is logged.

    Attributes:
        read_fd, write_fd: the connection to it; whoever takes them closes them.

    Raises: StartFailed: it cannot be started.
    """

    def __init__(
        self,
        options: dict[str, object],
        flags: Sequence[str],
        variables: Mapping[str, str | None],
        output: str | os.PathLike[str] | None,
    ) -> None:
        self._variables = variables
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._output = output
        self._reader: threading.Thread | None = None
        command = command_line(flags, is_logged=output is None)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self.read_fd, node_out = _pipe(ours, theirs)
            node_in, self.write_fd = _pipe(theirs, ours)
            self._process = self._open(command, (node_in, node_out), options)
            self._follow()
            ours.pop_all()

    def _follow(self) -> None:
        if self._process.stdout is not None:
            self._reader = threading.Thread(
                target=self._relay, args=(self._process.stdout,), name="hornbeam-log", daemon=True
            )
            self._reader.start()

    def _open(
        self, command: Sequence[str], fds: tuple[int, int], options: dict[str, object]
    ) -> subprocess.Popen[bytes]:
        # In the environment, which other users cannot read.
        variables = {
            **os.environ,
            "ERL_CRASH_DUMP_SECONDS": "0",
            **self._variables,
            VARIABLE: codec.encode((*fds, options)).hex(),
        }
        with contextlib.ExitStack() as files:
            output: IO[bytes] | int = subprocess.PIPE
            if self._output is not None:
                output = files.enter_context(open(self._output, "ab"))
            # A process group of its own: a Ctrl-C at the terminal is for this program alone.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in variables.items() if value is not None},
                pass_fds=fds,
                process_group=0,
            )

    def _relay(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._tail.append(line)
                level, _, text = line.partition(" ")
                if level in LEVELS:
                    log.log(LEVELS[level], "%s", text)
                elif line:
                    log.info("%s", line)

    @property
    def pid(self) -> int:
        """Of the emulator, as the operating system knows it."""
        return self._process.pid

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def end(self, seconds: float) -> int:
        """Waits for its end, and brings it about after `seconds`. Returns: the exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._finish()

    def kill(self) -> int:
        """Ends it at once. Returns: the exit status."""
        self._process.kill()
        return self._process.wait()

    def _finish(self) -> None:
        if self._reader is not None:
            self._reader.join(REAP_SECONDS)

    def explain(self) -> str:
        """What is known of why it has ended: its status, and what it printed last."""
        self._finish()
        printed = "\n".join(self._tail) or "it printed nothing"
        where = printed if self._output is None else f"see {os.fspath(self._output)}"
        return f"the node has ended with status {self.status()}: {where}"


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe; its descriptors are closed with the stack of the side that they belong to."""
    reader, writer = os.pipe()
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer


def command_line(flags: Sequence[str], *, is_logged: bool) -> list[str]:
    """The program and the arguments that start the node.

    Raises: StartFailed: there is no Erlang, or hornbeam is not built.
    """
    count = str(min(processors(), MOST_SCHEDULERS))
    handler = HANDLER.format(LINES if is_logged else "")
    schedulers = ("+S", f"{count}:{count}")
    code = ("-pa", *code_folders(), "-s", "hornbeam_embedded", "main")
    return [erl(), *FLAGS, handler, *schedulers, *flags, *code]
