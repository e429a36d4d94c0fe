# SPDX-License-Identifier: Apache-2.0
"""The other end of a connection in memory: speaks the protocol as a node does and serves what
`testing` has in dicts.

Runs in a thread of its own; functions that tests register run in threads of theirs. What it does
not have is refused as a node refuses what it does not know.
"""

from __future__ import annotations

import itertools
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from . import codec
from ._testing_cluster import THREADED, Cluster, Functions
from ._testing_state import Cache, Fault, State
from ._wire import (
    CALL,
    CAST,
    DRAIN,
    EVENT,
    EVENT_CREDIT,
    FAULT,
    FROM_WORKER,
    ITEM,
    ITEM_CREDIT,
    RESULT,
    REVOKE,
    STREAM,
    Message,
    Splitter,
    packets,
    parse,
)

CALL_MS = 3_600_000


class MemoryTransport:
    """Both directions of the connection, as the hub sees them; never ends the process."""

    def __init__(self, to_node: Callable[[bytes], None]) -> None:
        self._to_node = to_node
        self._arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._head = b""
        self._is_there = threading.Event()

    def deliver(self, data: bytes) -> None:
        """Bytes from the node."""
        self._arrived.put(data)
        self._is_there.set()

    def poll(self, timeout: float) -> bool:
        return self._is_there.wait(max(0.0, timeout))

    def read(self) -> bytes:
        self._is_there.wait()  # the end of the stand-in is a message, too
        return self.read_available()

    def read_available(self) -> bytes:
        found = []
        self._is_there.clear()
        while True:
            try:
                found.append(self._arrived.get_nowait())
            except queue.Empty:
                return b"".join(found)

    def write(self, *parts: bytes) -> None:
        self._to_node(b"".join(parts))

    def finish(self) -> None:
        """Nothing is kept."""

    def has_kept(self) -> bool:
        """Nothing is kept."""
        return False

    def write_kept(self) -> bool:
        """Nothing is left."""
        return True


class MemoryNode:
    """See the head of the module.

    Attributes:
        functions: what `call` reaches, by name.
        state, cache: what is stored.
        cluster: the other nodes.
        published: every message that was published: topic and value.
        casts: every `cast`: name and arguments.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self.state = State()
        self.cache = Cache()
        self.cluster = Cluster()
        self.published: list[tuple[str, Any]] = []
        self.casts: list[tuple[str, list[Any]]] = []
        self.transport = MemoryTransport(self._receive)
        self._work: queue.SimpleQueue[bytes | Callable[[], object] | None] = queue.SimpleQueue()
        self._splitter = Splitter()
        self._ids = itertools.count(1)
        self._relayed: dict[int, tuple[int, str]] = {}  # our calls: the worker's, or a task
        self._tasks: dict[str, Message | list[int]] = {}
        self._hooks: set[str] = set()
        self._subscriptions: dict[int, list[Any]] = {}  # id: kind, topic, weight, credit, lost
        self._credit: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="hornbeam-testing", daemon=True)
        self._thread.start()

    def _receive(self, data: bytes) -> None:
        self._work.put(data)

    def stop(self) -> None:
        """Drains the worker's side and ends the thread."""
        self.send((DRAIN,))
        self._work.put(None)
        self._thread.join(10)

    def send(self, *messages: Message) -> None:
        for parts in packets(list(messages)):
            self.transport.deliver(b"".join(parts))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            if callable(work):
                work()
                continue
            for packet in self._splitter.feed(work):
                for message in parse(packet, FROM_WORKER):
                    self._handle(message)

    def _handle(self, message: Message) -> None:
        code = message[0]
        if code in (CALL, STREAM):
            self._serve(message)
        elif code == CAST:
            self._cast(message)
        elif code in (RESULT, FAULT, ITEM):
            self._relay_answer(message)
        elif code == ITEM_CREDIT or code == REVOKE:
            self._relay_to_callee(message)
        elif code == EVENT_CREDIT:
            self._credit[message[1]] = self._credit.get(message[1], 0) + message[2]

    # Services.

    def _serve(self, message: Message) -> None:
        _, ident, _, timeout, service, payload = message
        name = service.decode()
        if name.startswith("execute/"):
            self._execute(message, name.removeprefix("execute/"))
        elif name.startswith("task/"):
            self._start_task(ident, payload, name.split("/", 2)[2])
        else:
            arguments, options = _arguments(payload)
            if name == "call" or name in THREADED:
                run = lambda: self._called(name, arguments)  # noqa: E731
                threading.Thread(target=self._answer, args=(ident, run), daemon=True).start()
            elif name == "cache.claim":
                self.cache.claim(arguments[0], lambda value: self._answer(ident, lambda: value))
            elif name == "await_result":
                self._await_task(ident, arguments[0])
            else:
                self._answer(ident, lambda: self._run_service(name, arguments, options))

    def _answer(self, ident: int, run: Callable[[], Any]) -> None:
        try:
            answer: Message = (RESULT, ident, codec.encode(run()))
        except Fault as exc:
            answer = (FAULT, ident, exc.name.encode(), codec.encode(exc.details))
        except Exception as exc:  # what a registered function raises is its caller's
            details = {"class": "error", "reason": repr(exc), "stack": traceback.format_exc()}
            answer = (FAULT, ident, b"remote_error", codec.encode(details))
        self.send(answer)

    def _called(self, name: str, arguments: list[Any]) -> Any:
        return self._function(*arguments) if name == "call" else self.cluster.serve(name, arguments)

    def _function(self, name: str, arguments: list[Any]) -> Any:
        function = self.functions.get(name)
        if function is None:
            raise Fault("not_registered", service=name)
        return function(*arguments)

    def _run_service(self, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        kind, _, rest = name.partition(".")
        if kind == "state":
            return self.state.serve(rest, arguments, options)
        if kind == "cache":
            return getattr(self.cache, rest)(*arguments, **options)
        if kind in ("nodes", "rpc"):
            return self.cluster.serve(name, arguments)
        method = getattr(self, f"_service_{name}", None)
        if method is None:
            raise Fault("not_registered", service=f"{name} (the stand-in for a node has none)")
        return method(*arguments, **options)

    def _cast(self, message: Message) -> None:
        _, service, payload = message
        name = service.decode()
        arguments, options = _arguments(payload)
        if name == "call":
            function, values = arguments
            self.casts.append((function, values))
            if function in self.functions:
                target = self.functions[function]
                threading.Thread(target=target, args=values, daemon=True).start()
        else:
            self._run_service(name, arguments, options)

    # Publish and subscribe.

    def _service_publish(self, topic: str, value: Any) -> int:
        self.published.append((topic, value))
        return self._tell(topic, value, ("topic", "prefix"))

    def _tell(self, topic: str, value: Any, kinds: tuple[str, ...]) -> int:
        payload, count = codec.encode(value), 0
        for ident, (kind, name, weight, lost) in self._subscriptions.items():
            is_meant = topic == name or (kind == "prefix" and topic.startswith(name))
            if kind in kinds and is_meant:
                count += weight
                if self._credit.get(ident, 0) > 0:
                    self._credit[ident] -= 1
                    self.send((EVENT, ident, lost, topic.encode(), payload))
                    self._subscriptions[ident][3] = 0
                else:
                    self._subscriptions[ident][3] += 1
        return count

    # Other nodes, for the test's thread.

    def set_node(self, name: str, functions: Functions | None) -> None:
        """Adds a node, or takes it away, and tells who watches."""
        if functions is None:
            known = self.cluster.nodes.pop(name, None)
            event, reason = "nodedown", "connection_closed"
        else:
            known = self.cluster.nodes.get(name)
            self.cluster.nodes[name] = functions
            event, reason = "nodeup", ""
        if (known is None) != (functions is None):
            value = (event, name, False, reason)
            self._work.put(lambda: self._tell("nodes", value, ("internal",)))

    def _service_subscribe(self, ident: int, kind: str, topic: str) -> None:
        known = self._subscriptions.setdefault(ident, [kind, topic, 0, 0])
        known[2] += 1

    def _service_unsubscribe(self, ident: int) -> None:
        known = self._subscriptions.get(ident)
        if known is not None:
            known[2] -= 1
            if not known[2]:
                del self._subscriptions[ident]

    # Hooks: the one worker that there is runs them, on the thread that waits when one does.

    def _service_hooks(self, what: str, path: str) -> None:
        (self._hooks.add if what == "register" else self._hooks.discard)(path)

    def _execute(self, message: Message, path: str) -> None:
        code, ident, _, timeout, _, payload = message
        if path not in self._hooks:
            self._answer(ident, lambda: self._unknown(path))
            return
        inner = next(self._ids)
        self._relayed[inner] = (ident, "")
        self.send((code, inner, ident, timeout, f"hook/{path}".encode(), payload))

    def _unknown(self, path: str) -> None:
        raise Fault("not_registered", service=path)

    def _start_task(self, ident: int, payload: bytes, path: str) -> None:
        inner = next(self._ids)
        task = f"task-{inner}"
        self._tasks[task] = []
        self._answer(ident, lambda: task)
        if path in self._hooks:
            self._relayed[inner] = (0, task)
            self.send((CALL, inner, 0, CALL_MS, f"hook/{path}".encode(), payload))
        else:
            details = codec.encode({"service": path})
            self._finish_task(task, (FAULT, 0, b"not_registered", details))

    def _await_task(self, ident: int, task: str) -> None:
        known = self._tasks.get(task)
        if known is None:
            self._answer(ident, lambda: self._unknown(task))
        elif isinstance(known, list):
            known.append(ident)
        else:
            self.send((known[0], ident, *known[2:]))

    def _finish_task(self, task: str, answer: Message) -> None:
        waiting = self._tasks[task]
        self._tasks[task] = answer
        for ident in waiting if isinstance(waiting, list) else ():
            self.send((answer[0], ident, *answer[2:]))

    def _relay_answer(self, message: Message) -> None:
        code, inner, *rest = message
        ident, task = self._relayed.get(inner, (0, ""))
        if code != ITEM:
            self._relayed.pop(inner, None)
        if task:
            self._finish_task(task, message)
        elif ident:
            self.send((code, ident, *rest))

    def _relay_to_callee(self, message: Message) -> None:
        code, ident, *rest = message
        for inner, (outer, _) in self._relayed.items():
            if outer == ident:
                self.send((code, inner, *rest))
                return


def _arguments(payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    value: Any = codec.decode(payload)
    return value[0], value[1]
