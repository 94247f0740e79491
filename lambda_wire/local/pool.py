"""The environments of one function: each has a slot for every caller that it serves at once; others wait.

Who leaves meanwhile is not served: AWS would have called the function at once, for a caller who was still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from lambda_wire.local import failures
from lambda_wire.local.call import Call
from lambda_wire.local.callers import Caller
from lambda_wire.local.environment import Environment
from lambda_wire.local.report import Report

__all__ = ["Pool"]

#: A call may wait so long before that is said: a caller's next one often comes before the runtime has polled again.
_UNNOTICED_S: Final = 0.5
_LEFT: Final = "The caller left while this call waited: the function is not called."


class Pool:
    """Gives calls to environments, in the order they came; a warm one is preferred to one that must be started.

    Args:
        environments: All there are; none is added.
        report: Where to say that calls wait.
        slots: How many calls each of them takes at once.
    """

    def __init__(self, environments: Sequence[Environment], report: Report, *, slots: int = 1) -> None:
        self._all = tuple(environments)
        self._idle = [environment for environment in environments for _ in range(slots)]
        """An environment for each of its slots that is free."""
        self._report = report
        self._waiting: dict[Call, asyncio.Future[None]] = {}
        """The queue: each call, and what is done once it has left it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._advised = False

    async def begin(self, call: Call, caller: Caller) -> bool:
        """Run a call for who waits for it; ``False`` when he left before it had begun: then it never will."""
        if await caller.stays_for(self.submit(call)):
            return True
        del self._waiting[call]
        caller.cut()
        self._report.warn(call, _LEFT)
        return False

    def submit(self, call: Call) -> asyncio.Future[None]:
        """Run a call as soon as there is an environment for it; return what is done once it waits no more."""
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] = loop.create_future()
        self._waiting[call] = begun
        self._assign()
        if not begun.done():
            loop.call_later(_UNNOTICED_S, self._advise, call)
        return begun

    def _advise(self, call: Call) -> None:
        """Say that a call waits, if it still does, and what helps: once, whoever waits later."""
        if call in self._waiting and not self._advised:
            self._advised = True
            busy = "The environment is" if len(self._all) == 1 else f"All {len(self._all)} environments are"
            self._report.warn(call, f"{busy} busy: this call waits. --environments N serves more at once.")

    def _assign(self) -> None:
        while self._stopped and self._waiting:
            _refuse(self._next())
        while self._waiting and self._idle:
            environment = next((idle for idle in reversed(self._idle) if idle.warm), self._idle[-1])
            self._idle.remove(environment)
            task = asyncio.get_running_loop().create_task(self._run(environment, self._next()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> Call:
        call = next(iter(self._waiting))
        self._waiting.pop(call).set_result(None)
        return call

    async def _run(self, environment: Environment, call: Call) -> None:
        try:
            await environment.serve(call)
        finally:
            self._idle.append(environment)
            self._assign()

    async def stop(self) -> None:
        """End all environments; callers that still wait are told."""
        self._stopped = True
        self._assign()
        await asyncio.gather(*(environment.stop() for environment in self._all))
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(environment.stop() for environment in self._all))


def _refuse(call: Call) -> None:
    call.end(failures.stopped(call.request_id))
    call.close_log()
