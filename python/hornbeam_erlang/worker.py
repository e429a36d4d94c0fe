# SPDX-License-Identifier: Apache-2.0
"""The worker process, as a node starts it: `python -m hornbeam_erlang.worker`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from hornbeam_erlang._worker import main

    sys.exit(main())
