"""What the terminal shows of each invocation: START, END and REPORT lines as AWS logs them, errors, and warnings.

The invocation's log gets the first three, and nothing that only this terminal is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from lambda_wire._invoke_events import InvokeRefused
from lambda_wire._shown import one_line
from lambda_wire.local.call import Call, Failure

__all__ = ["Report"]

_SHOWN: Final = 4096


class Report:
    """Says what happens to invocations, a line at a time.

    Args:
        say: Takes each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def started(self, call: Call) -> None:
        """The runtime has been given the event."""
        self._log(call, f"START RequestId: {call.request_id} Version: $LATEST")

    def failed(self, call: Call, failure: Failure | None) -> None:
        """Show the error document, whoever else gets it."""
        if failure is not None:
            self._say(f"ERROR RequestId: {call.request_id} {_printable(failure.document)}")

    def warn(self, call: Call, what: str) -> None:
        """Say what the caller cannot see."""
        self._say(f"WARN RequestId: {call.request_id} {what}")

    def refused(self, refusal: InvokeRefused) -> None:
        """A request never became an invocation."""
        what = one_line(refusal.message)
        self._say(f"WARN RequestId: {refusal.request_id} The caller gets {refusal.status}: {what}")

    def ended(self, call: Call, *, started_at: float, init_s: float | None, status: str) -> None:
        """The environment is done with it.

        Args:
            call: The invocation.
            started_at: When the runtime was given the event, on the monotonic clock.
            init_s: How long the environment took to start, for its first invocation.
            status: Shown unless it is ``success``.
        """
        parts = [f"REPORT RequestId: {call.request_id}", f"Duration: {_ms(time.monotonic() - started_at)}"]
        if call.first_byte_at is not None:
            parts.append(f"First Byte: {_ms(call.first_byte_at - started_at)}")
        parts.append(f"Bytes: {call.size}")
        if init_s is not None:
            parts.append(f"Init Duration: {_ms(init_s)}")
        if status != "success":
            parts.append(f"Status: {status}")
        self._log(call, f"END RequestId: {call.request_id}")
        self._log(call, "\t".join(parts))

    def _log(self, call: Call, line: str) -> None:
        self._say(line)
        call.log.write_line(line)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _printable(document: bytes) -> str:
    """Return a document as one line that cannot command the terminal."""
    shown = one_line(document[:_SHOWN].decode("utf-8", "replace"))
    return shown if len(document) <= _SHOWN else f"{shown}... ({len(document)} bytes)"
