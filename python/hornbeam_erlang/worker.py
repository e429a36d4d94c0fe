# SPDX-License-Identifier: Apache-2.0
"""The worker process, as a node starts it: `python -m hornbeam_erlang.worker`; with arguments the
`hornbeam-worker` command, which attaches workers to a node on another machine."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if len(sys.argv) == 1:
        from hornbeam_erlang._worker import main
    elif sys.argv[1] == "--attached":
        from hornbeam_erlang._attached_worker import main
    else:
        from hornbeam_erlang._worker_command import main

    sys.exit(main())
