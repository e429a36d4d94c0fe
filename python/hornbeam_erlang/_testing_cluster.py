# SPDX-License-Identifier: Apache-2.0
"""The other nodes of the stand-in: names, and Python functions for what is called there.

Runs in the thread of the stand-in, functions in threads of their own.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ._testing_state import Fault
from .errors import CallTimeout, NodeDown, RemoteError

OWN = "nonode@nohost"
THREADED = ("rpc.call", "rpc.multicall")

# By module and function.
Functions: TypeAlias = Mapping[tuple[str, str], Callable[..., Any]]


class Cluster:
    """See the head of the module.

    Attributes:
        nodes: what is called there, by name; the own node is one of them.
        casts: node, module, function and arguments of every `rpc_cast`.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Functions] = {OWN: {}}
        self.casts: list[tuple[str, str, str, list[Any]]] = []

    def serve(self, service: str, arguments: list[Any]) -> Any:
        """The result of a service. Raises: Fault."""
        name, _, operation = service.partition(".")
        method = getattr(self, f"_{name}_{operation}", None)
        if method is None:
            raise Fault("not_registered", service=f"{service} (the stand-in for a node has none)")
        return method(*arguments)

    def _nodes_self(self) -> str:
        return OWN

    def _nodes_list(self, with_hidden: bool) -> list[str]:
        return [name for name in self.nodes if name != OWN]

    def _nodes_connect(self, node: str, cookie: str | None) -> None:
        self._functions(node)

    def _nodes_disconnect(self, node: str) -> bool:
        return node != OWN and node in self.nodes

    def _nodes_ping(self, node: str, timeout_ms: int) -> bool:
        return node in self.nodes

    def _functions(self, node: str) -> Functions:
        functions = self.nodes.get(node)
        if functions is None:
            raise Fault("node_down", node=node, reason="the test has added no such node")
        return functions

    def _rpc_call(self, node: str, module: str, function: str, arguments: list[Any]) -> Any:
        called = self._functions(node).get((module, function))
        if called is None:
            raise remote("undef", f"{module}:{function}/{len(arguments)}")
        try:
            return called(*arguments)
        except NodeDown as exc:  # it dies during the call
            raise Fault("node_down", node=node, reason=exc.reason) from exc
        except CallTimeout as exc:
            raise Fault("timeout") from exc
        except RemoteError as exc:
            raise remote(exc.reason, exc.stack, exc.class_) from exc
        except Exception as exc:
            raise remote(repr(exc), traceback.format_exc()) from exc

    def _rpc_cast(self, node: str, module: str, function: str, arguments: list[Any]) -> None:
        self.casts.append((node, module, function, arguments))
        if (module, function) in self.nodes.get(node, {}):
            self._rpc_call(node, module, function, arguments)

    def _rpc_multicall(
        self, nodes: list[str], module: str, function: str, arguments: list[Any], timeout_ms: int
    ) -> list[tuple[Any, ...]]:
        return [self._outcome(node, module, function, arguments) for node in nodes]

    def _outcome(self, *call: Any) -> tuple[Any, ...]:
        try:
            return ("ok", self._rpc_call(*call))
        except Fault as exc:
            return ("fault", exc.name, exc.details)


def remote(reason: object, stack: str, class_: str = "error") -> Fault:
    return Fault("remote_error", **{"class": class_, "reason": reason, "stack": stack})
