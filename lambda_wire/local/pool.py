"""The environments of one function: each has a slot for every caller that it serves at once; others wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from lambda_wire.local import failures
from lambda_wire.local.call import Call
from lambda_wire.local.environment import Environment

__all__ = ["Pool"]


class Pool:
    """Gives calls to environments, in the order they came; a warm one is preferred to one that must be started.

    Args:
        environments: All there are; none is added.
        slots: How many calls each of them takes at once.
    """

    def __init__(self, environments: Sequence[Environment], *, slots: int = 1) -> None:
        self._all = tuple(environments)
        self._idle = [environment for environment in environments for _ in range(slots)]
        """An environment for each of its slots that is free."""
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def submit(self, call: Call) -> None:
        """Run a call as soon as there is an environment for it."""
        if self._stopped:
            _refuse(call)
            return
        self._waiting.append(call)
        self._assign()

    def _assign(self) -> None:
        while self._waiting and self._idle and not self._stopped:
            environment = next((idle for idle in reversed(self._idle) if idle.warm), self._idle[-1])
            self._idle.remove(environment)
            task = asyncio.get_running_loop().create_task(self._run(environment, self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, environment: Environment, call: Call) -> None:
        try:
            await environment.serve(call)
        finally:
            self._idle.append(environment)
            self._assign()

    async def stop(self) -> None:
        """End all environments; callers that still wait are told."""
        self._stopped = True
        while self._waiting:
            _refuse(self._waiting.popleft())
        await asyncio.gather(*(environment.stop() for environment in self._all))
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(environment.stop() for environment in self._all))


def _refuse(call: Call) -> None:
    call.end(failures.stopped(call.request_id))
    call.close_log()
