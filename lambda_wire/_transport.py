"""Non-blocking sockets that answer wants. An event loop adds only how to look up a host and wait for a socket."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar, assert_never

from lambda_wire import _tls
from lambda_wire._addresses import Endpoint
from lambda_wire._errors import Busy, ConnectionLost
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Read, Want, Write

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "AsyncWire", "Loop"]

_T = TypeVar("_T")
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK)

Address: TypeAlias = tuple[socket.AddressFamily, tuple[object, ...]]
"""Where a socket connects: the family, and the address as this family has it."""


class Loop(Protocol):
    """What an event loop adds. A wait that is cancelled leaves the socket as it was."""

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return where a host may be reached, the best first.

        Raises:
            OSError: There is no such host.
        """
        ...

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled here, as this library's users expect it."""

    async def readable(self, wire: socket.socket) -> None:
        """Wait until there is something to read, or the end."""

    async def writable(self, wire: socket.socket) -> None:
        """Wait until something can be written."""

    async def readable_or_writable(self, wire: socket.socket) -> None:
        """Wait until either."""


class AsyncWire:
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
        self._session = session
        self._service = service
        self._what = what
        self._loop = loop
        self._context = context
        self._socket: socket.socket | None = None
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
        elif self._socket is not None:
            _tls.shut(self._socket, socket.SHUT_RDWR)
        await self._loop.checkpoint()

    async def end_reading(self) -> None:
        """Let whoever reads have what has come, and then the end. What is written still leaves."""
        if self._socket is not None:
            _tls.shut(self._socket, socket.SHUT_RD)
        await self._loop.checkpoint()

    async def _do(self, want: Want) -> BytesLike:
        match want:
            case Read():
                return await self._read(want)
            case Write():
                return await self._write(want)
            case Dial():
                await self._dial()
            case Hangup():
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    # -- dial

    async def _dial(self) -> None:
        try:
            await self._connect()
        except (OSError, ValueError) as fault:  # the second from a name that cannot be looked up, such as ``a..b``
            self._session.require_open()
            where = f"{self._what} at {self._service.host}:{self._service.port}"
            raise ConnectionLost(f"nothing was sent: no {where} ({fault})", nothing_sent=True) from fault

    async def _connect(self) -> None:
        """Connect to the first address that takes us. The socket is in place meanwhile, so that ``close`` ends it."""
        refused = OSError("no address")
        for family, address in await self._addresses():
            self._session.require_open()
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                await self._connect_to(self._socket, address)
                if self._context is not None:
                    await self._shake_hands(self._socket, self._context)
            except OSError as fault:
                self._hang_up()
                refused = fault
            except BaseException:
                self._hang_up()
                raise
            else:
                return
        raise refused

    async def _addresses(self) -> list[Address]:
        host, port = self._service.host, self._service.port
        try:  # an address needs no looking up, and so no thread
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return await self._loop.addresses(host, port)
        return [(family, address) for family, _, _, _, address in found]

    async def _connect_to(self, made: socket.socket, address: tuple[object, ...]) -> None:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.connect_ex(address)
        if code in _UNDER_WAY:
            await self._loop.writable(made)
            code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    async def _shake_hands(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        import ssl  # only who speaks TLS pays for it

        made = context.wrap_socket(
            plain, server_hostname=self._service.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._socket = made
        while True:
            try:
                return made.do_handshake()
            except ssl.SSLWantReadError:
                await self._loop.readable(made)
            except ssl.SSLWantWriteError:
                await self._loop.writable(made)

    def _hang_up(self) -> None:
        self._has_asked = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- read and write

    def _connected(self) -> socket.socket:
        assert self._socket is not None  # a conversation dials before it reads or writes
        return self._socket

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
