"""Standard output, as commands write to it: at once, and quietly where nobody reads on."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["write"]


def write(data: bytes) -> None:
    """Write to standard output at once.

    Raises:
        OSError: It cannot be written to; ``BrokenPipeError`` when whoever read it has seen enough.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BaseException:
        _forget()
        raise


def _forget() -> None:
    """Let the interpreter's last flush not fail, nor wait (Python's documentation of signal, "Note on SIGPIPE")."""
    with contextlib.suppress(OSError):  # in a test it has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
