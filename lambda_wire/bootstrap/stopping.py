"""Ctrl-C and SIGTERM: how this process is asked to end."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

__all__ = ["Stop", "Stopped", "stopped_by_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """A signal asked the process to end. Raised in the main thread, wherever that is."""


class Stop:
    """Whether the process was asked to end. Code that swallows ``Stopped`` does not make this forget it."""

    def __init__(self) -> None:
        self.asked: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Take the signal."""
        self.asked = True
        raise Stopped(f"{signal.Signals(number).name} was received")


@contextmanager
def stopped_by_signals() -> Generator[Stop, None, None]:
    """Let signals raise ``Stopped`` inside the block, save those that the parent process wants ignored."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
