# SPDX-License-Identifier: Apache-2.0
"""The example of shared state does what it shows, in two workers."""

from __future__ import annotations

import json
from typing import Any

from live.serving import EXAMPLES, serving


def test_example() -> None:
    """Counters, cache, sessions, limits, stock, users, tags and figures, whichever worker is
    asked."""
    with serving("app:application", EXAMPLES / "shared_state", "--workers", "2") as served:

        def ask(target: str) -> Any:
            status, body = served.get(target)
            assert status == 200, served.errors()
            return json.loads(body)

        assert [ask("/home")["views"] for _ in range(3)] == [1, 2, 3]
        assert ask("/other") == {"views": 1, "data": {"computed": True}}
        assert [ask("/product?id=7")["cached"] for _ in range(2)] == [False, True]
        assert ask("/whoami?s=1") == {"name": None}
        assert [ask(f"/login?s={n}&name=Alice") for n in (1, 2)][-1] == {"sessions": 2}
        assert ask("/whoami?s=1") == {"name": "Alice"}
        assert ask("/logout?s=1") == {"sessions": 1}
        assert ask("/whoami?s=1") == {"name": None}
        allowed = [ask("/limited?user=a")["allowed"] for _ in range(4)]
        assert allowed == [True, True, True, False]
        sold = [ask("/buy?article=book&stock=2") for _ in range(3)]
        assert sold == [{"sold": True, "left": 1}, {"sold": True, "left": 0}, {"sold": False}]
        assert ask("/register?user=1&name=Bob") == {"users": ["user:1"]}
        assert ask("/users?a=1&b=2") == {"user:1": {"name": "Bob"}, "user:2": None}
        assert [ask(f"/tag?user=1&word={word}") for word in "ba"][-1] == {"tags": ["a", "b"]}
        figures = ask("/metrics")
        assert figures["metrics:requests:/home"] == 3
        assert figures["metrics:status:200"] == 23
