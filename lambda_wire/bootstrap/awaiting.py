"""What the main thread waits for while other threads work: it feels signals meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from socket import socket, socketpair
from typing import Generic, TypeVar

__all__ = ["Awaited"]

_T = TypeVar("_T")


class Awaited(Generic[_T]):
    """One value that is to come, from any thread or signal handler.

    A lock would not do. The system may give a signal to a thread that starts a process or another thread just then;
    Python's handler runs in the main thread, but only once something else wakes that. What Python does at once,
    whichever thread it is, is to write to a descriptor of ours (Python docs, ``signal.set_wakeup_fd``).
    """

    def __init__(self) -> None:
        self._given: list[_T] = []
        self._bell: socket | None = None

    def give(self, value: _T) -> None:
        """End the wait, from any thread or signal handler; the first value counts."""
        self._given.append(value)
        bell = self._bell
        if bell is not None:
            with suppress(OSError):  # the wait has ended
                bell.send(b"\0")

    def wait(self) -> _T:
        """Wait for the first value that is given, and return it. The main thread may be interrupted by signals."""
        heard, self._bell = socketpair()
        with heard, self._bell:
            self._bell.setblocking(False)
            with _written_by_signals(self._bell.fileno()):
                while not self._given:
                    heard.recv(1)
        return self._given[0]


@contextmanager
def _written_by_signals(descriptor: int) -> Generator[None, None, None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
