# SPDX-License-Identifier: Apache-2.0
"""Calling Erlang functions, and executing handlers wherever they live: the operations behind
`call`, `execute`, `execute_async` and `await_result`, and the streams.

The node chooses the worker that has least to do among those that have the handler, or an Erlang
handler; arguments and results pass it as they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from . import _streams
from ._operations import DEFAULT_TIMEOUT_MS, Request, unchanged
from ._timeouts import chosen

Labels: TypeAlias = Mapping[str, str | int]

EXECUTE_TIMEOUT_MS = 30000
TASK_TIMEOUT_MS = 3600000


def call(name: str, /, *args: Any) -> Request[Any]:
    """Calls an Erlang function registered with `hornbeam:register_function` and waits for its
    result.

    Args:
        name: the name it was registered under.
        args: its arguments, values with an Erlang term.

    Returns: what it returned; `V` for `{ok, V}`.

    Raises:
        NotRegistered: nothing has that name. RemoteError: the function failed or returned `{error,
            Reason}`.
        CallTimeout: no result within 5 s, or what `call_timeout` says. NotConnected: this process
            is no worker of a node.
        TermError: an argument or the result has no counterpart on the other side.
    """
    timeout_ms = chosen(DEFAULT_TIMEOUT_MS)
    what = f"call({name!r})"
    return Request("call", [name, list(args)], {}, unchanged, timeout_ms, what)


def execute(
    app_path: str, action: str, /, *args: Any, labels: Labels | None = None, **kwargs: Any
) -> Request[Any]:
    """Executes `action` of the handler that is registered as `app_path` and waits for its result.

    The handler may live in this worker, in another one, or in Erlang; one in this worker can be
    called from a request that keeps its only thread. `call_timeout` sets how long to wait, 30 s
    unless it does.

    Args:
        app_path: the handler's path. action: what it is to do.
        args, kwargs: for the handler; values with an Erlang term.
        labels: that whoever runs it must have, for example `{"gpu": 1}`: workers on other machines
            that were attached with them (`hornbeam-worker --label gpu=1`).

    Raises:
        NotRegistered: nobody has that path. HandlerError: the handler raised. RemoteError: an
            Erlang handler failed. NodeDown: the worker that ran it died. CallTimeout, Overloaded,
            Cancelled, NotConnected: as they say. TermError: a value cannot be sent.
    """
    timeout_ms = chosen(EXECUTE_TIMEOUT_MS)
    what = f"execute({app_path!r}, {action!r})"
    service = f"execute{_target(app_path, labels)}"
    return Request(service, [action, *args], kwargs, unchanged, timeout_ms, what)


def _target(app_path: str, labels: Labels | None) -> str:
    """The end of the name of a service: whose handler of `app_path` may be chosen."""
    if not labels:
        return f"/{app_path}"
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels is {labels!r}, expected a dict of names to values")
    pairs = (f"{_quoted(name)}={_quoted(value)}" for name, value in labels.items())
    return f"?{'&'.join(pairs)}/{app_path}"


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int):
        raise TypeError(f"labels: expected texts and integers, got {value!r}")
    return quote(str(value), safe="")


def execute_async(
    app_path: str, action: str, /, *args: Any, labels: Labels | None = None, **kwargs: Any
) -> Request[str]:
    """Starts `action` in the background and returns the id of the task at once.

    The task goes on when the request that started it is over. It may take an hour, or what
    `call_timeout` says; then it has failed. Its result is kept for the option `task_result_ttl`.

    Raises:
        Overloaded: too many tasks run. NotConnected, CallTimeout: nothing is known of the task.
        TermError: an argument cannot be sent. What the handler raises, `await_result` raises.
    """
    timeout_ms = chosen(TASK_TIMEOUT_MS)
    service = f"task/{timeout_ms}{_target(app_path, labels)}"
    return Request(service, [action, *args], kwargs, unchanged)


def await_result(task_id: str, timeout_ms: int = 30000) -> Request[Any]:
    """Waits for the result of a task; in any worker, as often as wanted until it expires.

    Args: task_id: from `execute_async`. timeout_ms: milliseconds to wait.

    Raises:
        CallTimeout: there is no result yet; the task goes on. NotRegistered: there is no such task,
            or its result has expired. NodeDown: the worker that ran it died. Else what `execute`
            raises.
    """
    return Request("await_result", [task_id], {}, unchanged, timeout_ms)


def stream(
    app_path: str, action: str, /, *args: Any, labels: Labels | None = None, **kwargs: Any
) -> Generator[Any, None, None]:
    """The items that `action` of a handler yields, as they come.

    The handler gives a generator, an async generator, an iterator or a list; it is never more than
    16 items ahead. Closing this generator, or leaving the loop over it, closes the handler's.
    `call_timeout` sets how long to wait for each item, 30 s unless it does.

    Raises: as `execute`, from the first `next` on; after the items that came before the failure.
    """
    timeout_ms = chosen(EXECUTE_TIMEOUT_MS)
    service = f"execute{_target(app_path, labels)}"
    return _streams.read(service, [action, *args], kwargs, timeout_ms, "stream")


def stream_async(
    app_path: str, action: str, /, *args: Any, labels: Labels | None = None, **kwargs: Any
) -> AsyncGenerator[Any, None]:
    """`stream` for async code: an async generator."""
    return _read_async("stream_async", _target(app_path, labels), action, args, kwargs)


def stream_in_loop(
    app_path: str, action: str, /, *args: Any, labels: Labels | None = None, **kwargs: Any
) -> AsyncGenerator[Any, None]:
    """`aio.stream`."""
    return _read_async("stream", _target(app_path, labels), action, args, kwargs)


def _read_async(
    operation: str, target: str, action: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    timeout_ms = chosen(EXECUTE_TIMEOUT_MS)
    service = f"execute{target}"
    return _streams.read_async(service, [action, *args], kwargs, timeout_ms, operation)
