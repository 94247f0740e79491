"""Ctrl-C and SIGTERM: how this process is asked to end.

While it loads, or waits for its slots, it is interrupted at once. While it polls, the poll is ended instead: what has
come with it is not lost. While an invocation runs, that has its grace time first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["CLEANUP_S", "GRACE_S", "Stop", "Stopped", "stopped_by_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

GRACE_S: Final = 0.4
"""How long a running invocation may take to end by itself. What follows it must fit, too: the emulator of aws-sam-cli
1.170.0 kills the runtime of a managed instance 600 ms after SIGTERM; AWS docs, "Lambda execution environment", give
one with an internal extension 500 ms."""

CLEANUP_S: Final = 0.1
"""How long what was interrupted or cancelled after that may take to clean up, and to be reported."""


class Stopped(SystemExit):
    """A signal asked the process to end. Raised once, in the main thread, wherever that is."""


class Stop:
    """Whether the process was asked to end. Code that swallows ``Stopped`` does not make this forget it.

    Attributes:
        asked: Whether it was.
    """

    def __init__(self) -> None:
        self.asked: bool = False
        self._react: Callable[[int], None] = self._interrupt
        self._raised = False
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Take the signal."""
        self.asked = True
        self._react(number)

    def end_polls(self, end: Callable[[], None]) -> None:
        """From now on let a signal end what waits for an invocation."""
        self._react = lambda _: end()

    @contextmanager
    def delayed(self) -> Generator[None, None, None]:
        """Let a signal, even one that has come, be felt inside the block only when its grace time is over."""
        before, self._react = self._react, self._interrupt_later
        try:
            if self.asked:
                self._interrupt_later(signal.SIGTERM)
            yield
        finally:
            self._react = before
            if self._timer is not None:
                self._timer.cancel()

    def rest(self) -> None:
        """From now on interrupt nothing: what was asked for is done."""
        self._react = lambda _: None
        if self._timer is not None:
            self._timer.cancel()

    def _interrupt(self, number: int) -> None:
        if not self._raised:
            self._raised = True
            raise Stopped(f"{signal.Signals(number).name} was received")

    def _interrupt_later(self, number: int) -> None:
        if self._timer is None:
            self._timer = threading.Timer(GRACE_S, self._interrupt_now, (number,))
            self._timer.daemon = True
            self._timer.start()

    def _interrupt_now(self, number: int) -> None:
        """Interrupt the main thread, whatever it waits for, unless the invocation has ended."""
        if self._react == self._interrupt_later:
            self._react = self._interrupt
            signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def stopped_by_signals() -> Generator[Stop, None, None]:
    """Let signals be taken inside the block, save those that the parent process wants ignored.

    A process that was asked to end goes on ignoring them: a second one must not cut short what it does to end. Python
    itself would give its own handlers up while it ends, but not those that ignore.
    """
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        stop.rest()
        for number, handler in taken.items():
            signal.signal(number, signal.SIG_IGN if stop.asked else handler)
