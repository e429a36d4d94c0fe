# SPDX-License-Identifier: Apache-2.0
"""The configuration a worker is booted with: BOOT's map, checked (PROTOCOL.md, section 4.1).
Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._wire import ProtocolError

INTERFACES = ("wsgi", "asgi", "hooks", "client")


@dataclass(frozen=True, slots=True)
class Config:
    """What the node wants of this worker.

    Attributes:
        app: what to load, for example `module:callable`.
        interface: `wsgi` or `asgi`; `hooks`, whose `app` is a module, and `client`, which has no
            `app`, take no exchanges.
        pythonpath: directories to put in front of `sys.path`.
        threads: threads that run the application, >= 1.
        script_name: prefix the application is mounted under, empty or beginning with `/`.
        response_window, request_window: bytes of an exchange that may be on their way before
            credit.
        heartbeat: milliseconds of silence after which the worker gives a sign of life.
        ledger: path of the ledger file, None without one.
        multiprocess: whether the application runs in other workers, too.
        loop: the event loop, `auto` (uvloop when it is installed), `asyncio` or `uvloop`; this and
            what follows for `asgi` only.
        lifespan: `auto` (when the application speaks it), `on` or `off`.
        lifespan_timeout: milliseconds for the startup, and for the shutdown.
        max_concurrent: exchanges the node opens at once, accepted WebSockets not counted.
        files: whether the node can send files of this machine; for both.
        erlport: whether instances of `hornbeam_erlport` may drive this worker; for both.
    """

    app: str
    interface: str
    pythonpath: tuple[str, ...]
    threads: int
    script_name: str
    response_window: int
    request_window: int
    heartbeat: int
    ledger: bytes | None
    multiprocess: bool
    loop: str = "auto"
    lifespan: str = "auto"
    lifespan_timeout: int = 30000
    max_concurrent: int = 1000
    erlport: bool = False
    files: bool = True


def parse_config(config: dict[Any, Any]) -> Config:
    """Checks BOOT's map; keys it does not know are ignored.

    Raises: ProtocolError: `bad_message`, naming the key, what was expected and what was got.
    """
    return Config(
        app=_get(config, b"app", "a UTF-8 binary", _text),
        interface=_get(config, b"interface", *_one_of(*INTERFACES), b"wsgi"),
        pythonpath=_get(config, b"pythonpath", "a list of binaries", _paths, []),
        threads=_get(config, b"threads", "an integer 1..1024", _between(1, 1024), 1),
        script_name=_get(config, b"script_name", "a UTF-8 binary", _text, b""),
        response_window=_get(config, b"response_window", *_WINDOW),
        request_window=_get(config, b"request_window", *_WINDOW),
        heartbeat=_get(config, b"heartbeat", *_MILLISECONDS),
        ledger=_get(config, b"ledger", "a binary, or nothing", _path_or_none, None),
        multiprocess=_get(config, b"multiprocess", "true or false", _flag, False),
        loop=_get(config, b"loop", *_one_of("auto", "asyncio", "uvloop"), b"auto"),
        lifespan=_get(config, b"lifespan", *_one_of("auto", "on", "off"), b"auto"),
        lifespan_timeout=_get(config, b"lifespan_timeout", *_MILLISECONDS, 30000),
        max_concurrent=_get(config, b"max_concurrent", *_CONCURRENT, 1000),
        erlport=_get(config, b"erlport", "true or false", _flag, False),
        files=_get(config, b"files", "true or false", _flag, True),
    )


_REQUIRED = object()


def _get(
    config: dict[Any, Any],
    key: bytes,
    expected: str,
    read: Callable[[Any], Any],
    default: object = _REQUIRED,
) -> Any:
    value = config.get(key, default)
    if value is _REQUIRED:
        raise ProtocolError("bad_message", f"BOOT without {key.decode()}: expected {expected}")
    try:
        return read(value)
    except (ValueError, TypeError):
        raise _bad(key, expected, value) from None


def _bad(key: bytes, expected: str, got: object) -> ProtocolError:
    return ProtocolError("bad_message", f"{key.decode()} of BOOT: expected {expected}, got {got!r}")


def _text(value: Any) -> str:
    if type(value) is not bytes:
        raise TypeError
    return value.decode("utf-8")


def _paths(value: Any) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError
    # surrogateescape: a directory's name need not be UTF-8, and Python spells it so.
    return tuple(bytes.decode(item, "utf-8", "surrogateescape") for item in value)


def _path_or_none(value: Any) -> bytes | None:
    if value is not None and (type(value) is not bytes or not value):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _between(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return read


def _one_of(*words: str) -> tuple[str, Callable[[Any], str]]:
    def read(value: Any) -> str:
        text = _text(value)
        if text not in words:
            raise ValueError
        return text

    return " or ".join(words), read


_MILLISECONDS: tuple[str, Callable[[Any], int]] = ("milliseconds >= 1", _between(1, 2**31))
_CONCURRENT: tuple[str, Callable[[Any], int]] = ("an integer 1..65536", _between(1, 65536))
_WINDOW: tuple[str, Callable[[Any], int]] = ("bytes, 1..2147483648", _between(1, 2**31))
