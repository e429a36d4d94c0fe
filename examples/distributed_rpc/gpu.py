# SPDX-License-Identifier: Apache-2.0
"""What runs on a GPU node: workers that have the model, behind two Erlang functions (erlang/)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import model

from hornbeam_erlang import node, register_hook


class Model:
    """The handler; a real one would load its weights here, once for each worker."""

    def encode(self, texts: list[str]) -> list[list[float]]:
        return model.encode(texts)

    def predict(self, text: str) -> dict[str, object]:
        return {**model.predict(text), "node": node()}


register_hook("model", Model)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Says that it is there, to whoever looks after the machine."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{node()}\n".encode()]
