"""One TCP connection, as both of our ports serve them: read, write, and a last word that arrives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from lambda_wire._types import BytesLike

__all__ = ["Peer"]

_READ: Final = 65_536
_LINGER_S: Final = 2.0
_JOINED: Final = 262_144
"""Up to here a copy costs less than another system call."""


class Peer:
    """Who is at the other end.

    Attributes:
        address: His IP address.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        name = writer.get_extra_info("peername")
        self.address: str = str(name[0]) if name else ""

    @property
    def at_eof(self) -> bool:
        """Whether he has said that no more comes, and all of it was read."""
        return self._reader.at_eof()

    async def read(self) -> bytes:
        """Return what he sends next; ``b""`` when no more comes.

        Raises:
            OSError: The connection is lost.
        """
        return await self._reader.read(_READ)

    async def write(self, buffers: list[BytesLike]) -> None:
        """Send everything, and wait while he does not take it.

        Raises:
            OSError: The connection is lost.
        """
        if sum(len(buffer) for buffer in buffers) <= _JOINED:
            buffers = [b"".join(buffers)]
        for buffer in buffers:  # and not ``writelines``, which forgets the flow control (CPython 3.12, 3.13)
            self._writer.write(buffer)
        await self._writer.drain()

    async def linger(self) -> None:
        """Let him read our last word: closing with unread bytes would reset the connection (RFC 9112, 9.6)."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_LINGER_S):
                self._writer.write_eof()
                while await self.read():
                    pass
