"""Many invocations at once, each in a process of its own: for handlers that compute, or that threads would confuse.

A process that ends is replaced, unless it and others before it ended so soon that none can be expected to live.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

from lambda_wire.bootstrap.awaiting import Awaited
from lambda_wire.bootstrap.failures import log_line
from lambda_wire.bootstrap.stopping import GRACE_S, Stopped, stopped_by_signals

__all__ = ["serve_in_processes"]

#: How long to wait before a process is replaced that ended early, as others did before it; after one more, no more is.
_BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
#: Who has lived so long has started well. Source: AWS docs, "Lambda execution environment": init has 10 s.
_INIT_S: Final = 10.0
#: How long a process may take to end that was told to. See ``GRACE_S``.
_END_S: Final = GRACE_S + 0.1


def serve_in_processes(arguments: Sequence[str], count: int) -> int:
    """Keep ``count`` processes serving, and return the exit code: 0 when a signal ended it, else 1.

    For the main thread of a process that does nothing else: it takes over SIGINT and SIGTERM.

    Args:
        arguments: Those of ``lambda-wire`` for each.
        count: How many.
    """
    safely = ["-P"] if sys.flags.safe_path else []
    processes = _Processes([sys.executable, *safely, "-m", "lambda_wire", *arguments], count)
    try:
        with stopped_by_signals():
            try:
                processes.serve()
            finally:
                processes.stop()
    except Stopped:
        return 0
    return 1


class _Processes:
    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._changed = Condition()
        self._left = count
        self._none_left: Awaited[None] = Awaited()
        self._stopping = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._threads = [Thread(target=self._keep, name="lambda-wire-process", daemon=True) for _ in range(count)]

    def serve(self) -> None:
        """Wait until no process is kept any more."""
        for thread in self._threads:
            thread.start()
        self._none_left.wait()

    def stop(self) -> None:
        """Tell all to end, and see to it that they do."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            told = list(self._running)
        for process in told:
            process.terminate()
        deadline = time.monotonic() + _END_S
        for process in told:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in told:
            process.kill()
            process.wait()

    def _keep(self) -> None:
        failed = 0
        while (lived_s := self._run()) is not None:
            failed = 0 if lived_s >= _INIT_S else failed + 1
            if failed > len(_BACKOFF_S):
                log_line("processes end as soon as they begin: no more are started in this slot")
                break
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _BACKOFF_S[failed - 1] if failed else 0)
        with self._changed:
            self._left -= 1
            if not self._left:
                self._none_left.give(None)

    def _run(self) -> float | None:
        """Run a process to its end; return how long it lived in seconds, ``None`` when none is to run any more."""
        started_at = time.monotonic()
        with self._changed:
            if self._stopping:
                return None
            try:
                process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)  # noqa: S603  # our own words
            except OSError as fault:
                log_line(f"a process cannot be started: {fault}")
                return 0.0
            self._running.add(process)
        code = process.wait()
        with self._changed:
            self._running.discard(process)
            if not self._stopping:
                log_line(f"a process ended with exit code {code}")
        return time.monotonic() - started_at
