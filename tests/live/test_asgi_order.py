# SPDX-License-Identifier: Apache-2.0
"""Out-of-order messages raise with the message quoted."""

from __future__ import annotations

import pytest

from apps.asgi_orders import WRONG
from apps.gate import Gate
from live.raw import Raw, request
from live.serving import Served

# What the exception's text must have of the message at fault.
QUOTED = {
    "body-first": "http.response.body",
    "start-twice": "http.response.start",
    "start-in-body": "http.response.start",
    "unknown-type": "http.response.nonsense",
    "unknown-type-later": "http.response.nonsense",
    "websocket-type": "websocket.accept",
    "no-type": "200",
    "no-mapping": "http.response.start",
    "no-status": "status",
    "status-text": "200 OK",
    "status-range": "99",
    "text-header": "x-text",
    "text-body": "text",
    "trailers-unannounced": "http.response.trailers",
}


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("case", WRONG)
def test_forbidden_message_raises(asgi: Served, gate: Gate, case: str) -> None:
    """The message is quoted, and the application can still end its response."""
    with Raw(asgi) as raw:
        raw.send(request("GET", f"/wrong/{case}", f"X-Gate: {gate.headers['X-Gate']}"))
        said = gate.hear()
        assert said != "nothing raised"
        assert QUOTED[case] in said
        reply = raw.reply()
        assert reply.status == 200
        assert reply.body.endswith(b"end")


@pytest.mark.parametrize(
    "case", ["body-first", "start-twice", "unknown-type", "unknown-type-later", "websocket-type"]
)
def test_order_raises(asgi: Served, gate: Gate, case: str) -> None:
    """A message that may not come now, or that nobody knows: RuntimeError with its type."""
    with Raw(asgi) as raw:
        raw.send(request("GET", f"/wrong/{case}", f"X-Gate: {gate.headers['X-Gate']}"))
        said = gate.hear()
    assert said.startswith("RuntimeError: ")
    assert QUOTED[case] in said
