"""One execution environment: a runtime of its own, and the invocations that it runs.

It is started by its first invocation, as Lambda's are, and lives until its runtime dies, cannot start, or, in standard
mode, exceeds a deadline; then the next invocation gets a new one. So does an invocation that finds an idle runtime
dying.

With more than one slot it is a managed instance, which takes as many invocations at once as it has slots. What its
runtime writes cannot be told apart then: the log of every invocation that runs gets it. The emulator refuses an
invocation at once for which no poll waits (``Runtime.Unavailable``); here it waits for one, as long as it may run, and
then fails by that name.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from lambda_wire.local import failures
from lambda_wire.local.bandwidth import Bandwidth, Throttle
from lambda_wire.local.call import Call, Failure
from lambda_wire.local.handover import Handover
from lambda_wire.local.launched import LAST_WORDS_S, LaunchedRuntime, Seen
from lambda_wire.local.modes import ManagedMode, Mode, StandardMode
from lambda_wire.local.report import Report
from lambda_wire.local.worker import FUNCTION_NAME, Launch

__all__ = ["Environment"]

#: A function may take this long to start, however short its timeout (LI-TIME-2).
_INIT_S: Final = 10.0
#: ``Lambda-Runtime-Invoked-Function-Arn``; account and region are the emulator's.
_FUNCTION_ARN: Final = f"arn:aws:lambda:us-east-1:012345678912:function:{FUNCTION_NAME}"


class Environment:
    """Runs invocations, no more at a time than it has slots: whoever calls ``serve`` sees to that.

    Args:
        timeout_s: Of the function.
        launch: Starts the worker.
        report: Where to say what happens.
        concurrency: How many slots it has.
        simulate_bandwidth: Whether streams are as slow as AWS's.
    """

    def __init__(
        self,
        timeout_s: float,
        launch: Launch,
        report: Report,
        *,
        concurrency: int = 1,
        simulate_bandwidth: bool = False,
    ) -> None:
        self._timeout_s = timeout_s
        self._launch = launch
        self._report = report
        self._concurrency = concurrency
        self._simulate_bandwidth = simulate_bandwidth
        self._runtime: LaunchedRuntime | None = None
        self._starting = asyncio.Lock()
        self._calls: dict[str, Call] = {}
        self._announced: set[str] = set()

    @property
    def warm(self) -> bool:
        """Whether its runtime lives, or is being started."""
        return self._starting.locked() or self._lives

    @property
    def _lives(self) -> bool:
        return self._runtime is not None and not self._runtime.worker.ended.done()

    async def serve(self, call: Call) -> None:
        """Run one invocation to its end, which may be later than its response's; afterwards its slot is free."""
        self._drain()  # what was written before belongs to others, or to none
        if call.request_id in self._calls:
            call.end(failures.duplicated(call.request_id))
            call.close_log()
            self._report.failed(call, call.failure)
            return
        self._calls[call.request_id] = call
        if self._simulate_bandwidth:
            call.throttle = Throttle(Bandwidth())
        try:
            await self._serve(call)
        finally:
            call.end(failures.sandbox_failed(call.request_id))  # whatever else happened: nobody is left waiting
            call.close_log()
            self._announced.discard(call.request_id)
            del self._calls[call.request_id]

    async def _serve(self, call: Call) -> None:
        for last in (False, True):
            async with self._starting:
                init_s = None if self._lives or call.ended else await self._start(call)
            runtime = self._runtime
            if call.ended or runtime is None:
                return
            if await self._invoke(call, runtime, init_s, last=last or init_s is not None):
                return

    async def stop(self) -> None:
        """End the runtime: an idle one is asked to, a busy one is killed, as AWS does; its callers are told."""
        for call in self._calls.values():
            call.end(failures.stopped(call.request_id))
        if self._runtime is not None and not self._calls:
            await self._runtime.worker.stop()
        await self._discard(self._runtime)

    # -- init

    async def _start(self, call: Call) -> float:
        """Start a runtime and wait for its first poll; return how long it took. When it fails, the call is told."""
        await self._discard(self._runtime)
        before = time.monotonic()
        limit_s = max(_INIT_S, self._timeout_s)
        mode: Mode = ManagedMode() if self._concurrency > 1 else StandardMode()
        try:
            runtime = self._runtime = await LaunchedRuntime.start(mode, self._launch, self._hear)
        except OSError as fault:
            await self._fail(call, failures.no_entrypoint(call.request_id, str(fault)), before)
            return 0.0
        match await self._watch_init(call, runtime, limit_s):
            case Seen.DONE:
                failure = runtime.api.ready.result()
            case Seen.ENDED:
                failure = failures.exited(call.request_id, runtime.worker.ended.result())
            case Seen.NOTHING:
                failure = failures.init_timed_out(call.request_id, limit_s)
        if failure is not None:
            await self._fail(call, failure, before)
        return time.monotonic() - before

    async def _watch_init(self, call: Call, runtime: LaunchedRuntime, limit_s: float) -> Seen:
        """Wait until the runtime is ready or will never be. A command that is none waits for ever: say so early."""
        seen = await runtime.watch(runtime.api.ready, _INIT_S)
        if seen is Seen.NOTHING:
            self._report.warn(call, f"The runtime has not asked for work for {_INIT_S:g} s: is it a Lambda runtime?")
            seen = await runtime.watch(runtime.api.ready, limit_s - _INIT_S)
        return seen

    async def _fail(self, call: Call, failure: Failure, started_at: float) -> None:
        """End the call; let the runtime say its last words before it is replaced."""
        call.end(failure)
        verdict = call.failure
        status = verdict.status if verdict else "error"
        if self._runtime is not None and status != "timeout":
            await self._runtime.ended_within(LAST_WORDS_S)
        await self._discard(self._runtime)
        self._announce(call)
        self._report.failed(call, verdict)
        self._report.ended(call, started_at=started_at, init_s=time.monotonic() - started_at, status=status)

    # -- invoke

    def _announce(self, call: Call) -> None:
        """Say that the call begins; once, although it may have to begin anew."""
        if call.request_id not in self._announced:
            self._announced.add(call.request_id)
            self._drain()
            self._report.started(call)

    async def _invoke(self, call: Call, runtime: LaunchedRuntime, init_s: float | None, *, last: bool) -> bool:
        """Run a call; ``False`` when nothing happened, because the runtime died before it was told of it.

        Args:
            call: What to run.
            runtime: Where.
            init_s: How long that took to start, if it was started for this call.
            last: Whether its death is the end of the call in any case.
        """
        started_at = time.monotonic()
        self._announce(call)
        invocation = call.invocation(function_arn=_FUNCTION_ARN, invocation_id=runtime.fresh_invocation_id())
        handover = Handover(call, invocation, timeout_s=self._timeout_s)
        seen = await runtime.run(handover, self._timeout_s)
        if seen is Seen.ENDED and not (last or call.ended or handover.was_sent):
            return False
        if seen is Seen.DONE:
            call.end(failures.truncated(call.request_id))
            verdict = call.failure
        else:
            if seen is Seen.ENDED or not runtime.outlives_deadlines:
                await self._discard(runtime)
            verdict = self._end_of(seen, handover, runtime)
            call.end(verdict)
            verdict = call.failure or verdict
        self._drain()
        self._report.failed(call, verdict)
        self._report.ended(call, started_at=started_at, init_s=init_s, status=verdict.status if verdict else "success")
        return True

    def _end_of(self, seen: Seen, handover: Handover, runtime: LaunchedRuntime) -> Failure:
        request_id = handover.call.request_id
        if seen is Seen.ENDED:
            return failures.exited(request_id, runtime.worker.ended.result())
        if runtime.outlives_deadlines and not handover.was_sent:
            return failures.unavailable(request_id, self._timeout_s)
        return failures.timed_out(request_id, self._timeout_s)

    # -- the log

    def _hear(self, data: bytes) -> None:
        """Take what the runtime has written."""
        for call in self._calls.values():
            call.log.write(data)

    def _drain(self) -> None:
        """Hear everything that the runtime wrote before it said what we have just learned from it."""
        if self._runtime is not None:
            self._runtime.worker.drain()

    async def _discard(self, runtime: LaunchedRuntime | None) -> None:
        """End what is left of a runtime; the next invocation starts another."""
        if self._runtime is runtime:
            self._runtime = None
        if runtime is not None:
            await runtime.end()
