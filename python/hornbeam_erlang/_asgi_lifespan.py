# SPDX-License-Identifier: Apache-2.0
"""The lifespan of an ASGI application: startup before the worker is ready, shutdown after it has
drained (ASGI lifespan 2.0).

Runs in the loop that serves, in a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ._asgi_cycle import Event, event_type, out_of_order
from ._tracebacks import application_part, format_exception

_LOG = logging.getLogger("hornbeam.asgi")

# What `send` waits for; and the ends.
STARTING, STARTED, STOPPING, STOPPED = "starting", "started", "stopping", "stopped"


class LifespanFailed(Exception):
    """The startup failed; the text says why, in the application's words where it has some."""


class Lifespan:
    """One lifespan.

    Args:
        application: the ASGI callable.
        mode: `auto`, `on` or `off`.
        timeout: seconds for the startup, and for the shutdown.

    Attributes:
        state: what the application keeps for its requests.
    """

    def __init__(self, application: Callable[..., Any], mode: str, timeout: float) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._mode = mode
        self._timeout = timeout
        self._phase = STARTING
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Runs the startup.

        Raises: LifespanFailed: the application said so; or, in mode `on`, it raised or returned
            before it was complete; or it took too long.
        """
        if self._mode == "off":
            return
        self._events.put_nowait("lifespan.startup")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="hornbeam-lifespan")
        if not await self._wait_for_answer():
            await self._cancel()
            raise LifespanFailed(f"the startup did not complete within {self._timeout:g} s")
        if self._failure is not None:
            await self._cancel()
            raise LifespanFailed(self._failure)

    async def shutdown(self) -> None:
        """Runs the shutdown, if there was a startup. What goes wrong is logged."""
        if self._task is None or self._task.done() or self._phase != STARTED:
            return
        self._phase = STOPPING
        self._answered.clear()
        self._failure = None
        self._events.put_nowait("lifespan.shutdown")
        if not await self._wait_for_answer():
            _LOG.error("lifespan: the shutdown did not complete within %g s", self._timeout)
        elif self._failure is not None:
            _LOG.error("lifespan: the shutdown failed: %s", self._failure)
        await self._cancel()

    async def _wait_for_answer(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    async def _cancel(self) -> None:
        """Lets the task end: what the application does after its last answer is quick, or cut."""
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=0.1)
            if not done:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=self._timeout)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application(scope, self._receive, self._send)
        except BaseException as exc:
            self._raised(exc)
        else:
            self._returned()
        finally:
            self._answered.set()

    def _raised(self, exc: BaseException) -> None:
        if self._answered.is_set() and self._failure is not None:
            return  # it has said what went wrong, and raises it besides
        if self._phase != STARTING:
            if not isinstance(exc, asyncio.CancelledError):
                info = (type(exc), exc, application_part(exc.__traceback__))
                _LOG.error("lifespan: the application raised", exc_info=info)
        elif self._mode == "on":
            self._failure = f"the application raised in its startup\n{format_exception(exc)}"
        else:
            text = "the application does not speak it: %s: %s"
            _LOG.info("lifespan: " + text, type(exc).__name__, exc)

    def _returned(self) -> None:
        if self._phase == STARTING and self._failure is None and self._mode == "on":
            self._failure = "the application returned before its startup was complete"

    async def _receive(self) -> Event:
        return {"type": await self._events.get()}

    async def _send(self, event: Event) -> None:
        kind = event_type(event)
        steps = {STARTING: ("startup", STARTED), STOPPING: ("shutdown", STOPPED)}
        step, after = steps.get(self._phase, ("", ""))
        if not step or self._answered.is_set():
            raise out_of_order(event, f"nothing while the lifespan is {self._phase}")
        if kind == f"lifespan.{step}.complete":
            self._phase = after
        elif kind == f"lifespan.{step}.failed":
            text = str(event.get("message") or "")
            self._failure = text or f"the application sent lifespan.{step}.failed without a message"
        else:
            expected = f"'lifespan.{step}.complete' or 'lifespan.{step}.failed'"
            raise out_of_order(event, expected)
        self._answered.set()
