# SPDX-License-Identifier: Apache-2.0
"""One request and its answer, from one thread: to Erlang, to the own worker, to another worker; and
what is done with Redis instead, INCR and a request on one list that is answered on another.

`/operations?count&pid,pid` measures each in turns; the ids are those of both workers.
"""

import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from bench_state import node, timed

import hornbeam_erlang as hornbeam

VALUE = "0123456789" * 5


class Echo:
    def echo(self, value: str) -> str:
        return value


hornbeam.hook(f"echo-{os.getpid()}", Echo)


def executed(pid: int) -> Callable[[], object]:
    return lambda: hornbeam.execute(f"echo-{pid}", "echo", VALUE)


@cache
def redis_operations() -> dict[str, Callable[[], object]]:
    import redis

    client = redis.Redis(decode_responses=True, unix_socket_path=os.environ["BENCH_REDIS_SOCKET"])

    def request() -> object:
        client.rpush("requests", VALUE)
        return client.blpop(["answers"], timeout=10)

    return {"redis INCR": lambda: client.incr("counter"), "redis lists": request}


def operations(count: int, pids: list[int]) -> dict[str, dict[str, dict[str, float]]]:
    other = next(pid for pid in pids if pid != os.getpid())
    ours = {
        "call": lambda: hornbeam.call("echo", VALUE),
        "execute, own worker": executed(os.getpid()),
        "execute, other worker": executed(other),
    }
    redis = int(os.environ["BENCH_REDIS_PID"])
    responder = int(os.environ["BENCH_RESPONDER_PID"])
    found = {}
    for name, operation in ours.items():
        found[name] = {"hornbeam": timed(operation, count, node(), other)}
        for store, asked in redis_operations().items():
            found[name][store] = timed(asked, count, redis, responder)
    return found


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer: object = "ready"
    if environ["PATH_INFO"] == "/operations":
        count, pids = environ["QUERY_STRING"].split("&")
        answer = operations(int(count), [int(pid) for pid in pids.split(",")])
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
