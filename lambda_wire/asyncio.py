"""The asyncio driver: a runtime, or a caller, as tasks of an event loop; uvloop's does as well.

async with connect(os.environ["AWS_LAMBDA_RUNTIME_API"]) as runtime:
    while True:
        invocation = await runtime.next_invocation()
        await runtime.respond(invocation, b'"hello"')

Cancellation is exact: a cancelled poll stays open and is resumed by the next, never asked twice; a cancelled write
breaks its connection, whose end the next poll waits for. No method takes a timeout: ``asyncio.timeout()`` does. An
address that does not take us in five seconds is unreachable, as for the blocking driver.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from lambda_wire import exchanges
from lambda_wire._facade import Caller, ResponseStream, Runtime, StreamedAnswer, caller_at, runtime_at
from lambda_wire._heads import USER_AGENT
from lambda_wire._line import Address

if TYPE_CHECKING:
    import ssl

__all__ = ["Caller", "ResponseStream", "Runtime", "StreamedAnswer", "connect", "connect_caller"]


def connect(address: str, *, user_agent: str = USER_AGENT) -> Runtime:
    """Return a runtime that talks to the Runtime API at ``address``. Nothing is sent before it is used.

    Args:
        address: ``host:port``, as ``AWS_LAMBDA_RUNTIME_API`` has it.
        user_agent: What the ``User-Agent`` field says.

    Raises:
        Malformed: ``address`` is not ``host:port``, or it or ``user_agent`` is no header value.
    """
    return runtime_at(address, user_agent=user_agent, loop=_Loop())


def connect_caller(
    endpoint: str,
    *,
    sign: exchanges.Sign | None = None,
    user_agent: str = USER_AGENT,
    context: ssl.SSLContext | None = None,
) -> Caller:
    """Return a caller of the functions at ``endpoint``. Nothing is sent before it is used.

    Args:
        endpoint: ``http://host:port`` or ``https://host``, as an SDK's ``endpoint_url``.
        sign: Given method, URL, header fields and payload of each request, returns the fields of the signed request;
            nothing is signed when not given.
        user_agent: What the ``User-Agent`` field says.
        context: How to speak TLS; the standard library's default when not given.

    Raises:
        Malformed: ``endpoint`` is no such URL, or it or ``user_agent`` is no header value.
    """
    return caller_at(endpoint, sign=sign, user_agent=user_agent, context=context, loop=_Loop())


class _Loop:
    """Waits for sockets in the running event loop."""

    async def addresses(self, host: str, port: int) -> list[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    async def checkpoint(self) -> None:
        """Nothing: in asyncio an operation that need not wait does not."""

    async def readable(self, wire: socket.socket) -> None:
        await self._ready(wire, read=True, write=False)

    async def writable(self, wire: socket.socket) -> None:
        await self._ready(wire, read=False, write=True)

    async def within(self, seconds: float, act: Coroutine[object, None, None]) -> bool:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await act
        except TimeoutError:
            if limit.expired():
                return False
            raise
        return True

    async def readable_or_writable(self, wire: socket.socket) -> None:
        await self._ready(wire, read=True, write=True)

    async def _ready(self, wire: socket.socket, *, read: bool, write: bool) -> None:
        loop = asyncio.get_running_loop()
        watched = wire.fileno()  # of a socket that is not watched yet, asyncio makes a repr: four system calls
        ready: asyncio.Future[None] = loop.create_future()

        def say() -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            if read:
                loop.add_reader(watched, say)
            if write:
                loop.add_writer(watched, say)
            await ready
        finally:
            if read:
                loop.remove_reader(watched)
            if write:
                loop.remove_writer(watched)
