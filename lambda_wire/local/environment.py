"""One execution environment: a Runtime API of its own, a worker that uses it, and one invocation after the other.

It is started by its first invocation, as Lambda's are, and lives until its runtime dies, cannot start, or exceeds a
deadline; then the next invocation gets a new one. So does an invocation that finds an idle runtime dying.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from enum import Enum
from typing import Final, Literal

from lambda_wire.local import failures
from lambda_wire.local.bandwidth import Bandwidth, Throttle
from lambda_wire.local.call import Call, Failure
from lambda_wire.local.report import Report
from lambda_wire.local.runtime_api import RuntimeApi
from lambda_wire.local.worker import FUNCTION_NAME, Launch, Worker

__all__ = ["Environment"]

#: A function may take this long to start, however short its timeout. Source: AWS docs, "Lambda execution environment".
_INIT_S: Final = 10.0
_LAST_WORDS_S: Final = 2.0
#: ``Lambda-Runtime-Invoked-Function-Arn``; account and region are the emulator's.
_FUNCTION_ARN: Final = f"arn:aws:lambda:us-east-1:012345678912:function:{FUNCTION_NAME}"


class _Seen(Enum):
    """What the runtime did."""

    POLLED = "POLLED"
    INIT_ERROR = "INIT_ERROR"
    ENDED = "ENDED"
    NOTHING = "NOTHING"


class Environment:
    """Runs invocations one at a time.

    Args:
        timeout_s: Of the function.
        launch: Starts the worker.
        report: Where to say what happens.
        simulate_bandwidth: Whether streams are as slow as AWS's.
    """

    def __init__(self, timeout_s: float, launch: Launch, report: Report, *, simulate_bandwidth: bool = False) -> None:
        self._timeout_s = timeout_s
        self._launch = launch
        self._report = report
        self._simulate_bandwidth = simulate_bandwidth
        self._api: RuntimeApi | None = None
        self._worker: Worker | None = None
        self._call: Call | None = None
        self._announced = False

    @property
    def warm(self) -> bool:
        """Whether its runtime has been started and lives."""
        return self._worker is not None and not self._worker.ended.done()

    async def serve(self, call: Call) -> None:
        """Run one invocation to its end, which may be later than its response's; afterwards take another."""
        self._drain()  # what it wrote since the last one belongs to none
        self._call, self._announced = call, False
        if self._simulate_bandwidth:
            call.throttle = Throttle(Bandwidth())
        try:
            if self.warm and await self._invoke(call, None):
                return
            await self._discard()
            if call.ended:
                return
            init_s = await self._start(call)
            if not call.ended:
                await self._invoke(call, init_s)
        finally:
            call.end(failures.sandbox_failed(call.request_id))  # whatever else happened: nobody is left waiting
            call.close_log()
            self._call = None

    async def stop(self) -> None:
        """End the runtime: an idle one is asked to, a busy one is killed, as AWS does; its caller is told."""
        if self._call is not None:
            self._call.end(failures.stopped(self._call.request_id))
        elif self._worker is not None:
            await self._worker.stop()
        await self._discard()

    # -- init

    async def _start(self, call: Call) -> float:
        """Start a runtime and wait for its first poll; return how long it took. When it fails, the call is told."""
        before = time.monotonic()
        limit_s = max(_INIT_S, self._timeout_s)
        try:
            api = self._api = await RuntimeApi.open()
            worker = self._worker = await self._launch(api.address, self._hear)
        except OSError as fault:
            await self._fail(call, failures.no_entrypoint(call.request_id, str(fault)), before)
            return 0.0
        match await self._watch_init(call, api, worker, limit_s):
            case _Seen.INIT_ERROR:
                await self._fail(call, api.init_failure, before)
            case _Seen.ENDED:
                await self._fail(call, failures.exited(call.request_id, worker.ended.result()), before)
            case _Seen.NOTHING:
                await self._fail(call, failures.init_timed_out(call.request_id, limit_s), before)
            case _Seen.POLLED:
                pass
        return time.monotonic() - before

    async def _watch_init(self, call: Call, api: RuntimeApi, worker: Worker, limit_s: float) -> _Seen:
        """Wait until the runtime is ready or will never be. A command that is none waits for ever: say so early."""
        seen = await _watch(api, worker, _INIT_S)
        if seen is _Seen.NOTHING:
            self._report.warn(call, f"The runtime has not asked for work for {_INIT_S:g} s: is it a Lambda runtime?")
            seen = await _watch(api, worker, limit_s - _INIT_S)
        return seen

    async def _fail(self, call: Call, failure: Failure | None, started_at: float) -> None:
        """End the call; let the runtime say its last words before it is replaced."""
        call.end(failure)
        verdict = call.failure
        status = verdict.status if verdict else "error"
        if self._worker is not None and status != "timeout":
            await asyncio.wait({self._worker.ended}, timeout=_LAST_WORDS_S)
        await self._discard()
        self._announce(call)
        self._report.failed(call, verdict)
        self._report.ended(call, started_at=started_at, init_s=time.monotonic() - started_at, status=status)

    # -- invoke

    def _announce(self, call: Call) -> None:
        """Say that the call begins; once, although it may have to begin anew."""
        if not self._announced:
            self._announced = True
            self._drain()
            self._report.started(call)

    async def _invoke(self, call: Call, init_s: float | None) -> bool:
        """Run a call; ``False`` when nothing happened, because an idle runtime died before it was told of it."""
        api, worker, timeout_s = self._api, self._worker, self._timeout_s
        assert api is not None
        assert worker is not None
        started_at = time.monotonic()
        self._announce(call)
        seen = await _watch(api, worker, timeout_s)  # its poll waits already, unless its connection has just ended
        if seen is _Seen.POLLED:
            deadline_ms = int((time.time() + timeout_s) * 1000)
            api.hand_over(call, call.invocation(function_arn=_FUNCTION_ARN, deadline_ms=deadline_ms))
            deadline = time.monotonic() + timeout_s
            seen = await _watch(api, worker, timeout_s)
            if seen is _Seen.ENDED and not await _within(api.finished(), deadline - time.monotonic()):
                seen = _Seen.NOTHING
        if seen is _Seen.ENDED and init_s is None and not call.ended and not api.has_sent(call):
            return False
        if seen is _Seen.POLLED:
            call.end(failures.truncated(call.request_id))
            verdict = call.failure
        else:
            await self._discard()
            verdict = self._end_of(seen, call, worker)
            call.end(verdict)
            verdict = call.failure or verdict
        self._drain()
        self._report.failed(call, verdict)
        self._report.ended(call, started_at=started_at, init_s=init_s, status=verdict.status if verdict else "success")
        return True

    def _end_of(self, seen: _Seen, call: Call, worker: Worker) -> Failure:
        if seen is _Seen.NOTHING:
            return failures.timed_out(call.request_id, self._timeout_s)
        return failures.exited(call.request_id, worker.ended.result())

    # -- the log

    def _hear(self, data: bytes) -> None:
        """Take what the runtime has written."""
        if self._call is not None:
            self._call.log.write(data)

    def _drain(self) -> None:
        """Hear everything that the runtime wrote before it said what we have just learned from it."""
        if self._worker is not None:
            self._worker.drain()

    async def _discard(self) -> None:
        """End what is left of the runtime; the next invocation starts another."""
        api, worker = self._api, self._worker
        self._api, self._worker = None, None
        if worker is not None:
            await worker.kill()
        if api is not None:
            await api.close()


async def _watch(api: RuntimeApi, worker: Worker, seconds: float) -> _Seen:
    """Wait until the runtime polls, reports that it cannot start, or ends."""
    deadline = time.monotonic() + seconds
    while True:
        news = asyncio.get_running_loop().create_task(api.news.wait())
        either: set[asyncio.Future[Literal[True]] | asyncio.Future[str]] = {news, worker.ended}
        try:
            timeout = max(0.0, deadline - time.monotonic())
            happened, _ = await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        if api.init_failure is not None:
            return _Seen.INIT_ERROR
        if worker.ended.done():
            return _Seen.ENDED
        if api.news.is_set():
            return _Seen.POLLED
        if not happened:
            return _Seen.NOTHING
        # there was a poll, and before we came to it its connection ended: another may follow, or the runtime's end


async def _within(what: Awaitable[None], seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await what
    except TimeoutError:
        return False
    return True
