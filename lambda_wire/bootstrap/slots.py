"""Many invocations at once in one process: slots, each a thread that polls on a connection of its own.

A plain handler runs in the thread of its slot, an async one in the event loop that all slots share. A slot whose poll
fails tries again, later and later; the others never notice. When all of them have failed too often, they give up. A
poll that fails because what came could not be read (``RemoteProtocolError``) may have cost an invocation: the service
has handed it out, and its caller waits until its time is over.

Sources: AWS docs, "Lambda Managed Instances": a runtime polls as many times at once as ``AWS_LAMBDA_MAX_CONCURRENCY``
says. The emulator of aws-sam-cli 1.170.0: an answer after the deadline is refused with 410, and the slot goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Final, NoReturn

from lambda_wire._errors import ConnectionLost, ProtocolError, RequestRefused
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.awaiting import Awaited
from lambda_wire.bootstrap.event_loop import EventLoop
from lambda_wire.bootstrap.failures import Unanswerable, log_line
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.slot_loop import SlotLoop
from lambda_wire.bootstrap.stopping import CLEANUP_S, GRACE_S, Stopped
from lambda_wire.sync import Runtime

__all__ = ["Slots"]

#: How long a slot waits after the first, second, ... of its polls that failed in a row; after more, as the last.
_BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
#: How many polls have failed in a row when a slot is out. The process ends when all are.
_OUT: Final = len(_BACKOFF_S) + 1
#: How long the reports may take of what cannot be interrupted. See ``GRACE_S``.
_REPORT_S: Final = 0.05
_POLL_FAULTS: Final = (RequestRefused, ConnectionLost, ProtocolError)


class Slots:
    """Serves invocations in many slots at once.

    Args:
        invoker: Answers them.
        runtimes: One for each slot.
    """

    def __init__(self, invoker: Invoker, runtimes: Sequence[Runtime]) -> None:
        self._loop = EventLoop(self.end)
        self._slots = [_Slot(invoker, runtime, self, self._loop) for runtime in runtimes]
        self._changing = Lock()
        self._reasons: set[str] = set()
        self._end: Awaited[BaseException] = Awaited()
        self.stopping: Event = Event()
        """Set when no slot is to poll any more."""

    def serve(self) -> NoReturn:
        """Serve until the last slot is out, or something ends the process. Signals are felt while it waits.

        Polls end at once then; invocations that run have their grace time, and async handlers are cancelled after it.
        Plain ones cannot be interrupted: they are reported, and left.

        Raises:
            RequestRefused, ConnectionLost, ProtocolError, Unanswerable: Why the last slot is out.
            BaseException: What a handler or a signal raised to end the process, such as ``SystemExit``.
        """
        try:
            for slot in self._slots:
                slot.thread.start()
            end = self._end.wait()
        finally:
            self._stop()
        raise end

    def end(self, fault: BaseException) -> None:
        """Take what ends the process, from any thread or signal handler; the first decides."""
        self._end.give(fault)

    def lose(self, fault: Exception) -> bool:
        """Take why a slot is out; return whether that was the last.

        It is said, the same reason once, unless all fail: then the last says it for all.
        """
        with self._changing:
            if all(slot.failed >= _OUT for slot in self._slots):
                self.end(fault)
                return True
            if str(fault) not in self._reasons and not all(slot.failed for slot in self._slots):
                self._reasons.add(str(fault))
                log_line(f"a slot cannot poll, others go on: {fault}")
            return False

    def regain(self) -> None:
        """Take that a slot is no longer out: what it said is news when it comes again."""
        with self._changing:
            self._reasons.clear()

    def _stop(self) -> None:
        self.stopping.set()
        for slot in self._slots:
            slot.runtime.stop_polling()
        threads = [slot.thread for slot in self._slots]
        _wait(threads, GRACE_S)
        self._loop.close(CLEANUP_S)
        _wait(threads, CLEANUP_S)
        reports = [Thread(target=slot.give_up, name="lambda-wire-report", daemon=True) for slot in self._slots]
        for report, slot in zip(reports, self._slots, strict=True):
            if slot.answer is not None:
                with suppress(RuntimeError):  # no thread can be made: the line below is all that is left
                    report.start()
        _wait(reports, _REPORT_S)
        for slot in self._slots:
            if (answer := slot.answer) is not None:
                log_line(f"invocation {answer.request_id} still runs: it ends with the process")


def _wait(threads: Sequence[Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        if thread.ident is not None:  # a signal may come before all were started
            thread.join(max(0.0, deadline - time.monotonic()))


class _Slot:
    """One slot.

    Attributes:
        runtime: Whose invocations it runs.
        thread: It polls and answers there.
        answer: To the invocation that runs; ``None`` while it polls.
        failed: How many of its polls have failed in a row.
    """

    def __init__(self, invoker: Invoker, runtime: Runtime, slots: Slots, loop: EventLoop) -> None:
        self._invoker = invoker
        self._slots = slots
        self._loop = SlotLoop(loop)
        self.runtime: Runtime = runtime
        self.thread: Thread = Thread(target=self._serve, name="lambda-wire-slot", daemon=True)
        self.answer: Answer | None = None
        self.failed: int = 0

    def give_up(self) -> None:
        """Report what runs here, from another thread, unless this one is speaking."""
        answer = self.answer
        if answer is not None and not answer.ended:
            answer.fail(Stopped("the runtime has ended"), patience_s=0)

    def _serve(self) -> None:
        try:
            self._invoker.answer(self._answers(), self._loop)
        except Unanswerable as fault:
            self.answer, self.failed = None, _OUT
            self._slots.lose(fault)
        except BaseException as fault:  # noqa: BLE001  # raised by the main thread
            self.answer = None
            self._slots.end(fault)

    def _answers(self) -> Iterator[Answer]:
        while not self._slots.stopping.is_set():
            try:
                self.answer = Answer(self.runtime, self.runtime.next_invocation())
            except _POLL_FAULTS as fault:
                if self._gives_up(fault):
                    return
                continue
            if self.failed >= _OUT:
                self._slots.regain()
            self.failed = 0
            yield self.answer
            self.answer = None  # not held while it polls

    def _gives_up(self, fault: Exception) -> bool:
        """Wait before the next try, unless this was the last that any slot has."""
        stopping = self._slots.stopping
        if not stopping.is_set():
            wait_s = _BACKOFF_S[min(self.failed, len(_BACKOFF_S) - 1)]
            self.failed += 1
            if self.failed >= _OUT and self._slots.lose(fault):
                return True
            stopping.wait(wait_s)
        return False
