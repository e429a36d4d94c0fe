# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe for applications; every function may be called from any thread.

A subscriber is a `Subscription`, or the piece of work that calls `subscribe` (`_scopes`).
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from weakref import WeakKeyDictionary

from ._calls import call_service, call_service_async, cast_service, connected
from ._hub import Hub
from ._mailbox import Mailbox, Published
from ._operations import Request, unchanged
from ._scopes import at_end, current_scope
from ._timeouts import chosen
from ._topics import Channel, Topics
from ._wire import EVENT
from .errors import NodeDown

TIMEOUT_MS = 5000
MAILBOX_LIMIT = 1000  # messages kept for a subscriber that does not receive them
RECEIVE_SECONDS = 5.0
EXPECTED_TOPIC = "expected a str of at most 1024 bytes in UTF-8"
MAX_TOPIC = 1024

T = TypeVar("T")

_logger = logging.getLogger("hornbeam.pubsub")


class Subscription(Generic[T]):
    """Messages of one topic, or of all topics with a prefix, for one reader at a time; or what
    the node tells of itself, as `monitor_nodes` does.

    Made by `subscription` or `aio.subscription`; to be used with `with` or `async with`, whose end
    unsubscribes, as `close` does. Iterating, with `for` or `async for`, gives the messages and
    ends when the subscription is closed. What is not received in time is dropped, the oldest first.

    Attributes:
        topic: the topic, or the prefix of topics.
        is_prefix: whether it is a prefix.
    """

    def __init__(
        self, hub: Hub, channel: Channel, mailbox: Mailbox, read: Callable[[Any], T]
    ) -> None:
        self.is_prefix = channel[0] == "prefix"
        self.topic = channel[1]
        self._hub = hub
        self._channel = channel
        self._mailbox = mailbox
        self._read = read

    @property
    def lost(self) -> int:
        """Messages that were dropped because they were not received in time."""
        return self._mailbox.lost

    def receive(self, timeout: float | None = RECEIVE_SECONDS) -> Published[T] | None:
        """The next message with its topic; keeps the calling thread while it waits.

        Args:
            timeout: seconds; 0 only looks, None waits until there is a message.

        Returns: None when there was none in time, or when the subscription is closed.
        Raises: RuntimeError: another thread or task waits for a message of it.
        """
        what = f"subscription({self.topic!r}).receive()"
        return self._converted(self._mailbox.receive(timeout, what))

    async def receive_async(self, timeout: float | None = RECEIVE_SECONDS) -> Published[T] | None:
        """`receive`, awaited."""
        what = f"subscription({self.topic!r})"
        return self._converted(await self._mailbox.receive_async(timeout, what))

    def _converted(self, published: Published[Any] | None) -> Published[T] | None:
        if published is None:
            return None
        return Published(published.topic, self._read(published.message))

    def each(self, callback: Callable[[T], object]) -> None:
        """Calls `callback` with each message, in a thread of its own, until `close` or the end of
        the connection to the node.

        What it raises is logged, and it is called with the next message.
        """
        name = f"hornbeam-{self.topic}"
        threading.Thread(target=self._call, args=(callback,), name=name, daemon=True).start()

    def _call(self, callback: Callable[[T], object]) -> None:
        while (published := self._next()) is not None:
            try:
                callback(published.message)
            except Exception:
                _logger.exception("the callback of %r failed", self)

    def _next(self) -> Published[T] | None:
        try:
            return self.receive(None)
        except NodeDown as exc:  # whoever asks the node for anything is told as well
            _logger.info("%r ends: %s", self, exc)
            return None

    def close(self) -> None:
        """Unsubscribes; again has no effect. Messages that are there can still be received."""
        if not self._mailbox.closed:
            _forget(self._hub, self._channel, self._mailbox)
            self._mailbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        while (published := self.receive(None)) is not None:
            yield published.message

    async def __aiter__(self) -> AsyncIterator[T]:
        while (published := await self.receive_async(None)) is not None:
            yield published.message

    def __del__(self) -> None:
        if not self._mailbox.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self)

    def __repr__(self) -> str:
        return f"subscription({self.topic!r}, prefix={self.is_prefix})"


def publish(topic: str, message: Any, *, timeout_ms: int = TIMEOUT_MS) -> Request[int]:
    """Sends `message` to all who subscribe to `topic`, in all workers and on all nodes.

    Args:
        topic: at most 1024 bytes in UTF-8.
        message: any value with an Erlang term. WebSocket clients that joined the topic get `str` as
            text, `bytes` as binary, anything else as JSON.
        timeout_ms: milliseconds for the answer.

    Returns: how many subscriptions it was sent to.
    Raises: TermError: the message has no term, or no JSON form although a WebSocket is subscribed.
        TypeError, ValueError: the topic is no text, or too long. CallTimeout, NotConnected,
        RemoteError.
    """
    return Request("publish", [_topic(topic), message], {}, int, timeout_ms)


# Subscriptions as objects.


def subscription(
    topic: str, *, prefix: bool = False, limit: int = MAILBOX_LIMIT
) -> Subscription[Any]:
    """Subscribes to a topic until the subscription is closed.

    Args:
        topic: at most 1024 bytes in UTF-8.
        prefix: all topics that start with `topic`.
        limit: messages kept for the reader, >= 1.

    Raises: TypeError, ValueError: the topic is no text, or too long. CallTimeout, NotConnected.
    """
    return open_subscription(_channel(topic, prefix), f"subscription({topic!r})", limit, unchanged)


async def subscription_async(
    topic: str, *, prefix: bool = False, limit: int = MAILBOX_LIMIT
) -> Subscription[Any]:
    """`subscription`, awaited."""
    channel, what = _channel(topic, prefix), f"subscription({topic!r})"
    return await open_subscription_async(channel, what, limit, unchanged)


def open_subscription(
    channel: Channel, what: str, limit: int, read: Callable[[Any], T]
) -> Subscription[T]:
    """Subscribes to any channel. `what` errors call it, `read` makes messages of its values."""
    hub, mailbox = _prepare(what, limit)
    _add(hub, channel, mailbox)
    return Subscription(hub, channel, mailbox, read)


async def open_subscription_async(
    channel: Channel, what: str, limit: int, read: Callable[[Any], T]
) -> Subscription[T]:
    """`open_subscription`, awaited."""
    hub, mailbox = _prepare(what, limit)
    await _add_async(hub, channel, mailbox)
    return Subscription(hub, channel, mailbox, read)


def _prepare(what: str, limit: int) -> tuple[Hub, Mailbox]:
    if limit < 1:
        raise ValueError(f"{what}: limit is {limit}, expected 1 or more")
    hub = connected(what)
    return hub, Mailbox(hub, limit)


# The subscriber is the current piece of work.


class _Subscriber:
    """A piece of work that has subscribed: its mailbox and its topics."""

    __slots__ = ("channels", "hub", "mailbox")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.mailbox = Mailbox(hub, MAILBOX_LIMIT)
        self.channels: list[Channel] = []


_subscribers: dict[Hashable, _Subscriber] = {}


def subscribe(topic: str, *, prefix: bool = False) -> None:
    """Subscribes the current request, WebSocket, hook call, task or thread until it ends.

    `receive_pubsub` gives it the messages.

    Args:
        topic: at most 1024 bytes in UTF-8.
        prefix: all topics that start with `topic`.

    Raises: TypeError, ValueError: the topic is no text, or too long. CallTimeout, NotConnected.
    """
    hub, channel = connected("subscribe()"), _channel(topic, prefix)
    subscriber = _subscriber(hub)
    _add(hub, channel, subscriber.mailbox)
    subscriber.channels.append(channel)


async def subscribe_async(topic: str, *, prefix: bool = False) -> None:
    """`subscribe`, awaited."""
    hub, channel = connected("subscribe()"), _channel(topic, prefix)
    subscriber = _subscriber(hub)
    await _add_async(hub, channel, subscriber.mailbox)
    subscriber.channels.append(channel)


def unsubscribe(topic: str, *, prefix: bool = False) -> None:
    """Takes one `subscribe` of the current piece of work back; nothing when there is none.

    Messages that have arrived can still be received. Does not wait for the node, in any loop.
    Raises: TypeError, ValueError: the topic is no text, or too long. NotConnected.
    """
    hub, channel = connected("unsubscribe()"), _channel(topic, prefix)
    subscriber = _subscribers.get(current_scope(hub))
    if subscriber is not None and channel in subscriber.channels:
        subscriber.channels.remove(channel)
        _forget(hub, channel, subscriber.mailbox)


def receive_pubsub(timeout: float = RECEIVE_SECONDS, *, with_topic: bool = False) -> Any:
    """The next message for the current piece of work; keeps the calling thread while it waits.

    Args:
        timeout: seconds; 0 only looks.
        with_topic: return a `Published`, with `topic` and `message`.

    Returns: the message, or None when none came in time.
    Raises: RuntimeError: nothing was subscribed to here, or another thread waits already.
    """
    return _value(_own_mailbox().receive(timeout, "receive_pubsub()"), with_topic)


async def receive_pubsub_async(
    timeout: float = RECEIVE_SECONDS, *, with_topic: bool = False
) -> Any:
    """`receive_pubsub`, awaited."""
    mailbox = _own_mailbox()
    return _value(await mailbox.receive_async(timeout, "receive_pubsub()"), with_topic)


def lost_messages() -> int:
    """How many messages the current piece of work did not receive in time and has lost.

    Raises: RuntimeError: nothing was subscribed to here.
    """
    return _own_mailbox().lost


def _own_mailbox() -> Mailbox:
    subscriber = _subscribers.get(current_scope(connected("receive_pubsub()")))
    if subscriber is None:
        raise RuntimeError("receive_pubsub(): nothing is subscribed to here: call subscribe first")
    return subscriber.mailbox


def _value(published: Published[Any] | None, with_topic: bool) -> Any:
    if published is None or with_topic:
        return published
    return published.message


def _subscriber(hub: Hub) -> _Subscriber:
    scope = current_scope(hub)
    subscriber = _subscribers.get(scope)
    if subscriber is None or subscriber.hub is not hub:
        subscriber = _subscribers[scope] = _Subscriber(hub)
        at_end(hub, scope, lambda: _end(hub, scope))
    return subscriber


def _end(hub: Hub, scope: Hashable) -> None:
    subscriber = _subscribers.get(scope)
    if subscriber is None or subscriber.hub is not hub:
        return  # its connection has ended
    del _subscribers[scope]
    for channel in subscriber.channels:
        _forget(hub, channel, subscriber.mailbox)


# The node.


_all_topics: WeakKeyDictionary[Hub, Topics] = WeakKeyDictionary()


def _topics(hub: Hub) -> Topics:
    """The worker's subscriptions; made when the first is asked for."""
    with hub.mutex:
        topics = _all_topics.get(hub)
        if topics is None:
            topics = _all_topics[hub] = Topics(hub)
            hub.deliver[EVENT] = topics.deliver
        return topics


def disconnect(hub: Hub, failure: tuple[str, str]) -> None:
    """The connection has ended, see `Mailbox.close`: every subscription with it."""
    topics = _all_topics.pop(hub, None)
    if topics is not None:
        topics.close(failure)
    for scope, subscriber in tuple(_subscribers.items()):
        if subscriber.hub is hub:
            _subscribers.pop(scope, None)


def _add(hub: Hub, channel: Channel, mailbox: Mailbox) -> None:
    arguments = _topics(hub).add(channel, mailbox)
    try:
        timeout_ms = chosen(TIMEOUT_MS)
        call_service("subscribe", arguments, {}, timeout_ms, f"subscribe({channel[1]!r})")
    except BaseException:
        _forget(hub, channel, mailbox)
        raise


async def _add_async(hub: Hub, channel: Channel, mailbox: Mailbox) -> None:
    arguments = _topics(hub).add(channel, mailbox)
    operation = f"subscribe({channel[1]!r})"
    try:
        await call_service_async("subscribe", arguments, {}, chosen(TIMEOUT_MS), operation)
    except BaseException:
        _forget(hub, channel, mailbox)
        raise


def _forget(hub: Hub, channel: Channel, mailbox: Mailbox) -> None:
    """Nothing more for the mailbox from here on; the node learns of it without being waited for."""
    arguments = _topics(hub).remove(channel, mailbox)
    if arguments is not None:
        cast_service("unsubscribe", arguments, {}, f"unsubscribe({channel[1]!r})")


def _topic(topic: str) -> str:
    if not isinstance(topic, str):
        raise TypeError(f"topic: got {type(topic).__name__}, {EXPECTED_TOPIC}")
    if len(topic.encode()) > MAX_TOPIC:
        raise ValueError(f"topic: got {len(topic.encode())} bytes, {EXPECTED_TOPIC}")
    return topic


def _channel(topic: str, prefix: bool) -> Channel:
    return ("prefix" if prefix else "topic", _topic(topic))
