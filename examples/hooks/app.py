# SPDX-License-Identifier: Apache-2.0
"""Handlers that workers share: a service that is executed, one that streams, one that takes its
time in the background.

`make run APP_DIR=examples/hooks APP=app:application`
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from hornbeam_erlang import await_result, execute, execute_async, register_hook, stream


class EmbeddingService:
    """A class handler: one instance, with its model, in each worker."""

    def __init__(self) -> None:
        self.model = "abcdefghijklmnopqrstuvwxyz"

    def encode(self, text: str) -> list[float]:
        """How often each letter is there, as a vector of length 1."""
        counts = [float(text.lower().count(letter)) for letter in self.model]
        length = math.hypot(*counts) or 1.0
        return [count / length for count in counts]

    def similarity(self, one: str, other: str) -> float:
        """Of two texts; the vectors are made by whichever worker has least to do."""
        first = execute("embeddings", "encode", one)
        second = execute("embeddings", "encode", other)
        return round(sum(a * b for a, b in zip(first, second, strict=True)), 3)


def llm(action: str, *args: Any, **kwargs: Any) -> Iterator[str]:
    """A function handler, whose generator is streamed."""
    if action != "generate":
        raise ValueError(f"no action {action}")
    for word in args[0].split():
        yield f"{word[::-1]} "


class Training:
    """Takes its time: for `execute_async`."""

    def train(self, numbers: list[int]) -> dict[str, float]:
        """The mean, after a while."""
        time.sleep(0.1)
        return {"mean": sum(numbers) / len(numbers)}


register_hook("embeddings", EmbeddingService)
register_hook("llm", llm)
register_hook("ml", Training())


def similarity(one: str, other: str) -> dict[str, Any]:
    """Executes an action and waits for it."""
    return {"similarity": execute("embeddings", "similarity", one, other)}


def train(numbers: str) -> dict[str, Any]:
    """Starts a task; the request is over long before it."""
    return {"task": execute_async("ml", "train", [int(n) for n in numbers.split(",")])}


def result(task: str) -> dict[str, Any]:
    """Fetches the result of a task, in whichever worker this is."""
    return {"result": await_result(task, timeout_ms=60000)}


ROUTES: dict[str, Callable[..., dict[str, Any]]] = {
    "/similarity": similarity,
    "/train": train,
    "/result": result,
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/similarity?one=…&other=…, /generate?prompt=…, /train?numbers=1,2, /result?task=…"""
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    path = environ["PATH_INFO"]
    if path == "/generate":
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        # Closed with the response: when the client leaves, the generator ends.
        return (chunk.encode() for chunk in stream("llm", "generate", query["prompt"]))
    body = json.dumps(ROUTES[path](**query)).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
