"""The event loop of async handlers: one for the process, in a thread of its own, made when the first of them needs it.

Then ``asyncio`` is imported, too. Until it is closed it runs on, and with it whatever handlers have left there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from lambda_wire.bootstrap.stopping import Stopped

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

__all__ = ["EventLoop", "Work"]


class Work:
    """A coroutine that runs in the loop, for a thread that waits.

    What it raises is kept here. Raised in the loop, some of it would end the loop; and asyncio would hold it, with all
    that the handler held, until the garbage collector comes. So would Python 3.11 what a coroutine returns.

    Args:
        coroutine: It.
        done: Called when it has ended, and ``ended`` is set.

    Attributes:
        faults: What it has raised, at most one.
        ended: Whether it has ended.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],  # Any: what asyncio leaves open
        done: Callable[[], None],
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self.faults: list[BaseException] = []
        self.ended: bool = False

    def begin_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run it as a task."""
        self._loop = loop
        loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> bool:
        """Cancel it; return whether it was let in, so that its end will come."""
        if self._loop is None:
            return False
        with suppress(RuntimeError):  # the loop has ended, and all with it
            self._loop.call_soon_threadsafe(self._cancel)
        return True

    def close(self) -> None:
        """Let go of what will not begin."""
        self._coroutine.close()

    def _begin(self) -> None:
        assert self._loop is not None
        settled = self._settled()
        try:
            self._task = self._loop.create_task(settled)
        except BaseException as fault:  # noqa: BLE001  # a handler may have set any task factory
            settled.close()
            self.faults.append(fault)
            self._end(None)
        else:
            self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _settled(self) -> None:
        try:
            await self._coroutine
        except BaseException as fault:  # noqa: BLE001  # raised by who waits
            self.faults.append(fault)

    def _end(self, task: asyncio.Task[None] | None) -> None:
        import asyncio

        self.close()  # it has not begun, if it was cancelled before
        if task is not None and task.cancelled():
            self.faults.append(asyncio.CancelledError())
        self.ended = True
        self._done()


class EventLoop:
    """The loop, and its thread. ``asyncio`` is imported with the first work.

    Args:
        ended_by: Told of what a task raised to end the process, such as ``SystemExit``, when nobody waits for the task.

    Attributes:
        closed: Whether it takes no more work.
    """

    def __init__(self, ended_by: Callable[[BaseException], None]) -> None:
        self._ended_by = ended_by
        self._changing = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._closing: asyncio.Event
        self.closed: bool = False

    def start(self, work: Work) -> None:
        """Let ``work`` in, with the context variables of this thread.

        Raises:
            Stopped: The loop was closed.
            Exception: It cannot be made, for want of file descriptors or threads.
        """
        with self._changing:
            try:
                if self.closed:
                    raise Stopped("the runtime has ended")
                self._loop = self._loop or self._made()
            except BaseException:
                work.close()
                raise
            work.begin_in(self._loop)

    def close(self, seconds: float) -> None:
        """Cancel what still runs, and wait for it, but no longer than that."""
        with self._changing:
            was_closed, self.closed = self.closed, True
        if self._loop is not None and self._thread is not None:
            if not was_closed:
                with suppress(RuntimeError):  # it ends by itself just now
                    self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(seconds)

    def _made(self) -> asyncio.AbstractEventLoop:
        from concurrent.futures import Future

        made: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = Thread(target=self._run, args=(made,), name="lambda-wire-loop", daemon=True)
        self._thread.start()
        return made.result()

    def _run(self, made: Future[asyncio.AbstractEventLoop]) -> None:
        import asyncio

        runner = asyncio.Runner()
        try:
            runner.get_loop()
        except BaseException as fault:  # noqa: BLE001  # raised by who needs the loop
            made.set_exception(fault)
            del made  # the traceback of ``fault`` holds this frame
            return
        with runner:
            try:
                runner.run(self._until_closed(made))
            except (SystemExit, KeyboardInterrupt) as fault:  # of a task that nobody waits for
                with self._changing:
                    self.closed = True
                self._ended_by(fault)
            except RuntimeError:  # a handler has stopped it: the next one has another
                with self._changing:
                    self._loop = None
            runner.run(asyncio.sleep(0))  # lets begin what was let in before: it is cancelled with the others

    async def _until_closed(self, made: Future[asyncio.AbstractEventLoop]) -> None:
        import asyncio

        self._closing = asyncio.Event()
        made.set_result(asyncio.get_running_loop())
        await self._closing.wait()
