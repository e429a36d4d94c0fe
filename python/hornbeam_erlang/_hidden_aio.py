# SPDX-License-Identifier: Apache-2.0
"""What waits of a Python node, for `await`. Runs in any event loop, and does not block it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from ._hidden_process import Target
from ._hidden_waits import Operation, awaiting

__all__ = ["AsyncNode"]


class Operations(Protocol):
    """What waits, of a node; see `Node`."""

    def start(self) -> object: ...
    def stop(self, timeout: float) -> None: ...
    def connecting(
        self, node: str, address: tuple[str, int] | None, keep: bool
    ) -> Operation[None]: ...
    def pinging(self, node: str) -> Operation[bool]: ...
    def sending(self, to: Target, message: object) -> Operation[None]: ...
    def calling(self, target: Target, request: object) -> Operation[Any]: ...
    def casting(self, target: Target, request: object) -> Operation[None]: ...
    def rpc_calling(
        self, node: str, module: str, function: str, args: Sequence[object]
    ) -> Operation[Any]: ...
    def rpc_casting(
        self, node: str, module: str, function: str, args: Sequence[object]
    ) -> Operation[None]: ...


class AsyncNode:
    """The methods of a Node that wait, as coroutines; arguments and errors are the same."""

    __slots__ = ("_node",)

    def __init__(self, node: Operations) -> None:
        self._node = node

    async def start(self) -> None:
        """See `Node.start`."""
        await asyncio.to_thread(self._node.start)

    async def stop(self, timeout: float = 5.0) -> None:
        """See `Node.stop`."""
        await asyncio.to_thread(self._node.stop, timeout)

    async def connect(
        self,
        node: str,
        *,
        address: tuple[str, int] | None = None,
        keep: bool = False,
        timeout: float | None = 7.0,
    ) -> None:
        """See `Node.connect`."""
        await awaiting(self._node.connecting(node, address, keep), timeout, f"connect to {node}")

    async def ping(self, node: str, timeout: float | None = 7.0) -> bool:
        """See `Node.ping`."""
        return await awaiting(self._node.pinging(node), timeout, f"ping {node}")

    async def send(self, to: Target, message: object, timeout: float | None = 5.0) -> None:
        """See `Node.send`."""
        await awaiting(self._node.sending(to, message), timeout, "send")

    async def call(self, target: Target, request: object, timeout: float | None = 5.0) -> Any:
        """See `Node.call`."""
        return await awaiting(self._node.calling(target, request), timeout, f"call {target}")

    async def cast(self, target: Target, request: object, timeout: float | None = 5.0) -> None:
        """See `Node.cast`."""
        await awaiting(self._node.casting(target, request), timeout, f"cast {target}")

    async def rpc_call(
        self,
        node: str,
        module: str,
        function: str,
        args: Sequence[object] = (),
        timeout: float | None = 5.0,
    ) -> Any:
        """See `Node.rpc_call`."""
        what = f"rpc_call {module}:{function}"
        return await awaiting(self._node.rpc_calling(node, module, function, args), timeout, what)

    async def rpc_cast(
        self,
        node: str,
        module: str,
        function: str,
        args: Sequence[object] = (),
        timeout: float | None = 5.0,
    ) -> None:
        """See `Node.rpc_cast`."""
        what = f"rpc_cast {module}:{function}"
        await awaiting(self._node.rpc_casting(node, module, function, args), timeout, what)
