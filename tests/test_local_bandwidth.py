"""How fast streams are: the law on the bucket alone, without any clock, and that streams, and only they, obey it."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire import _limits as limits
from lambda_wire._responses import StreamingResponse
from lambda_wire.local.bandwidth import Bandwidth, Throttle
from lambda_wire.local.call import Call
from lambda_wire.testing import FunctionError, LocalLambda
from tests.running_local import running_local

MIB = 1024 * 1024
TICK = 256 * 1024
"""What comes every 125 ms."""


# -- the law


def test_the_first_6_mib_go_at_once() -> None:
    """In any pieces, on any clock."""
    for size in (1, 1000, 65_536, 6 * MIB):
        bandwidth = Bandwidth()
        pieces = min(100, 6 * MIB // size)
        assert [bandwidth.delay_s(size, now_s=12_345.678) for _ in range(pieces)] == [0.0] * pieces
    assert Bandwidth().delay_s(0, now_s=0.0) == 0.0


def test_more_waits_for_the_next_tick() -> None:
    """One byte more waits 125 ms, and what the tick has given goes with it (LI-STREAM-4)."""
    bandwidth = Bandwidth()
    assert bandwidth.delay_s(6 * MIB, now_s=1.0) == 0.0
    assert bandwidth.delay_s(1, now_s=1.0) == 0.125
    assert bandwidth.delay_s(TICK - 1, now_s=1.125) == 0.0
    assert bandwidth.delay_s(1, now_s=1.125) == 0.125
    assert bandwidth.delay_s(TICK, now_s=1.25) == 0.125


def test_ticks_are_counted_from_the_first_write() -> None:
    """Whenever the wait begins, it ends with a tick."""
    bandwidth = Bandwidth()
    bandwidth.delay_s(6 * MIB, now_s=10.0)
    assert bandwidth.delay_s(1, now_s=10.0625) == 0.0625
    assert bandwidth.delay_s(TICK, now_s=10.125) == 0.125


def test_a_piece_goes_whole_or_not_at_all() -> None:
    """It waits for as many ticks as it needs."""
    bandwidth = Bandwidth()
    bandwidth.delay_s(6 * MIB - 10, now_s=0.0)
    assert bandwidth.delay_s(10 + 2 * TICK, now_s=0.0) == 0.25
    assert bandwidth.delay_s(1, now_s=0.25) == 0.125


def test_200_mib_take_97_seconds() -> None:
    """The first six at once, two each second afterwards (LI-STREAM-3)."""
    bandwidth = Bandwidth()
    now_s = 0.0
    for _ in range(200 * 16):
        now_s += bandwidth.delay_s(65_536, now_s=now_s)
    assert now_s == 97.0


def test_a_pause_earns_another_burst_and_no_more() -> None:
    """The bucket overflows."""
    bandwidth = Bandwidth()
    bandwidth.delay_s(6 * MIB, now_s=0.0)
    assert bandwidth.delay_s(2 * MIB, now_s=1.0) == 0.0
    assert bandwidth.delay_s(6 * MIB, now_s=1000.0) == 0.0
    assert bandwidth.delay_s(1, now_s=1000.0) == 0.125


def test_pieces_may_be_asked_for_together() -> None:
    """Each waits for those before it."""
    bandwidth = Bandwidth()
    bandwidth.delay_s(6 * MIB, now_s=0.0)
    assert [bandwidth.delay_s(TICK, now_s=0.0) for _ in range(3)] == [0.125, 0.25, 0.375]
    assert bandwidth.delay_s(TICK, now_s=0.375) == 0.125
    bandwidth = Bandwidth()
    bandwidth.delay_s(6 * MIB, now_s=0.0)
    assert [bandwidth.delay_s(1, now_s=0.0) for _ in range(3)] == [0.125] * 3


def test_a_piece_larger_than_the_burst_is_not_for_ever() -> None:
    """It takes its time, and is paid for."""
    bandwidth = Bandwidth(burst=100, rate=80)
    assert bandwidth.delay_s(150, now_s=0.0) == 5 * 0.125
    assert bandwidth.delay_s(10, now_s=5 * 0.125) == 0.125


def test_the_limits_are_the_emulators() -> None:
    assert (limits.STREAM_BURST, limits.STREAM_RATE) == (6 * MIB, 2 * MIB)


class Ticker:
    """The emulator's way: a bucket that a ticker fills, and a writer who looks after each tick. Times in ticks / 8."""

    def __init__(self, burst: int, refill: int) -> None:
        self._burst, self._refill = burst, refill
        self._tokens = burst
        self._begun: int | None = None
        self._seen = 0

    def sent_at(self, size: int, now: int) -> int:
        if self._begun is None:
            self._begun = now
        while self._begun + (self._seen + 1) * 8 <= now:
            self._tick()
        while self._tokens < size:
            self._tick()
            now = self._begun + self._seen * 8
        self._tokens -= size
        return now

    def _tick(self) -> None:
        self._seen += 1
        self._tokens = min(self._burst, self._tokens + self._refill)


@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100)), max_size=60),
)
def test_every_piece_leaves_when_the_emulator_sends_it(begin: int, pieces: list[tuple[int, int]]) -> None:
    """For any pieces within the burst, and any pauses between them (LI-STREAM-4)."""
    bandwidth, ticker = Bandwidth(burst=100, rate=80), Ticker(100, 10)
    now = begin
    for pause, size in pieces:
        now += pause
        sent = ticker.sent_at(size, now)
        assert bandwidth.delay_s(size, now_s=now / 64) == (sent - now) / 64
        now = sent


# -- who obeys it


class Recorder:
    """Stands in for the clock, which stands still, and for the sleep, which ends at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def throttle(self, bandwidth: Bandwidth) -> Throttle:
        return Throttle(bandwidth, clock=lambda: 0.0, sleep=self._sleep)

    async def _sleep(self, seconds: float, gone: asyncio.Event) -> None:
        assert not gone.is_set()
        self.slept.append(seconds)


def test_a_stream_is_held_back_and_an_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream has a bucket of its own; without the option nobody has one (IN-STREAM-15, LI-STREAM-3)."""
    recorder = Recorder()
    monkeypatch.setattr("lambda_wire.local.environment.Throttle", recorder.throttle)

    def handler(event: int, context: object) -> object:
        return StreamingResponse(b"x" * 65_536 for _ in range(event)) if event else "x" * (6 * MIB)

    with LocalLambda(handler, simulate_bandwidth=True) as fn:
        for _ in range(2):
            assert sum(map(len, fn.stream(6 * 16))) == 6 * MIB
            assert recorder.slept == []
        assert sum(map(len, fn.stream(6 * 16 + 5))) == 6 * MIB + 5 * 65_536
        assert recorder.slept == [0.125, 0.125, 0.125, 0.125, 0.25]
        assert len(fn.invoke(0)) == 6 * MIB
    with LocalLambda(handler) as fn:
        assert sum(map(len, fn.stream(8 * 16))) == 8 * MIB
    assert len(recorder.slept) == 5


async def _held_back() -> tuple[Call, asyncio.Task[None]]:
    """Return a stream whose second piece will not leave for a day, and the task that waits for it."""
    call = Call(b"{}")
    call.throttle = Throttle(Bandwidth(burst=1, rate=1, interval_s=86_400.0), clock=lambda: 0.0)
    call.start("text/plain", streaming=True)
    await call.write(b"1")
    writing = asyncio.create_task(call.write(b"2"))
    await asyncio.sleep(0)
    assert not writing.done()
    return call, writing


def test_a_stream_that_ends_is_held_back_no_longer() -> None:
    """What was held back is not delivered: it came too late."""

    async def check() -> None:
        call, writing = await _held_back()
        call.end()
        await writing
        assert (await call.rest(), call.size) == (b"1", 1)

    asyncio.run(check())


def test_a_stream_that_nobody_takes_is_held_back_no_longer() -> None:
    """The function runs on at full speed."""

    async def check() -> None:
        call, writing = await _held_back()
        call.discard()
        await writing
        await call.write(b"3")
        call.end()
        assert (await call.rest(), call.size) == (b"", 3)

    asyncio.run(check())


def test_what_was_held_back_is_delivered() -> None:
    """With the real sleep, and a short one."""

    async def check() -> None:
        call = Call(b"{}")
        call.throttle = Throttle(Bandwidth(burst=1, rate=1000, interval_s=0.001))
        call.start("text/plain", streaming=True)
        for piece in (b"1", b"2", b"3"):
            await call.write(piece)
        call.end()
        assert await call.rest() == b"123"

    asyncio.run(check())


def test_the_time_that_a_stream_needs_counts() -> None:
    """The function runs into its timeout, as it would on AWS; what was sent before arrives."""

    def handler(event: object, context: object) -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(MIB)

    with LocalLambda(handler, timeout_s=0.3, simulate_bandwidth=True) as fn:
        received: list[bytes] = []
        with pytest.raises(FunctionError) as caught:
            received.extend(fn.stream({}))
        assert caught.value.error_type == "Sandbox.Timedout"
        assert len(b"".join(received)) < 100 * MIB


APP = """
def stream(event, context):
    for _ in range(12):
        yield bytes(1024 * 1024)
"""


def test_the_commands_option(tmp_path: Path) -> None:
    """12 MiB need three seconds then, and the function has one (FU-BODY-11)."""
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    with running_local("app.stream", cwd=tmp_path, options=["--simulate-bandwidth", "--timeout", "1"]) as local:
        with pytest.raises(http.client.IncompleteRead):
            local.request("GET", "/")
        assert local.wait_for("REPORT").endswith("Status: timeout\n")
