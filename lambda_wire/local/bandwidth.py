"""How fast a streamed response may leave Lambda: its first 6 MiB at once, then 2 MiB/s.

It is a bucket of tokens, one for each byte, full at first. 256 KiB of them come every 125 ms, counted from the first
write; what does not fit is lost, so that a pause earns at most another burst. A piece waits until there are tokens for
all of it. Source: the emulator's internal/lambda/core/directinvoke/util.go (DefaultRefillIntervalMs, and how the bucket
is made) and internal/lambda/core/bandwidthlimiter/throttler.go (all or nothing; the ticker starts with the first
write). AWS itself was once recorded to be faster, 200 MiB in 68 s (2026-09); it documents 2 MB/s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from lambda_wire import _limits as limits

__all__ = ["Bandwidth", "Throttle"]

_INTERVAL_S: Final = 0.125


async def _sleep(seconds: float, gone: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gone.wait()


class Bandwidth:
    """The bandwidth of one stream. It knows no clock: the time is an argument.

    Args:
        burst: How many bytes may be sent at once.
        rate: How many more each second.
        interval_s: How often some of them are given.
    """

    def __init__(
        self, *, burst: int = limits.STREAM_BURST, rate: int = limits.STREAM_RATE, interval_s: float = _INTERVAL_S
    ) -> None:
        self._burst = burst
        self._refill = int(rate * interval_s)
        self._interval_s = interval_s
        self._tokens = burst
        self._begun_s: float | None = None
        self._ticks = 0
        """How many there were when the last piece was sent, or will have been."""

    def delay_s(self, size: int, *, now_s: float) -> float:
        """Take what a piece needs; return how long it has to wait before it may be sent.

        Args:
            size: Of the piece. It is taken at once, so that pieces may be asked for one after the other.
            now_s: The time, on any clock that does not go back.
        """
        if self._begun_s is None:
            self._begun_s = now_s
        past = int((now_s - self._begun_s) / self._interval_s) - self._ticks
        if past > 0:
            self._tick(past, self._burst)
        missing = size - self._tokens
        if missing > 0:
            self._tick(-(-missing // self._refill), max(self._burst, size))
        self._tokens -= size
        return max(0.0, self._begun_s + self._ticks * self._interval_s - now_s)

    def _tick(self, times: int, capacity: int) -> None:
        self._ticks += times
        self._tokens = min(capacity, self._tokens + times * self._refill)


class Throttle:
    """Holds one stream back to its bandwidth.

    Args:
        bandwidth: What it may have.
        clock: Tells the time, in seconds.
        sleep: Waits for so many seconds, or until an event is set.
    """

    def __init__(
        self,
        bandwidth: Bandwidth,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float, asyncio.Event], Awaitable[None]] = _sleep,
    ) -> None:
        self._bandwidth = bandwidth
        self._clock = clock
        self._sleep = sleep

    async def wait(self, size: int, gone: asyncio.Event) -> None:
        """Wait until a piece may be sent, or nobody waits for it any more."""
        delay_s = self._bandwidth.delay_s(size, now_s=self._clock())
        if delay_s > 0:
            await self._sleep(delay_s, gone)
