"""Many invocations at once in one process: slots, each a thread that polls on a connection of its own.

A plain handler runs in the thread of its slot, an async one in the event loop that all slots share. A slot whose poll
fails tries again, later and later, and gives up in the end; the others never notice.

Sources: AWS docs, "Lambda Managed Instances": a runtime polls as many times at once as ``AWS_LAMBDA_MAX_CONCURRENCY``
says. The emulator of aws-sam-cli 1.170.0: an answer after the deadline is refused with 410, and the slot goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from threading import Condition, Event, Thread
from typing import Final, NoReturn

from lambda_wire._errors import ConnectionLost, ProtocolError, RequestRefused
from lambda_wire._events import Invocation
from lambda_wire.bootstrap.failures import Unanswerable, log_line
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.shared_loop import SharedLoop, SlotLoop
from lambda_wire.bootstrap.stopping import GRACE_S
from lambda_wire.sync import Runtime

__all__ = ["Slots"]

#: How long a slot waits after the first, second, ... of its polls that failed in a row; after one more it gives up.
_BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
#: How long async handlers that were cancelled may take to clean up and to be reported. See ``GRACE_S``.
_CLEANUP_S: Final = 0.1
_POLL_FAULTS: Final = (RequestRefused, ConnectionLost, ProtocolError)


class Slots:
    """Serves invocations in many slots at once.

    Args:
        invoker: Answers them.
        runtimes: One for each slot.
    """

    def __init__(self, invoker: Invoker, runtimes: Sequence[Runtime]) -> None:
        self._loop = SharedLoop(self.end)
        self._slots = [_Slot(invoker, runtime, self, self._loop) for runtime in runtimes]
        self._changed = Condition()
        self._left = len(runtimes)
        self._reasons: set[str] = set()
        self._end: BaseException | None = None
        self.stopping: Event = Event()
        """Set when no slot is to poll any more."""

    def serve(self) -> NoReturn:
        """Serve until the last slot has given up, or something ends the process. Signals are felt while it waits.

        Polls end at once then; invocations that run have their grace time, and async handlers are cancelled after it.

        Raises:
            RequestRefused, ConnectionLost, ProtocolError, Unanswerable: Why the last slot gave up.
            BaseException: What a handler or a signal raised to end the process, such as ``SystemExit``.
        """
        try:
            for slot in self._slots:
                slot.thread.start()
            with self._changed:
                self._changed.wait_for(lambda: self._end is not None)
        finally:
            self._stop()
        assert self._end is not None
        raise self._end

    def end(self, fault: BaseException) -> None:
        """Take what ends the process."""
        with self._changed:
            self._end = self._end or fault
            self._changed.notify_all()

    def lose(self, fault: Exception) -> None:
        """Take why a slot gave up. It is said, the same reason once, unless all fail: then the last says it for all."""
        with self._changed:
            self._left -= 1
            if not self._left:
                self.end(fault)
            elif str(fault) not in self._reasons and not all(slot.failed for slot in self._slots):
                self._reasons.add(str(fault))
                log_line(f"a slot has given up, others go on: {fault}")

    def _stop(self) -> None:
        self.stopping.set()
        for slot in self._slots:
            slot.runtime.stop_polling()
        self._wait(GRACE_S)
        self._loop.close(_CLEANUP_S)
        self._wait(_CLEANUP_S)
        for slot in self._slots:
            if slot.request_id:
                log_line(f"invocation {slot.request_id} still runs: it ends with the process")

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for slot in self._slots:
            if slot.thread.ident is not None:  # a signal may come before all were started
                slot.thread.join(max(0.0, deadline - time.monotonic()))


class _Slot:
    """One slot.

    Attributes:
        runtime: Whose invocations it runs.
        thread: It polls and answers there.
        request_id: Of the invocation that runs; empty while it polls.
        failed: How many of its polls have failed in a row.
    """

    def __init__(self, invoker: Invoker, runtime: Runtime, slots: Slots, loop: SharedLoop) -> None:
        self._invoker = invoker
        self._slots = slots
        self._loop = SlotLoop(loop)
        self.runtime: Runtime = runtime
        self.thread: Thread = Thread(target=self._serve, name="lambda-wire-slot", daemon=True)
        self.request_id: str = ""
        self.failed: int = 0

    def _serve(self) -> None:
        try:
            self._invoker.answer(self._invocations(), self.runtime, self._loop)
        except (*_POLL_FAULTS, Unanswerable) as fault:
            self._slots.lose(fault)
        except BaseException as fault:  # noqa: BLE001  # raised by the main thread
            self.request_id = ""
            self._slots.end(fault)

    def _invocations(self) -> Iterator[Invocation]:
        stopping = self._slots.stopping
        while not stopping.is_set():
            try:
                invocation = self.runtime.next_invocation()
            except _POLL_FAULTS:
                if self.failed == len(_BACKOFF_S) and not stopping.is_set():
                    raise
                stopping.wait(_BACKOFF_S[self.failed % len(_BACKOFF_S)])
                self.failed += 1
                continue
            self.failed, self.request_id = 0, invocation.request_id
            yield invocation
            self.request_id = ""
