"""The event loop of async handlers that many slots share.

Whatever is said to the service may block until a slow reader has taken it. In the loop that would hold up every slot,
so it is said by the thread of the slot, which waits for its handler and has nothing else to do. So each connection is
used by one thread, whatever its handler is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from lambda_wire.bootstrap.loops import settled
from lambda_wire.bootstrap.stopping import Stopped

__all__ = ["SharedLoop", "SlotLoop"]

_T = TypeVar("_T")


class SharedLoop:
    """One loop for many slots, in a thread of its own, made when the first async handler needs it.

    Args:
        ended_by: Told of what a task raised to end the process, such as ``SystemExit``.

    Attributes:
        closed: Whether it takes no more work.
    """

    def __init__(self, ended_by: Callable[[BaseException], None]) -> None:
        self._ended_by = ended_by
        self._changing = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="lambda-wire-loop", daemon=True)
        self._made: Future[asyncio.AbstractEventLoop] = Future()
        self.closed: bool = False

    def start(
        self,
        work: Coroutine[Any, Any, None],  # Any: what asyncio leaves open
        faults: list[BaseException],
    ) -> Future[None]:
        """Run ``work`` as a task, with the context variables of this thread; what it raises is put into ``faults``.

        Raises:
            Stopped: The loop was closed.
        """
        with self._changing:
            if self.closed:
                work.close()
                raise Stopped("the runtime has ended")
            if self._loop is None:
                self._thread.start()
                self._loop = self._made.result()
            return asyncio.run_coroutine_threadsafe(settled(work, faults), self._loop)

    def close(self, seconds: float) -> None:
        """Cancel what still runs, and wait for it, but no longer than that."""
        with self._changing:
            was_closed, self.closed = self.closed, True
        if self._loop is not None:
            if not was_closed:
                self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(seconds)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._until_closed())
            except (SystemExit, KeyboardInterrupt) as fault:  # of a task that no slot waits for
                with self._changing:
                    self.closed = True
                self._ended_by(fault)
                runner.run(asyncio.sleep(0))  # lets begin what was let in before: it is cancelled with the others

    async def _until_closed(self) -> None:
        self._closing = asyncio.Event()
        self._made.set_result(asyncio.get_running_loop())
        await self._closing.wait()


class SlotLoop:
    """The shared loop as one slot sees it."""

    def __init__(self, shared: SharedLoop) -> None:
        self._shared = shared
        self._asks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, work: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio leaves open
        """Run ``work`` to its end, and say meanwhile what it posts.

        Raises:
            Stopped: The loop was closed, and has cancelled ``work``.
            BaseException: What ``work`` raised.
        """
        faults: list[BaseException] = []
        self._shared.start(work, faults).add_done_callback(lambda _: self._asks.put(None))
        while (ask := self._asks.get()) is not None:
            ask()
        if faults and self._shared.closed and isinstance(faults[0], asyncio.CancelledError):
            raise Stopped("the runtime has ended") from faults.pop()
        if faults:
            raise faults.pop()

    async def post(self, say: Callable[[], _T]) -> _T:
        """Have it said by the thread that waits in ``run``."""
        said: Future[_T] = Future()
        self._asks.put(partial(_say, said, say))
        try:
            return await asyncio.wrap_future(said)
        finally:
            del said  # a traceback in it holds this frame


def _say(said: Future[_T], say: Callable[[], _T]) -> None:
    """Say it, unless nobody waits any more."""
    if said.set_running_or_notify_cancel():
        try:
            said.set_result(say())
        except BaseException as fault:  # noqa: BLE001  # raised where it was asked for
            said.set_exception(fault)
            del said  # the traceback of ``fault`` holds this frame
