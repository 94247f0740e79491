"""Callers who wait while every environment is busy: who stays is served in turn, who leaves is not."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from lambda_wire.local import pool
from tests.local_bench import PATIENCE_S, Bench, Wire
from tests.test_local_concurrency import ACCEPTED, Slot, body_of

INVOKE = "POST /2015-03-31/functions/f/invocations"
STREAM = "POST /2021-11-15/functions/f/response-streaming-invocations"
LEFT = "The caller left while this call waited: the function is not called."


def reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An environment; that calls wait for it is not said."""
    monkeypatch.setattr(pool, "_UNNOTICED_S", 2 * PATIENCE_S)
    with contextlib.closing(Bench()) as made:
        yield made


@pytest.fixture
def told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have it said at once that a call waits; return how to wait until it was."""
    monkeypatch.setattr(pool, "_UNNOTICED_S", 0.0)
    return lambda: bench.wait_for("WARN", 1)


@pytest.fixture
def busy(bench: Bench) -> Iterator[Slot]:
    """The only environment, which runs a call of ``bench``."""
    bench.call("0")
    with Slot(bench.address()).poll() as slot:
        assert slot.event() == b"0"
        yield slot


def caller(bench: Bench) -> Wire:
    return Wire(f"127.0.0.1:{bench.port}")


def asking(what: str, body: str = "1", *fields: str) -> str:
    head = (f"{what} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join((*head, "", body))


def next_event(slot: Slot) -> bytes:
    """Answer the call that runs; return the event of the next one."""
    assert slot.respond(b"1") == ACCEPTED
    return slot.poll().event()


def warnings(bench: Bench) -> list[str]:
    """Return what was warned of, without ids."""
    return [line.split(" ", 3)[3] for line in bench.lines if line.startswith("WARN RequestId: ")]


# -- who leaves


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("what", ["GET /", INVOKE, STREAM])
def test_who_left_before_his_turn_is_not_served(
    bench: Bench, busy: Slot, what: str, leave: Callable[[socket.socket], None]
) -> None:
    """Closed or reset: the next event is that of the caller who stayed, and the terminal says so of the others."""
    for _ in range(3):
        with caller(bench) as wire:
            wire.send(asking(what))
            leave(wire.socket)
    bench.wait_for("WARN", 3)
    called = bench.call("9")
    assert next_event(busy) == b"9"
    assert busy.respond(b"10") == ACCEPTED
    assert body_of(called) == b"10"
    assert warnings(bench) == [LEFT] * 3
    assert sum(line.startswith("START") for line in bench.lines) == 2


def test_who_ended_his_half_before_his_turn_counts_as_gone(bench: Bench, busy: Slot) -> None:
    """His connection ends without an answer. One who closed it could not be told from him."""
    with caller(bench) as wire:
        wire.send(asking("GET /"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.socket.recv(1) == b""
    bench.call("9")
    assert next_event(busy) == b"9"
    assert warnings(bench) == [LEFT]


def test_a_call_that_has_begun_runs_to_its_end(bench: Bench) -> None:
    """Who has only ended his half is answered; who has left disturbs nobody (IN-ASK-23)."""
    with caller(bench) as half, caller(bench) as gone:
        half.send(asking(INVOKE, "1"))
        with Slot(bench.address()).poll() as slot:
            assert slot.event() == b"1"
            half.socket.shutdown(socket.SHUT_WR)
            gone.send(asking(INVOKE, "2"))
            assert next_event(slot) == b"2"
            assert half.answer() == (200, b"1")
            gone.socket.close()
            bench.call("3")
            assert next_event(slot) == b"3"
    assert sum(line.startswith("REPORT") for line in bench.lines) == 2
    assert not warnings(bench)


def test_an_asynchronous_call_is_run_although_its_caller_left(bench: Bench, busy: Slot) -> None:
    """He was told that it will be (IN-ANSWER-4)."""
    with caller(bench) as wire:
        wire.send(asking(INVOKE, "5", "X-Amz-Invocation-Type: Event"))
        assert wire.answer()[0] == 202
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.socket.recv(1) == b""
    bench.call("9")
    assert next_event(busy) == b"5"
    assert next_event(busy) == b"9"


# -- who sends ahead


def test_what_a_caller_sends_while_he_waits_is_his_next_request(
    bench: Bench, busy: Slot, told: Callable[[], None]
) -> None:
    """All of it, once, and in order, although it came in pieces, the first of them with the request before."""
    second, third = asking(INVOKE, "2"), asking(INVOKE, "3")
    with caller(bench) as wire:
        wire.send(asking(INVOKE, "1") + second[:9])
        told()
        for piece in (second[9:70], second[70:] + third[:1], third[1:]):
            wire.send(piece)
        assert next_event(busy) == b"1"
        assert next_event(busy) == b"2"
        assert next_event(busy) == b"3"
        assert busy.respond(b"4") == ACCEPTED
        assert [wire.answer() for _ in range(3)] == [(200, b"1"), (200, b"1"), (200, b"4")]


def test_who_leaves_after_sending_ahead_has_left(bench: Bench, busy: Slot, told: Callable[[], None]) -> None:
    """None of his requests is served."""
    with caller(bench) as wire:
        wire.send(asking(INVOKE, "1") + asking(INVOKE, "2"))
        told()
        wire.send(asking(INVOKE, "3"))
    bench.wait_for("WARN", 2)
    bench.call("9")
    assert next_event(busy) == b"9"
    assert warnings(bench)[1:] == [LEFT]


def test_not_all_that_is_sent_ahead_is_read_before_its_turn(bench: Bench, busy: Slot, told: Callable[[], None]) -> None:
    """It would fill our memory. That its sender leaves cannot be seen then: he counts as one who stays."""
    with caller(bench) as wire:
        wire.send(asking(INVOKE, "1"))
        told()
        wire.send("x" * 4 * 65_536)
        wire.socket.shutdown(socket.SHUT_WR)
        assert next_event(busy) == b"1"
        assert busy.respond(b"2") == ACCEPTED
        assert wire.answer() == (200, b"2")
    assert len(warnings(bench)) == 1


# -- who waits


def test_it_is_said_once_that_a_call_waits(bench: Bench, busy: Slot, told: Callable[[], None]) -> None:
    """With what helps. Whoever waits later is served without a word."""
    bench.call("1", request_id="first")
    told()
    bench.call("2", request_id="second")
    assert next_event(busy) == b"1"
    bench.call("3", request_id="third")
    assert {next_event(busy), next_event(busy)} == {b"2", b"3"}
    (line,) = [line for line in bench.lines if line.startswith("WARN")]
    advice = "The environment is busy: this call waits. --environments N serves more at once."
    assert line == f"WARN RequestId: first {advice}"


def test_it_is_said_of_all_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are several."""
    monkeypatch.setattr(pool, "_UNNOTICED_S", 0.0)
    with contextlib.closing(Bench(environments=2)) as bench:
        for name in "123":
            bench.call(name, request_id=name)
        bench.wait_for("WARN", 1)
        assert warnings(bench)[0].startswith("All 2 environments are busy: this call waits. ")


def test_a_call_that_waits_for_a_moment_is_no_news(bench: Bench, busy: Slot) -> None:
    """As the next one of a caller often does, whose answer comes before the runtime polls again."""
    with caller(bench) as stays, caller(bench) as leaves:
        stays.send(asking("GET /"))
        leaves.send(asking("GET /"))
        leaves.socket.close()
        bench.wait_for("WARN", 1)
        next_event(busy)
        assert warnings(bench) == [LEFT]
