# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark of this folder, one after the other: `python benchmarks/run_benchmark.py`.

Runs in: one process that starts the others. Arguments go to the comparison with other servers;
state.py, hooks.py, publish.py, embedded.py, rpc.py, remote.py and node_messages.py get `--quick`.
The status is 1 when one of them failed. Nothing runs when the comparison does not understand its
arguments, or is asked for its help.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import compare_servers

HERE = Path(__file__).resolve().parent
OTHERS = ("codec.py", "worker.py")


def run(script: str, *argv: str) -> bool:
    print(f"--- {script} {' '.join(argv)}".rstrip(), flush=True)
    # No deadline: each has its own, and a person watches.
    return subprocess.run([sys.executable, str(HERE / script), *argv], check=False).returncode == 0


def main(argv: Sequence[str]) -> int:
    compare_servers.settings(argv)  # ends the process when they are wrong
    quick = [word for word in argv if word == "--quick"]
    results = [
        run("compare_servers.py", *argv),
        run("state.py", *quick),
        run("hooks.py", *quick),
        run("publish.py", *quick),
        run("embedded.py", *quick),
        run("rpc.py", *quick),
        run("remote.py", *quick),
        run("node_messages.py", *quick),
        *map(run, OTHERS),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
