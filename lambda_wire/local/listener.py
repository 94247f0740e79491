"""A TCP listener whose connections are tasks that it knows, so that none outlives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

__all__ = ["Listener", "Serve"]

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Accepts connections and serves each in a task of its own. Made by ``open``.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closed = False
        self.port = 0

    @classmethod
    async def open(cls, host: str, port: int, serve: Serve) -> Listener:
        """Begin to listen.

        Raises:
            OSError: The address cannot be had.
        """
        listener = cls(serve)
        starting = asyncio.ensure_future(asyncio.start_server(listener._accept, host, port))
        try:
            server = await asyncio.shield(starting)
        except asyncio.CancelledError:
            (await starting).close()  # asyncio itself would leave its socket open
            raise
        listener._server, listener.port = server, server.sockets[0].getsockname()[1]
        return listener

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was under way when we closed
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):  # the peer went away: nobody is left to tell
                await self._serve(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def finished(self) -> None:
        """Wait until every connection that is open now has ended by itself."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport says goodbye in the next round of the loop
