"""An embedded Lambda inside another program: its event loop in one thread, its function in others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import TypeVar

from lambda_wire._errors import ProtocolError, RequestRefused
from lambda_wire.local.call import Call
from lambda_wire.local.failures import describe_exit
from lambda_wire.sync import Runtime, connect

__all__ = ["LoopThread", "ThreadWorker"]

_T = TypeVar("_T")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lambda-wire-local", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def call(self, what: Callable[[Call], object], call: Call) -> None:
        """Have something done in the loop."""
        self._loop.call_soon_threadsafe(what, call)

    def discard(self, call: Call) -> None:
        """Throw away what a call still brings; nothing, when the loop was stopped."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call.discard)

    def start(self, what: Coroutine[object, object, _T]) -> concurrent.futures.Future[_T] | None:
        """Run a coroutine in the loop; ``None`` when that was stopped."""
        if self._loop.is_closed():
            what.close()
            return None
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def wait(self, what: Coroutine[object, object, _T]) -> _T:
        """Run a coroutine in the loop and return its result."""
        started = self.start(what)
        if started is None:
            raise RuntimeError("a LocalLambda works inside its with block only")
        return started.result()

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class ThreadWorker:
    """A handler that is served in a thread of this process. It ends when its Runtime API goes away."""

    def __init__(self, serve: Callable[[Runtime], None], address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self.thread: threading.Thread = threading.Thread(
            target=self._serve, args=(serve, address), name="lambda-wire-handler", daemon=True
        )
        self.thread.start()

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when the thread is about to end."""
        return self._ended

    def drain(self) -> None:
        """Nothing: what a thread prints is the process's own output, and cannot be told apart."""

    async def stop(self) -> None:
        """Nothing: see the class."""

    async def kill(self) -> None:
        """Nothing: see the class."""

    def _serve(self, serve: Callable[[Runtime], None], address: str) -> None:
        how = describe_exit(0)
        try:
            with connect(address) as runtime:
                serve(runtime)
        except SystemExit as exit_:
            how = describe_exit(exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None))
        except (RequestRefused, ProtocolError):
            pass  # the environment was replaced
        except BaseException as fault:  # noqa: BLE001  # the thread ends, whatever the handler raised, and its caller is told
            how = f"Runtime exited with error: {''.join(traceback.format_exception_only(fault)).strip()}"
        finally:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants to know
                self._loop.call_soon_threadsafe(self._say, how)

    def _say(self, how: str) -> None:
        if not self._ended.done():
            self._ended.set_result(how)
