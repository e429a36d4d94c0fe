# SPDX-License-Identifier: Apache-2.0
"""The life of a worker process: greets the node, loads the application, serves until it is drained.

The main thread boots. Then it is the first of the threads that serve a WSGI application, each of
which takes work, runs it and takes more; or it runs the event loop of an ASGI application.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from . import _calls, _hooks, _producers, codec
from ._attendant import Attendant
from ._config import Config, parse_config
from ._hub import NODE_ERROR, Hub
from ._leader import Waiter
from ._loader import LoadError, load, load_module
from ._logging import install_fallback
from ._serving import Serve, work
from ._transport import EXIT_PROTOCOL, Transport, end_process
from ._version import __version__
from ._wire import (
    ERROR,
    FAILED,
    HELLO,
    VERSION_MAX,
    VERSION_MIN,
    Message,
    ProtocolError,
    cut_text,
)
from ._wsgi import WSGI
from .errors import NotConnected

EXIT_FAILED = 1  # FAILED was sent
GREETING_SECONDS = 30.0  # the node sends HELLO and BOOT at once


def _nothing(hub: Hub) -> None:
    """For who wants to know nothing of the connection."""


def main() -> int:
    """Runs the worker on descriptors 3 and 4. Returns its exit status, once it has drained."""
    return run(Transport())


def run(transport: Transport, started: Callable[[Hub], None] = _nothing) -> int:
    """Runs the worker on a connection. Returns its exit status, once it has drained.

    Args: started: called when the connection is there, before anything is said.
    """
    faulthandler.enable()
    # Ctrl-C goes to the whole process group, and it is the node that decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hub = Hub(transport, fail)
    started(hub)
    os.register_at_fork(after_in_child=lambda: _disown(transport))
    try:
        config = greet(hub)
        Attendant(hub, transport, config.heartbeat).start()
        _prepare(hub, config)
        if config.interface == "client":
            raise ProtocolError("bad_message", "interface of BOOT: this is no client")
        if config.interface == "asgi":
            _serve_asgi(hub, transport, config)
        elif config.interface == "hooks":
            load_module(config.app)
            _serve_in_threads(hub, config, no_requests)
        else:
            application = load(config.app)
            _serve_in_threads(hub, config, WSGI(hub, application, config).serve)
    except ProtocolError as exc:
        fail(hub, exc)
    except LoadError as exc:
        if config.ledger is None:  # the node's log is on another machine
            print(f"hornbeam worker {os.getpid()}: {exc.text}", file=sys.stderr)
        hub.send((FAILED, exc.name.encode(), cut_text(exc.text)))
        hub.outbox.finish()
        end_process(EXIT_FAILED)
    return 0


def fail(hub: Hub, exc: ProtocolError) -> NoReturn:
    """Ends the connection, and with it this process, because the protocol was broken."""
    print(f"hornbeam worker {os.getpid()}: {exc}", file=sys.stderr)
    if exc.name != NODE_ERROR:
        hub.send((ERROR, exc.name.encode(), cut_text(exc.text)))
        hub.outbox.finish()
    end_process(EXIT_PROTOCOL)


def _disown(transport: Transport) -> None:
    """In a forked child: the connection belongs to the parent."""
    _calls.connect(None, "it is a forked child of a worker: call from the worker itself")
    transport.close()


def greet(hub: Hub, seconds: float = GREETING_SECONDS) -> Config:
    """Says HELLO and waits for BOOT.

    Args: seconds: for that.
    Raises: ProtocolError. NotConnected: the connection of a client has ended meanwhile.
    """
    info = {
        b"version": __version__.encode(),
        b"python": platform.python_version().encode(),
        b"codec": codec.NAME.encode(),
        b"pid": os.getpid(),
    }
    hub.send((HELLO, VERSION_MIN, VERSION_MAX, info))
    hub.flush()
    waiter = Waiter()
    deadline = monotonic() + seconds
    while hub.boot is None:
        if hub.is_lost:
            raise NotConnected("greeting")
        if not hub.threads.wait(waiter, hub.threads.blocked, lambda: hub.boot, deadline):
            raise ProtocolError("bad_state", f"no BOOT within {seconds:g} s")
    return parse_config(hub.boot[1])


def _prepare(hub: Hub, config: Config) -> None:
    session = hub.session
    session.response_window = config.response_window
    session.request_window = config.request_window
    if config.ledger is not None:
        try:
            hub.use_ledger(config.ledger)
        except (OSError, ValueError) as exc:
            raise ProtocolError("bad_message", f"ledger of BOOT: {exc}") from exc
    connect(hub)
    if config.erlport:
        from . import erlport  # noqa: F401  # it registers what instances call
    sys.path[:0] = config.pythonpath
    sys.argv[:] = ["hornbeam"]


def no_requests(message: Message) -> None:
    """Serves HTTP where there is none."""
    raise RuntimeError("a provider of handlers, or a client, serves no HTTP")


def _serve_in_threads(hub: Hub, config: Config, serve: Serve) -> None:
    install_fallback()
    # What was loaded stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    hub.thread_count = config.threads
    ready(hub)
    for number in range(2, config.threads + 1):
        name = f"hornbeam-{number}"
        threading.Thread(target=_run, args=(hub, serve), name=name, daemon=True).start()
    _run(hub, serve)
    hub.flush()


def _serve_asgi(hub: Hub, transport: Transport, config: Config) -> None:
    # Here, because asyncio is not needed for WSGI.
    from . import _asgi

    loop = _asgi.make_loop(config.loop)
    application = load(config.app)
    install_fallback()
    _asgi.serve(hub, transport, loop, application, config, lambda: ready(hub), fail)


def connect(hub: Hub) -> None:
    """Makes `hub` the connection of this process: it may call the node from now on, also while it
    loads its application."""
    _producers.install()
    _calls.connect(hub)


def ready(hub: Hub) -> None:
    """Tells the node that the application serves."""
    hub.taken += 1
    hub.busy = 0
    _hooks.announce(hub)
    hub.on_ready()


def _run(hub: Hub, serve: Serve) -> None:
    """Takes work and runs it until the worker has drained. An exception that gets here is a bug of
    hornbeam."""
    try:
        work(hub, serve)
    except ProtocolError as exc:
        fail(hub, exc)
    except BaseException:
        traceback.print_exc()
        end_process(EXIT_PROTOCOL)
