# SPDX-License-Identifier: Apache-2.0
"""The example of hooks does what it shows, in two workers."""

from __future__ import annotations

import json
from typing import Any

from live.serving import EXAMPLES, serving


def test_example() -> None:
    """A handler is executed, one is streamed, and a task's result is fetched more than once."""
    with serving("app:application", EXAMPLES / "hooks", "--workers", "2") as served:

        def ask(target: str) -> Any:
            status, body = served.get(target)
            assert status == 200, served.errors()
            return json.loads(body)

        assert ask("/similarity?one=listen&other=silent") == {"similarity": 1.0}
        assert ask("/similarity?one=aa&other=bb") == {"similarity": 0.0}
        assert served.get("/generate?prompt=abc+def") == (200, b"cba fed ")
        task = ask("/train?numbers=1,2,3")["task"]
        results = [ask(f"/result?task={task}") for _ in range(3)]
        assert results == [{"result": {"mean": 2.0}}] * 3
