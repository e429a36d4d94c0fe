# SPDX-License-Identifier: Apache-2.0
"""Asks other nodes, as WSGI requests: /name?[arguments] as JSON; the answer is the result as JSON,
or the error's type and fields."""

import asyncio
import json
import threading
import time
from collections import Counter
from urllib.parse import unquote

import hornbeam_erlang
from hornbeam_erlang import HornbeamError, aio, monitor_nodes

events = None
told = []


def error(exc):
    return {"error": type(exc).__name__, "args": [repr(each) for each in exc.args]}


def value(found):
    return error(found) if isinstance(found, Exception) else found


def application(environ, start_response):
    name, arguments = environ["PATH_INFO"][1:], json.loads(unquote(environ["QUERY_STRING"]))
    operation = OPERATIONS.get(name) or getattr(hornbeam_erlang, name)
    began = time.monotonic()
    try:
        result = {"ok": operation(*arguments)}
    except HornbeamError as exc:
        result = error(exc)
    result["ms"] = int((time.monotonic() - began) * 1000)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(result, default=repr).encode()]


def multicall(*arguments):
    found = hornbeam_erlang.rpc_multicall(*arguments)
    return {node: value(each) for node, each in found.items()}


def connect(node, cookie=None):
    hornbeam_erlang.connect(node, cookie)


def ping(node, timeout_ms):
    return hornbeam_erlang.ping(node, timeout_ms=timeout_ms)


def many(calls):
    """All at once: `[count, node, module, function, args, timeout_ms]` of each kind. How many came
    to which end, and the milliseconds of the one that took longest. `{"x": n}` is a long text."""

    async def one(node, module, function, args, timeout_ms):
        began = time.monotonic()
        try:
            await aio.rpc_call(node, module, function, args, timeout_ms)
            end = "ok"
        except HornbeamError as exc:
            end = type(exc).__name__
        return end, int((time.monotonic() - began) * 1000)

    async def kind(count, node, module, function, args, timeout_ms):
        args = ["x" * each["x"] if isinstance(each, dict) else each for each in args]
        calls = (one(node, module, function, args, timeout_ms) for _ in range(count))
        found = await asyncio.gather(*calls)
        ends = Counter(end for end, _ in found)
        return [dict(ends), max(ms for _, ms in found)]

    async def all_of_them():
        return await asyncio.gather(*(kind(*call) for call in calls))

    return asyncio.run(all_of_them())


def cast_many(count, *call):
    for _ in range(count):
        hornbeam_erlang.rpc_cast(*call)


def own_answers(node, count):
    """Calls of which every second gives up before its answer comes; those that wait get theirs."""

    async def one(number):
        given_up = number % 2
        try:
            sleep, timeout_ms = (60, 30) if given_up else (1, 5000)
            return await aio.rpc_call(node, "rpc_target", "late", [number, sleep], timeout_ms)
        except HornbeamError as exc:
            return type(exc).__name__

    async def all_of_them():
        found = await asyncio.gather(*map(one, range(count)))
        # Answers that were too late are on their way while these are asked for.
        for number in range(count):
            found.append(await one(2 * number))
        return found

    found = asyncio.run(all_of_them())
    wanted = ["CallTimeout" if number % 2 else number for number in range(count)]
    return found == wanted + [2 * number for number in range(count)]


def cancelled(node):
    """A task that waits for another node is cancelled."""

    async def give_up():
        task = asyncio.ensure_future(aio.rpc_call(node, "timer", "sleep", [60000], 60000))
        await asyncio.sleep(0.05)
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    return type(asyncio.run(give_up())).__name__


# Nodes that come and go, in every form at once.


def watch():
    global events
    told.clear()
    events = monitor_nodes()
    callback = monitor_nodes(lambda event: told.append(["callback", *event]))
    threading.Thread(target=listen, args=(callback,), daemon=True).start()
    threading.Thread(target=lambda: asyncio.run(listen_async()), daemon=True).start()


def listen(callback):
    for event in events:
        told.append(["for", *event])
    callback.close()


async def listen_async():
    async with await aio.monitor_nodes() as found:
        told.append(["async"])
        async for event in found:
            told.append(["async for", *event])
            if events._mailbox.closed:
                return


def unwatch():
    events.close()


OPERATIONS = {
    "all_nodes": lambda: hornbeam_erlang.nodes(hidden=True),
    "multicall": multicall,
    "connect": connect,
    "ping": ping,
    "many": many,
    "cast_many": cast_many,
    "own_answers": own_answers,
    "cancelled": cancelled,
    "watch": watch,
    "told": lambda: told,
    "unwatch": unwatch,
}
