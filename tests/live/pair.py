# SPDX-License-Identifier: Apache-2.0
"""A client that asks two servers the same and wants the same answer.

Runs in: the tests. Left out of the comparison are the fields that are each server's own (`OWN`);
values that are random by nature are masked by whoever asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from live.serving import Served

HOST = "site.example"

# Who serves, when, and how the message is framed on this one connection (RFC 9110, 7.6.1).
OWN = frozenset({"server", "date", "connection", "keep-alive", "transfer-encoding"})

# Signed with the time, salted, or with a lifetime counted from now: not the server's doing.
SIGNED = re.compile(
    r"""^(session|sessionid|csrftoken|messages)=[^;"]+|(?<=expires=)[^;]+(?=; .*Max-Age=[1-9])"""
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What both servers answered.

    headers: lower-case name to value, repeated ones joined as RFC 9110, 5.3 allows. set_cookies:
    the values of Set-Cookie, in order.
    """

    status: int
    headers: dict[str, str]
    set_cookies: list[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Pair:
    """Clients with cookies of their own for the two servers; both send the same Host.

    Args: servers: by name. The first one's answers are returned.
    """

    def __init__(self, clients: dict[str, httpx.Client]) -> None:
        self._clients = clients

    def get(self, path: str, **arguments: Any) -> Answer:
        return self.ask("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> Answer:
        return self.ask("POST", path, **arguments)

    def ask(
        self, method: str, path: str, mask: bytes = b"(?!)", plain: bool = False, **arguments: Any
    ) -> Answer:
        """Sends a request to both; fails when the answers differ.

        Args: mask: what to overlook in bodies. plain: without the validator. arguments: of httpx;
            a callable is called with the client for its value.
        """
        if plain:
            arguments["headers"] = {"X-Plain": "1", **arguments.get("headers", {})}
        answers = self.each(method, path, **arguments)
        (first, ours), *others = zip(self._clients, answers, strict=True)
        for name, theirs in others:
            compare(masked(ours, mask), masked(theirs, mask), f"{method} {path}: {first}, {name}")
        return ours

    def each(self, method: str, path: str, **arguments: Any) -> list[Answer]:
        """Sends a request to both. Returns: their answers, which may differ."""
        headers = {"Host": HOST, **arguments.pop("headers", {})}
        answers = []
        for client in self._clients.values():
            own = {key: made(value, client) for key, value in arguments.items()}
            answers.append(answer(client.request(method, path, headers=headers, **own)))
        return answers


def made(value: Any, client: httpx.Client) -> Any:
    return value(client) if callable(value) else value


def answer(response: httpx.Response) -> Answer:
    headers: dict[str, str] = {}
    cookies = []
    for name, value in response.headers.multi_items():
        if name == "set-cookie":
            cookies.append(value)
        elif name not in OWN:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(response.status_code, headers, cookies, response.content)


def masked(whole: Answer, mask: bytes) -> Answer:
    cookies = [SIGNED.sub(r"\1=...", cookie) for cookie in whole.set_cookies]
    return Answer(whole.status, whole.headers, cookies, re.sub(mask, b"...", whole.body))


def compare(ours: Answer, theirs: Answer, what: str) -> None:
    """Field by field, so that a failure does not print megabytes."""
    assert ours.status == theirs.status, what
    assert ours.headers == {**counted(ours, theirs), **theirs.headers}, what
    assert ours.set_cookies == theirs.set_cookies, what
    assert len(ours.body) == len(theirs.body), what
    assert ours.body == theirs.body, what


def counted(ours: Answer, theirs: Answer) -> dict[str, str]:
    """A right difference: where an application does not tell the length of a body that is whole,
    we count it (RFC 9110, 8.6) and gunicorn sends it in chunks.
    """
    if "content-length" in theirs.headers or "content-length" not in ours.headers:
        return {}
    return {"content-length": str(len(ours.body))}


@contextmanager
def pair(servers: Iterable[tuple[str, Served]]) -> Iterator[Pair]:
    """A `Pair` for one test: no cookies yet, no connection shared with other tests."""
    clients = {
        name: httpx.Client(
            base_url=f"http://{served.host}:{served.port}", timeout=30, trust_env=False
        )
        for name, served in servers
    }
    try:
        yield Pair(clients)
    finally:
        for client in clients.values():
            client.close()
