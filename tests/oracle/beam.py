# SPDX-License-Identifier: Apache-2.0
"""A live Erlang node that is asked about external terms; `term_oracle.erl` answers.

Runs in the test process; one node serves a whole session. Without `erl` it fails, on purpose.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
from pathlib import Path
from typing import IO, Any, Final

SOURCE: Final = Path(__file__).with_name("term_oracle.erl")
DEADLINE: Final = 20.0  # seconds for an answer
START: Final = (
    '{{ok, M, B}} = compile:file("{}", [binary, report, warnings_as_errors]),'
    '{{module, M}} = code:load_binary(M, "", B), M:main(), halt().'
)


class Beam:
    """The node, from `start` to `stop`."""

    def __init__(self) -> None:
        code = START.format(SOURCE.with_suffix(""))
        command = ["erl", "-noinput", "-boot", "start_clean", "-eval", code]
        env = {**os.environ, "ERL_CRASH_DUMP_BYTES": "0"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, question: bytes) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(struct.pack(">I", len(question)) + question)
        self.process.stdin.flush()
        (size,) = struct.unpack(">I", self._read(4))
        return self._read(size)

    def _read(self, size: int) -> bytes:
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([output], [], [], DEADLINE)
            assert ready, "the node does not answer"
            piece = output.read1(size - len(data))  # type: ignore[attr-defined]
            assert piece, f"the node ended with status {self.process.wait(DEADLINE)}"
            data += piece
        return data

    def describe(self, data: bytes) -> Any:
        """The notation of the term that the node makes of these bytes; None if it refuses them."""
        answer = self.ask(b"D" + data)
        return None if answer == b"refused" else json.loads(answer)

    def generate(self, kind: bytes, seed: int, count: int) -> list[bytes]:
        """Random terms, encoded by the node in the ways it knows."""
        answer = self.ask(b"G" + kind + struct.pack(">IH", seed, count))
        terms = []
        while answer:
            (size,) = struct.unpack_from(">I", answer)
            terms.append(answer[4 : 4 + size])
            answer = answer[4 + size :]
        return terms

    def compare(self, left: bytes, right: bytes) -> str:
        """`equal`, or both terms as text."""
        return self.ask(b"E" + struct.pack(">I", len(left)) + left + right).decode()
