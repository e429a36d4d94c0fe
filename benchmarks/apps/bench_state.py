# SPDX-License-Identifier: Apache-2.0
"""Operations on shared state, in one thread of one worker: hornbeam's, and Redis' by redis-py.

`/operations?count` runs every operation once by every store, in turns, and answers what each took;
`/fill?prefix&count` adds keys, `/keys?count` says what ten matches among them take, in processor
time. Times are microseconds of one operation.
"""

import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import hornbeam_erlang as hornbeam

Operation = Callable[[], object]

KEYS = [f"bench:{number}" for number in range(100)]
VALUE = "0123456789" * 5
CHUNK = 1000  # keys that are set in one round trip


def processor(pids: Iterable[int]) -> float:
    """Seconds of processor time of these processes, of all their threads (Linux)."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def switches(pids: Iterable[int]) -> int:
    """How often the threads of these processes have left the processor (Linux)."""
    states = [state for pid in pids for state in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = [line for state in states for line in state.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def timed(operation: Operation, count: int, *servers: int) -> dict[str, float]:
    """Microseconds of one of `count` operations, by the clock and of the processors (of this
    process and `servers`), and how often these left the processor, after some not measured."""
    for _ in range(max(1, count // 20)):
        operation()
    pids = (os.getpid(), *servers)
    slept, used, begin = switches(pids), processor(pids), perf_counter()
    for _ in range(count):
        operation()
    took, used, slept = perf_counter() - begin, processor(pids) - used, switches(pids) - slept
    clock, processors = took / count * 1e6, used / count * 1e6
    return {"clock": clock, "processors": processors, "switches": slept / count}


def hornbeam_pipeline() -> object:
    with hornbeam.pipeline() as pipeline:
        for key in COUNTERS:
            pipeline.incr(key)
    return pipeline.results


COUNTERS = [f"counter:{number}" for number in range(100)]


def hornbeam_operations() -> dict[str, Operation]:
    hornbeam.state_set_multi(dict.fromkeys(KEYS, VALUE))
    return {
        "incr": lambda: hornbeam.state_incr("counter"),
        "get": lambda: hornbeam.state_get("bench:7"),
        "set": lambda: hornbeam.state_set("bench:7", VALUE),
        "get of 100 keys": lambda: hornbeam.state_get_multi(KEYS),
        "pipeline of 100 incr": hornbeam_pipeline,
    }


def redis_operations(**where: Any) -> dict[str, Operation]:
    import redis

    client = redis.Redis(decode_responses=True, **where)
    client.mset(dict.fromkeys(KEYS, VALUE))

    def pipelined() -> object:
        pipeline = client.pipeline(transaction=False)
        for key in COUNTERS:
            pipeline.incr(key)
        return pipeline.execute()

    return {
        "incr": lambda: client.incr("counter"),
        "get": lambda: client.get("bench:7"),
        "set": lambda: client.set("bench:7", VALUE),
        "get of 100 keys": lambda: client.mget(KEYS),
        "pipeline of 100 incr": pipelined,
    }


def node() -> int:
    """The node's process: that of which ours was started by a child."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@cache
def stores() -> dict[str, tuple[dict[str, Operation], int]]:
    """Operations by name, and the process that serves them, by store."""
    redis = int(os.environ["BENCH_REDIS_PID"])
    tcp = redis_operations(port=int(os.environ["BENCH_REDIS_PORT"]))
    unix = redis_operations(unix_socket_path=os.environ["BENCH_REDIS_SOCKET"])
    return {
        "hornbeam": (hornbeam_operations(), node()),
        "redis, TCP": (tcp, redis),
        "redis, Unix": (unix, redis),
    }


def operations(count: int) -> dict[str, dict[str, dict[str, float]]]:
    """What each operation takes in each store; one that does a hundred things runs less often."""
    counts = {name: count // 20 if "100" in name else count for name in stores()["hornbeam"][0]}
    return {
        name: {
            store: timed(each[name], counts[name], server)
            for store, (each, server) in stores().items()
        }
        for name in counts
    }


def fill(prefix: str, count: int) -> int:
    for start in range(0, count, CHUNK):
        hornbeam.state_set_multi({f"{prefix}{start + n}": n for n in range(min(CHUNK, count))})
    return hornbeam.state_info()["entries"] or 0


def keys(count: int) -> float:
    hornbeam.state_set_multi({f"match:{number}": number for number in range(10)})
    assert len(hornbeam.state_keys("match:")) == 10
    return timed(lambda: hornbeam.state_keys("match:"), count, node())["processors"]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    arguments = environ["QUERY_STRING"].split("&")
    answers: dict[str, Callable[[], object]] = {
        "/": lambda: "ready",
        "/operations": lambda: operations(int(arguments[0])),
        "/fill": lambda: fill(arguments[0], int(arguments[1])),
        "/keys": lambda: keys(int(arguments[0])),
    }
    body = json.dumps(answers[environ["PATH_INFO"]]()).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
