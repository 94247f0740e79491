"""A runtime that was started: a worker and the Runtime API that it uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, Self, TypeVar

from lambda_wire.local.handover import Handover
from lambda_wire.local.modes import Mode
from lambda_wire.local.runtime_api import RuntimeApi
from lambda_wire.local.worker import Launch, Worker

__all__ = ["LAST_WORDS_S", "LaunchedRuntime", "Seen"]

_T = TypeVar("_T")

LAST_WORDS_S: Final = 2.0
"""How long a runtime that has failed may take to end by itself."""


class Seen(Enum):
    """What a runtime did while it was watched."""

    DONE = "DONE"
    ENDED = "ENDED"
    NOTHING = "NOTHING"


class LaunchedRuntime:
    """Made by ``start``.

    Attributes:
        api: Where the worker asks.
        worker: What asks there.
    """

    def __init__(self, mode: Mode, api: RuntimeApi, worker: Worker) -> None:
        self._mode = mode
        self.api: RuntimeApi = api
        self.worker: Worker = worker

    @classmethod
    async def start(cls, mode: Mode, launch: Launch, hear: Callable[[bytes], None]) -> Self:
        """Start both.

        Raises:
            OSError: That cannot be done.
        """
        api = await RuntimeApi.open(mode)
        try:
            return cls(mode, api, await launch(api.address, hear))
        except BaseException:
            await api.close()
            raise

    @property
    def outlives_deadlines(self) -> bool:
        """Whether it goes on when a deadline has passed."""
        return self._mode.outlives_deadlines

    def fresh_invocation_id(self) -> str:
        """Return the id of a new attempt; empty when attempts have none."""
        return self._mode.fresh_invocation_id()

    async def watch(self, what: asyncio.Future[_T], seconds: float) -> Seen:
        """Wait until something is done, or the worker ends, but not for ever."""
        either: set[asyncio.Future[_T] | asyncio.Future[str]] = {what, self.worker.ended}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if what.done():
            return Seen.DONE
        return Seen.ENDED if self.worker.ended.done() else Seen.NOTHING

    async def run(self, handover: Handover, timeout_s: float) -> Seen:
        """Have a call run; say whether the runtime was done with it, or ended; ``NOTHING`` is neither in time."""
        self.api.hand_over(handover)
        seen = await self.watch(handover.sent, timeout_s)
        if seen is not Seen.DONE:
            self.api.take_back(handover)
            return seen
        deadline = time.monotonic() + timeout_s
        seen = await self.watch(handover.over, timeout_s)
        if self.outlives_deadlines:
            return await self._leave(handover, seen)
        if seen is Seen.ENDED and not await _within(self.api.finished(), deadline - time.monotonic()):
            return Seen.NOTHING
        return seen

    async def _leave(self, handover: Handover, seen: Seen) -> Seen:
        """Let the runtime go on without a call, whose answer comes too late from now on, or came in part (RS-END-7)."""
        if seen is Seen.NOTHING:
            await self.api.expire(handover)
            return Seen.DONE if handover.call.ended else seen
        if seen is Seen.DONE and not handover.call.ended:  # its answer was lost: was that because the runtime ends?
            await self.ended_within(LAST_WORDS_S)
        if self.worker.ended.done() and not handover.call.ended:
            await _within(self.api.finished(), LAST_WORDS_S)
        if handover.call.ended:
            return Seen.DONE
        return Seen.ENDED if self.worker.ended.done() else seen

    async def ended_within(self, seconds: float) -> None:
        """Wait until it has ended, but not for ever."""
        await asyncio.wait({self.worker.ended}, timeout=seconds)

    async def end(self) -> None:
        """Kill it, if it lives, and close its connections."""
        if not self.worker.ended.done():
            await self.worker.kill()
        await self.api.close()


async def _within(what: Awaitable[None], seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await what
    except TimeoutError:
        return False
    return True
