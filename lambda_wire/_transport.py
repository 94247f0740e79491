"""Non-blocking sockets that answer wants. An event loop adds only how to look up a host and wait for a socket."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, TypeVar, assert_never

from lambda_wire._addresses import Endpoint
from lambda_wire._line import Line, Waits, lost
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Read, Want, Write

if TYPE_CHECKING:
    import ssl
    from typing import Protocol
else:
    from lambda_wire._typing import Protocol

__all__ = ["AsyncWire", "Loop"]

_T = TypeVar("_T")


class Loop(Waits, Protocol):
    """What an event loop adds. A wait that is cancelled leaves the socket as it was."""

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled here, as this library's users expect it."""

    async def readable_or_writable(self, wire: socket.socket) -> None:
        """Wait until either."""


class AsyncWire(Line):
    """A line, and the loop that answers wants with it.

    Args:
        service: Where to dial, and whose certificate is expected.
        session: Whose conversations are held.
        what: What is expected there, in messages.
        loop: Waits.
        context: How to speak TLS; plain TCP when not given.
    """

    def __init__(
        self,
        service: Endpoint,
        session: Closable,
        *,
        what: str,
        loop: Loop,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(service, session, what=what, context=context)
        self._loop = loop
        self._has_asked = False
        """Whether something was written since something was read."""

    async def run(self, exchange: Exchange[_T], *, even_cancelled: bool = False) -> _T:
        """Hold a conversation and return its result.

        Args:
            exchange: The conversation.
            even_cancelled: Whether to begin although we are cancelled: of one that closes and waits for nothing.

        Raises:
            Busy: Another conversation is being held.
        """
        self._take(exchange, "task")
        try:
            if not even_cancelled:
                await self._loop.checkpoint()
            self._session.quiet_s = time.monotonic() - self._looked_at
            want = next(exchange)
            while True:
                try:
                    answer = await self._do(want)
                except BaseException as fault:  # noqa: BLE001  # the conversation decides what a fault means
                    want = exchange.throw(fault)
                else:
                    want = exchange.send(answer)
        except StopIteration as done:
            result: _T = done.value
            if even_cancelled:
                await self._loop.checkpoint()
            return result
        finally:
            exchange.close()
            self._leave()

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled here, as this library's users expect it."""
        await self._loop.checkpoint()

    async def _do(self, want: Want) -> BytesLike:
        match want:
            case Read():
                return await self._read(want)
            case Write():
                return await self._write(want)
            case Dial():
                self._has_asked = False
                await self._dial(self._loop)
            case Hangup():
                self._hang_up(half=want.half)
            case _ as never:
                assert_never(never)
        return b""

    # -- read and write

    def _receive(self, want: Read) -> BytesLike:
        """Return what is there, in memory of the conversation if it lends some; TLS has memory of its own."""
        if want.into is None or self._context is not None:
            return self._receive_now(want.max_bytes)
        return want.into[: self._connected().recv_into(want.into)]

    async def _read(self, want: Read) -> BytesLike:
        if self._has_asked:  # no answer is there yet, so that trying would cost a system call for nothing
            await self._loop.readable(self._connected())
            self._has_asked = False
        while True:
            try:
                heard = self._receive(want)
                self._looked_at = time.monotonic()
                return heard
            except BlockingIOError:
                await self._loop.readable(self._connected())
            except OSError as fault:
                raise lost("read from", fault) from fault

    async def _write(self, want: Write) -> bytes:
        try:
            if want.look_first and (heard := self._look()):
                return heard
            while not want.done:
                try:
                    want.advance(self._send(want))
                except BlockingIOError:
                    await self._loop.readable_or_writable(self._connected())
                    if heard := self._look():
                        return heard
            self._has_asked = self._context is None  # TLS may hold an answer that no wait would see
        except OSError as fault:
            ended = lost("written to", fault)
            self._shut(socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ended from fault
        return b""
