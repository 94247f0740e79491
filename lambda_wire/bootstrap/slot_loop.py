"""The event loop, seen by a thread that serves one invocation at a time: the main thread, or that of a slot.

It waits until its async handler has ended. What such a handler says to the service may block until a slow reader has
taken it. In the loop that would hold up all others, so it is said by the thread that waits: each connection is used by
one thread, whatever its handler is. One that is alone, and has no time limit, holds up nobody: what it says is said in
the loop, which saves two changes of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from lambda_wire._errors import LocalProtocolError
from lambda_wire.bootstrap.event_loop import EventLoop, Work
from lambda_wire.bootstrap.failures import is_cancellation
from lambda_wire.bootstrap.stopping import CLEANUP_S, Stopped

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["SlotLoop"]

#: How long what is said in the loop may go on without a turn for what else runs there, such as a cancellation. A turn
#: costs as much as what is said.
_TURN_S: Final = 0.001
#: How long the loop of a handler that is alone waits for what it says, before others have a turn: most is said sooner.
_PATIENCE_S: Final = 0.05
_T = TypeVar("_T")
_Asks: TypeAlias = "SimpleQueue[tuple[Future[Any], Callable[[], object]] | None]"  # Any: what is said gives anything


class SlotLoop:
    """The loop as one thread sees it that serves one invocation at a time.

    Args:
        loop: It.
        alone: Whether no other thread uses it, so that it may be held up.
        limited: Whether handlers have a time limit, which must act while something is said.
    """

    def __init__(self, loop: EventLoop, *, alone: bool = False, limited: bool = False) -> None:
        self._loop = loop
        self._alone = alone
        self._speaks = limited or not alone
        self._turn_at: float | None = None
        self._changing = Lock()
        self._asks: _Asks | None = None

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio leaves open
        """Run it to its end, and say meanwhile what it posts.

        A signal that interrupts this thread cancels it; it then has ``CLEANUP_S`` to end.

        Raises:
            Stopped: The loop was closed, and has cancelled it.
            BaseException: What it raised, or the signal's handler, unless it has ended as if nothing were.
        """
        interruptions: list[BaseException] = []
        asks: _Asks = SimpleQueue()
        work = Work(coroutine, lambda: asks.put(None))
        self._asks = asks if self._speaks else None
        self._turn_at = None
        try:
            try:
                self._loop.start(work)
                while (ask := asks.get()) is not None:
                    _say(*ask)
            except BaseException as fault:
                interruptions.append(fault)
                if not (work.cancel() and _ends_soon(work, asks)):
                    raise
        finally:
            self._stop_listening(asks)
        faults = work.faults
        if faults and is_cancellation(faults[0]) and (interruptions or self._loop.closed):
            reason = faults.pop()
            raise (interruptions.pop() if interruptions else Stopped("the runtime has ended")) from reason
        if faults:
            raise faults.pop()
        if interruptions and not isinstance(interruptions[0], Stopped):
            raise interruptions.pop()

    async def post(self, say: Callable[[], _T]) -> _T:
        """Have it said by the thread that waits in ``run``; if none does, here and now."""
        import asyncio

        if self._alone:
            await self._turn()
        said = self._asked(say)
        if said is None:
            return say()
        try:
            if self._alone:
                with suppress(TimeoutError):  # of this wait; one of ``say`` is raised again
                    return said.result(_PATIENCE_S)
            return await asyncio.wrap_future(said)
        finally:
            del said  # a traceback in it holds this frame

    async def _turn(self) -> None:
        """Give what else runs here a turn, when the last was long ago; not before the first word."""
        import asyncio

        due_at, now = self._turn_at, time.monotonic()
        if due_at is None or now >= due_at:
            self._turn_at = now + _TURN_S
            if due_at is not None:
                await asyncio.sleep(0)

    def _asked(self, say: Callable[[], _T]) -> Future[_T] | None:
        """Ask the thread that waits in ``run``, if one does."""
        with self._changing:
            if self._asks is None:
                return None
            from concurrent.futures import Future

            said: Future[_T] = Future()
            self._asks.put((said, say))
            return said

    def _stop_listening(self, asks: _Asks) -> None:
        with self._changing:
            self._asks = None
        while not asks.empty():
            ask = asks.get()
            if ask is not None and ask[0].set_running_or_notify_cancel():
                ask[0].set_exception(LocalProtocolError("the invocation has ended: nothing more can be said"))


def _say(said: Future[Any], say: Callable[[], object]) -> None:  # Any: what it gives
    """Say it, unless nobody waits any more."""
    if said.set_running_or_notify_cancel():
        try:
            given = say()
        except BaseException as fault:  # noqa: BLE001  # raised where it was asked for
            said.set_exception(fault)
            del said  # the traceback of ``fault`` holds this frame
        else:
            said.set_result(given)


def _ends_soon(work: Work, asks: _Asks) -> bool:
    """Say what is asked for, and whether the end came in time."""
    deadline = time.monotonic() + CLEANUP_S
    try:
        while not work.ended:
            if (ask := asks.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
                _say(*ask)
    except Empty:
        return False
    return True
