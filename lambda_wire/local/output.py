"""What a child process writes, to its standard output and to its standard error: one pipe, so that the order is kept.

It is read as it comes, a bounded piece at a time. ``drain`` takes at once what was written before: a runtime's answer
comes on another way, and may be faster than its log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from lambda_wire.local.terminal import Terminal

__all__ = ["Output"]

_READ: Final = 65_536
_PIPE: Final = 1024 * 1024
"""More than a pipe holds, whoever has made it larger (Linux: fs.pipe-max-size)."""


class Output:
    """The pipe of one child.

    Args:
        terminal: Shows what is written.
        hear: Is told, too.

    Attributes:
        write_end: For the child. To be given up with ``release``.
    """

    def __init__(self, terminal: Terminal, hear: Callable[[bytes], None]) -> None:
        self._terminal = terminal
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.Task[None] | None = None
        pipe = os.pipe()
        self._read_end: int = pipe[0]
        self.write_end: int = pipe[1]
        os.set_blocking(self._read_end, False)
        self._open = True
        self._loop.add_reader(self._read_end, self._read)

    def release(self) -> None:
        """Leave the pipe's other end to the child alone."""
        os.close(self.write_end)

    def drain(self) -> None:
        """Take what has been written so far."""
        left = _PIPE
        while self._open and left > 0 and (taken := self._take()):
            left -= taken

    def close(self) -> None:
        """Take the rest and close, whoever still holds the other end."""
        if self._open:
            self.drain()
            self._open = False
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            if self._pause is not None:
                self._pause.cancel()

    def _read(self) -> None:
        """Take a piece; no more of them while the terminal is full."""
        if self._take() is None:
            self._loop.remove_reader(self._read_end)  # the child has closed both
        elif self._terminal.is_full:
            self._loop.remove_reader(self._read_end)
            self._pause = self._loop.create_task(self._resume())

    async def _resume(self) -> None:
        await self._terminal.room()
        self._loop.add_reader(self._read_end, self._read)

    def _take(self) -> int | None:
        """Take a piece, if there is one; return its size, or ``None`` at the end."""
        try:
            data = os.read(self._read_end, _READ)
        except BlockingIOError:
            return 0
        if not data:
            return None
        self._terminal.write(data)
        self._hear(data)
        return len(data)
