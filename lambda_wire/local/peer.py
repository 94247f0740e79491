"""One TCP connection, as both of our ports serve them: read, write, and a last word that arrives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, TypeVar

from lambda_wire._types import BytesLike

__all__ = ["Peer"]

_T = TypeVar("_T")
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

    async def read(self) -> bytes:
        """Return what he sends next; ``b""`` when no more comes.

        Raises:
            OSError: The connection is lost.
        """
        return await self._reader.read(_READ)

    async def read_unless(self, news: asyncio.Future[_T]) -> bytes | None:
        """Return what ``read`` does, or ``None`` when ``news`` came first and more may come from him.

        Raises:
            OSError: The connection is lost.
        """
        read = asyncio.ensure_future(self.read())
        either: set[asyncio.Future[_T] | asyncio.Future[bytes]] = {news, read}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            read.cancel()
        await asyncio.wait({read})
        if read.cancelled():
            return b"" if self._reader.at_eof() else None
        return read.result()

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
