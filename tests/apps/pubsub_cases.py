# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscribers as WSGI requests: `/case?topic`, answered in JSON."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Any

from hornbeam_erlang import (
    aio,
    lost_messages,
    publish,
    receive_pubsub,
    subscribe,
    subscription,
    unsubscribe,
)

CASES: dict[str, Callable[[str], Any]] = {}
VALUES = ["x", b"x", 1, True, None, 1e-20, 2**80, [], "", [65, 66], (1, "a"), {"k": [b"\xff"]}]

SECONDS = 25.0  # more than anything takes, less than a request may


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + SECONDS
    while not condition():
        assert monotonic() < deadline, f"not within {SECONDS} s"
        sleep(0.01)


def case(function: Callable[[str], Any]) -> Callable[[str], Any]:
    CASES[function.__name__] = function
    return function


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    result = CASES[environ["PATH_INFO"][1:]](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(result).encode()]


@case
def count(topic: str) -> int:
    return publish(topic, "counted")


@case
def end(topic: str) -> int:
    return publish(topic, "end")


@case
def wait_for_end(topic: str) -> Any:
    subscribe(topic)
    while (message := receive_pubsub(SECONDS)) == "counted":
        pass
    return message


@case
def wait(topic: str) -> Any:
    subscribe(topic)
    return receive_pubsub(SECONDS)


@case
def wait_awaited(topic: str) -> Any:
    async def work() -> Any:
        await aio.subscribe(topic)
        return await aio.receive_pubsub(SECONDS)

    return asyncio.run(work())


@case
def values(topic: str) -> list[bool]:
    subscribe(topic)
    for value in VALUES:
        publish(topic, value)
    found = [receive_pubsub(SECONDS) for _ in VALUES]
    return [repr(one) == repr(other) for one, other in zip(VALUES, found, strict=True)]


@case
def prefixes(topic: str) -> list[Any]:
    with subscription(topic, prefix=True) as messages:
        counts = [publish(topic + name, name) for name in ("", ":a", ":b")]
        counts.append(publish("other" + topic, "not for us"))
        found = [messages.receive(SECONDS) for _ in range(3)]
        last = messages.receive(timeout=0)
    return [counts, found, last]


@case
def slow_reader(topic: str) -> list[Any]:
    with subscription(topic, limit=10) as messages:
        for number in range(50):
            publish(topic, number)
        until(lambda: messages.lost == 40)
        messages.close()
        return [list(messages), messages.lost]


@case
def flood(topic: str) -> list[int]:
    """More than the credit of the subscription and the limit of the mailbox."""
    subscribe(topic)
    for number in range(3000):
        publish(topic, number)
    received = 0
    while received + lost_messages() < 3000 and receive_pubsub(SECONDS) is not None:
        received += 1
    received += receive_pubsub(timeout=0) is not None
    return [received, lost_messages()]


@case
def twice(topic: str) -> list[int]:
    subscribe(topic)
    subscribe(topic)
    counts = [publish(topic, 1)]
    unsubscribe(topic)
    unsubscribe(topic)
    unsubscribe(topic)
    return counts


@case
def thread(topic: str) -> Any:
    """A thread of the application subscribes and ends."""
    found = []

    def work() -> None:
        subscribe(topic)
        found.append(publish(topic, "from the thread"))
        found.append(receive_pubsub(SECONDS))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(SECONDS)
    return found


@case
def iterate_awaited(topic: str) -> list[Any]:
    async def work() -> list[Any]:
        found = []
        async with await aio.subscription(topic) as messages:
            for number in range(3):
                await aio.publish(topic, number)
            async for message in messages:
                found.append(message)
                if len(found) == 3:
                    messages.close()
        return found

    return asyncio.run(work())


@case
def closed_by_another(topic: str) -> str:
    """A reader that waits without a deadline ends when another thread closes."""
    with subscription(topic) as messages:
        threading.Timer(0.2, messages.close).start()
        return "".join(messages)


@case
def nothing_subscribed(topic: str) -> str:
    try:
        receive_pubsub(timeout=0)
    except RuntimeError as exc:
        return str(exc)
    return "no error"


@case
def bad_topics(topic: str) -> list[str]:
    found = []
    bad: list[Any] = ["x" * 1025, b"bytes", None]
    for each in bad:
        try:
            publish(each, 1)
        except (TypeError, ValueError) as exc:
            found.append(type(exc).__name__)
    return found
