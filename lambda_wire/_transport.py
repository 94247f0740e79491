"""Non-blocking sockets that answer wants. An event loop adds only how to look up a host and wait for a socket."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final, TypeVar, assert_never

from lambda_wire import _tls
from lambda_wire._addresses import Endpoint
from lambda_wire._errors import Busy, ConnectionLost
from lambda_wire._line import Line, Waits
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Read, Want, Write

if TYPE_CHECKING:
    import ssl
    from typing import Protocol
else:
    from lambda_wire._typing import Protocol

__all__ = ["AsyncWire", "Loop"]

_T = TypeVar("_T")
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024


class Loop(Waits, Protocol):
    """What an event loop adds. A wait that is cancelled leaves the socket as it was."""

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled here, as this library's users expect it."""

    async def readable_or_writable(self, wire: socket.socket) -> None:
        """Wait until either."""


class AsyncWire(Line):
    """One socket at a time, and the loop that answers wants with it.

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
        self._looked_at = 0.0
        self._has_asked = False
        """Whether something was written since something was read."""
        self._in_use = False

    async def run(self, exchange: Exchange[_T], *, even_cancelled: bool = False) -> _T:
        """Hold a conversation and return its result.

        Args:
            exchange: The conversation.
            even_cancelled: Whether to begin although we are cancelled: of one that closes and waits for nothing.

        Raises:
            Busy: Another conversation is being held.
        """
        if self._in_use:
            exchange.close()
            self._session.require_open()
            raise Busy("another task is using this connection: wait for it, or use one of your own")
        self._in_use = True
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
            self._in_use = False
            if self._session.closed:
                self._hang_up()

    async def close(self) -> None:
        """Wake whoever waits. The socket is closed by who uses it, never under a task that waits for it."""
        self._session.closed = True
        if not self._in_use:
            self._hang_up()
        self._shut(socket.SHUT_RDWR)
        await self.checkpoint()

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
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    # -- read and write

    def _receive(self, max_bytes: int) -> bytes:
        """Return what is there, ``b""`` at the end, without waiting.

        Raises:
            BlockingIOError: Nothing is there.
        """
        wire = self._connected()
        return wire.recv(max_bytes) if self._context is None else _tls.receive(wire, max_bytes)

    def _receive_wanted(self, want: Read) -> BytesLike:
        """Return what is there, in memory of the conversation if it lends some; TLS has memory of its own."""
        if want.into is None or self._context is not None:
            return self._receive(want.max_bytes)
        return want.into[: self._connected().recv_into(want.into)]

    def _send(self, want: Write) -> int:
        """Return how much was written without waiting.

        Raises:
            BlockingIOError: Nothing could be written.
        """
        wire = self._connected()
        return wire.sendmsg(want.next_buffers(_MOST_BUFFERS)) if self._context is None else _tls.send(wire, want)

    async def _read(self, want: Read) -> BytesLike:
        if self._has_asked:  # no answer is there yet, so that trying would cost a system call for nothing
            await self._loop.readable(self._connected())
            self._has_asked = False
        while True:
            try:
                heard = self._receive_wanted(want)
                self._looked_at = time.monotonic()
                return heard
            except BlockingIOError:
                await self._loop.readable(self._connected())
            except OSError as fault:
                raise ConnectionLost(f"the connection ended while it was read from ({fault})") from fault

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
            _tls.shut(self._connected(), socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ConnectionLost(f"the connection ended while it was written to ({fault})") from fault
        return b""

    def _look(self) -> bytes:
        """Return what is there, ``b""`` when nothing is."""
        self._looked_at = time.monotonic()
        try:
            heard = self._receive(65_536)
        except BlockingIOError:
            return b""
        if not heard:
            raise ConnectionLost("the service has closed the connection")
        return heard
