# SPDX-License-Identifier: Apache-2.0
"""Parts of a Python node without another node: identifiers, mailboxes, waiting, what is printed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from hornbeam_erlang import codec
from hornbeam_erlang._distribution_control import REMEMBERED, Controls
from hornbeam_erlang._hidden_arrivals import reference
from hornbeam_erlang._hidden_identifiers import Identifiers
from hornbeam_erlang._hidden_mailbox import OVERHEAD, Mailbox
from hornbeam_erlang._hidden_output import is_io_request, printed
from hornbeam_erlang._hidden_servers import parse_request
from hornbeam_erlang._hidden_waits import Operation, awaiting, blocking
from hornbeam_erlang.errors import CallTimeout, Cancelled, NotConnected, TermError
from hornbeam_erlang.terms import Atom, ImproperList, Pid, Ref

A = Pid(Atom("a@h"), 1, 0, 3)


def test_identifiers() -> None:
    """They differ, fit what old nodes take, and are the same when another node sends them back."""
    identifiers = Identifiers("a@h", 7)
    pids = [identifiers.pid() for _ in range(40_000)]
    refs = [identifiers.ref() for _ in range(1000)]
    assert len(set(pids)) == 40_000
    assert len(set(refs)) == 1000
    assert all(pid.id < 1 << 15 and pid.serial < 1 << 13 for pid in pids)
    assert all(ref.words[0] < 1 << 18 for ref in refs)
    for term in (pids[0], pids[-1], refs[0], refs[-1]):
        assert codec.decode(codec.encode(term)) == term
        bare = type(term)(*(getattr(term, name) for name in fields(term)))
        assert codec.encode(bare) == codec.encode(term)


def fields(term: Pid | Ref) -> tuple[str, ...]:
    if isinstance(term, Pid):
        return ("node", "id", "serial", "creation")
    return ("node", "creation", "words")


def test_a_mailbox_keeps_order_and_counts_bytes() -> None:
    """The limit counts what is unreceived, to the byte."""
    message = codec.encode(5)
    mailbox = Mailbox(2 * (len(message) + OVERHEAD))
    assert mailbox.put(message)
    assert mailbox.put(codec.encode(6))
    assert not mailbox.put(codec.encode(7))
    assert [blocking(mailbox.receive(), 0, "receive") for _ in range(3)] == [5, 6, 7]
    assert mailbox.put(message)
    assert len(mailbox) == 1


def test_a_mailbox_that_is_closed() -> None:
    """Whoever waits, and whoever comes later, is told why; messages are dropped."""
    mailbox = Mailbox(1000)
    seen: list[str] = []

    def wait() -> None:
        with pytest.raises(NotConnected) as error:
            blocking(mailbox.receive(), None, "receive")
        seen.append(error.value.advice)

    thread = threading.Thread(target=wait)
    thread.start()
    mailbox.close("it has ended")
    thread.join(30)
    assert seen == ["it has ended"]
    assert mailbox.put(codec.encode(1))
    with pytest.raises(NotConnected):
        blocking(mailbox.receive(), 0, "receive")


def test_a_message_that_has_no_value() -> None:
    """It is gone, and the next one is there."""
    mailbox = Mailbox(1000)
    mailbox.put(b"\x83\xff")
    mailbox.put(codec.encode(2))
    with pytest.raises(TermError):
        blocking(mailbox.receive(), 0, "receive")
    assert blocking(mailbox.receive(), 0, "receive") == 2


def waits_twice(first: Future[int], second: Future[int], log: list[str]) -> Operation[int]:
    try:
        one = yield first
        two = yield second
        return int(one + two)
    except BaseException as exc:
        log.append(type(exc).__name__)
        raise


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "awaiting"])
def test_operations(asynchronous: bool) -> None:
    """They go on with results and exceptions, and are told inside when their time is over."""

    def run(operation: Operation[int], seconds: float | None) -> Any:
        if asynchronous:
            return asyncio.run(awaiting(operation, seconds, "waiting"))
        return blocking(operation, seconds, "waiting")

    log: list[str] = []
    done: Future[int] = Future()
    done.set_result(20)
    assert run(waits_twice(done, done, log), None) == 40
    failed: Future[int] = Future()
    failed.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        run(waits_twice(done, failed, log), 5.0)
    own: Future[int] = Future()
    own.set_exception(TimeoutError("of the other side"))
    with pytest.raises(TimeoutError, match="of the other side"):
        run(waits_twice(own, done, log), 5.0)
    with pytest.raises(CallTimeout, match="waiting: no reply within 0.01 s"):
        run(waits_twice(done, Future(), log), 0.01)
    given_up: Future[int] = Future()
    given_up.cancel()
    with pytest.raises(Cancelled):
        run(waits_twice(given_up, done, log), 5.0)
    assert log == ["KeyError", "TimeoutError", "CallTimeout", "Cancelled"]


class Late(Future[int]):
    """A future whose result comes just when the wait for it is over."""

    def result(self, timeout: float | None = None) -> int:
        if not self.done():
            self.set_result(1)
            raise TimeoutError
        return super().result(timeout)


def test_a_result_at_the_last_moment() -> None:
    """What is there when the time is over is no timeout."""
    log: list[str] = []
    done: Future[int] = Future()
    done.set_result(20)
    assert blocking(waits_twice(done, Late(), log), 0.01, "waiting") == 21
    assert log == []


def test_requests_to_servers() -> None:
    """What a message is to a server, as gen_server of any age writes it."""
    ref = Ref(Atom("a@h"), 1, (1,))
    tag = ImproperList((Atom("alias"),), ref)
    call = (Atom("$gen_call"), (A, tag), 5)
    assert parse_request(call) == ("call", (A, tag), 5)
    assert parse_request((Atom("$gen_cast"), 5)) == ("cast", None, 5)
    for other in (5, (Atom("$gen_call"), 5, 5), (Atom("$gen_call"), (5, 5), 5), ()):
        assert parse_request(other) == ("info", None, other)
    assert reference(tag) == ref
    assert reference(ref) == ref
    assert reference(5) is None


def test_what_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    """Requests to print are answered ok and logged; other requests of the I/O protocol are not."""
    assert is_io_request((Atom("io_request"), A, 1, 2))
    assert not is_io_request((Atom("io_request"), 1, 1, 2))
    put = Atom("put_chars")
    with caplog.at_level("INFO", "hornbeam.distribution.output"):
        assert printed((put, Atom("unicode"), ["a", [98, b"c"]])) == "ok"
    assert caplog.messages == ["abc"]
    assert printed((Atom("get_line"), "prompt")) == ("error", "enotsup")


def test_remembered_controls_are_bounded() -> None:
    """A peer that sends from ever new processes makes this side keep some hundred of them."""
    controls = Controls()
    for number in range(3 * REMEMBERED):
        control = codec.encode((22, Pid(Atom("a@h"), number, 0, 3), A))
        event = controls.parse(control, b"\x83j")
        assert getattr(event, "sender", None) == Pid(Atom("a@h"), number, 0, 3)
    assert len(controls._known) <= REMEMBERED
