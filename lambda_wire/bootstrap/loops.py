"""The event loop of async handlers, for a runtime that runs one invocation at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["EventLoop", "Loop", "settled"]

_T = TypeVar("_T")


class Loop(Protocol):
    """Where async handlers run, seen by the thread that serves one."""

    def run(self, work: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio leaves open
        """Run ``work`` to its end, with the context variables of this thread."""

    async def post(self, say: Callable[[], _T]) -> _T:
        """Have something said to the service, on behalf of ``work``."""
        ...


class EventLoop:
    """A loop of its own, made when the first async handler needs it, and kept across invocations."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio leaves open
        """Run ``work`` to its end, with the context variables of this thread."""
        import asyncio

        if self._runner is None:
            self._runner = asyncio.Runner()
        faults: list[BaseException] = []
        try:
            self._runner.run(settled(work, faults), context=copy_context())
            if faults:
                raise faults.pop()
        except (SystemExit, KeyboardInterrupt):  # raised in the loop: the handler's ``finally`` clauses run now
            loop = self._runner.get_loop()
            loop.run_until_complete(_cancel(asyncio.all_tasks(loop)))
            raise

    async def post(self, say: Callable[[], _T]) -> _T:
        """Say it here and now."""
        return say()

    def close(self) -> None:
        """Cancel what still runs and close the loop."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


async def settled(
    work: Coroutine[Any, Any, None], faults: list[BaseException]
) -> None:  # Any: what asyncio leaves open
    """Put what ``work`` raises into ``faults``.

    Raised in the loop, some of it would end the loop; and asyncio would hold it, with all that the handler held, until
    the garbage collector comes. So would Python 3.11 what a coroutine returns.
    """
    try:
        await work
    except BaseException as fault:  # noqa: BLE001  # raised by who waits
        faults.append(fault)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:  # Any: what tasks return
    import asyncio

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
