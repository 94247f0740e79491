"""Our own standard output, which the runtimes share: bytes as they are, and lines of ours that begin a line.

A thread writes, so that a reader who is slow never stops the event loop. Whoever has much to say waits for ``room``, so
a slow reader slows the runtimes down, as any pipe does. One who does not read at all, such as a pager at rest, does so
once, for a second: after it runtimes go on, and what does not fit any more is left out and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
from typing import Final

__all__ = ["Terminal"]

_PIECE: Final = 65_536
_MUCH: Final = 1024 * 1024
"""What may wait to be written before others have to wait, too."""
_MOST: Final = 4 * _MUCH
"""What may wait at all."""
_PATIENCE_S: Final = 1.0
_GOODBYE_S: Final = 2.0


class Terminal:
    """Writes to a file descriptor. That nobody reads it any more disturbs nothing.

    Args:
        descriptor: Our standard output's, which may have been closed before we started.
        encoding: For lines.
        patience_s: How long others wait for a reader who does not read.
    """

    def __init__(
        self, descriptor: int | None = None, *, encoding: str = "utf-8", patience_s: float = _PATIENCE_S
    ) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._patience_s = patience_s
        self._waiting = bytearray()
        self._lost = 0
        self._in_line = False
        self._stuck = False
        self._closed = False
        self._news = threading.Condition()
        self._moved = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="lambda-wire-terminal", daemon=True)
        self._thread.start()

    @classmethod
    def stdout(cls) -> Terminal:
        """Return the one that our standard output is."""
        if sys.stdout is None:  # it was closed before we started
            return cls()
        return cls(sys.stdout.fileno(), encoding=sys.stdout.encoding)

    @property
    def is_full(self) -> bool:
        """Whether ``room`` would wait."""
        return len(self._waiting) >= _MUCH and not self._stuck

    async def room(self) -> None:
        """Wait while much has not been read yet, but not for a reader who does not read."""
        self._loop = asyncio.get_running_loop()
        while self.is_full:
            self._moved.clear()
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._moved.wait()
            except TimeoutError:
                self._stuck = True

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        with self._news:
            self._own_up()
            self._put(data)

    def write_line(self, line: str) -> None:
        """Write a line of its own, even if what was written before has not ended its line."""
        with self._news:
            self._own_up()
            self._put(self._as_line(line))

    def close(self) -> None:
        """Have the rest written, within reason, and end."""
        with self._news:
            self._own_up()
            self._closed = True
            self._news.notify()
        self._thread.join(_GOODBYE_S)

    def _as_line(self, line: str) -> bytes:
        return b"\n" * self._in_line + f"{line}\n".encode(self._encoding, "backslashreplace")

    def _own_up(self) -> None:
        """Say what was left out, as soon as that can be said."""
        if self._lost and len(self._waiting) < _MOST:
            lost, self._lost = self._lost, 0
            self._put(self._as_line(f"({lost} bytes are not shown: nobody read what was before them)"))

    def _put(self, data: bytes) -> None:
        if len(self._waiting) >= _MOST:
            self._lost += len(data)
        elif data:
            self._waiting += data
            self._in_line = not data.endswith(b"\n")
            self._news.notify()

    # -- the thread

    def _run(self) -> None:
        while piece := self._next_piece():
            with contextlib.suppress(OSError):  # nobody reads any more
                self._write_out(piece)
            with self._news:
                del self._waiting[: len(piece)]
                self._stuck = False
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # it was closed: nobody waits
                    self._loop.call_soon_threadsafe(self._moved.set)

    def _next_piece(self) -> bytes:
        """Wait for something to write; empty at the end."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed)
            return bytes(self._waiting[:_PIECE])

    def _write_out(self, piece: bytes) -> None:
        descriptor = self._descriptor
        view = memoryview(piece)
        while view and descriptor is not None:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:  # somebody who shares it has made it so
                select.select((), (descriptor,), ())
