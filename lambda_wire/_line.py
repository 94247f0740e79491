"""One socket at a time, whoever waits for it: how it is dialled, how it is ended, and all that needs no waiting.

To dial is a coroutine. An event loop runs it as any other; a thread runs it to its end at once, with waits that block.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time

from lambda_wire import _tls
from lambda_wire._addresses import Endpoint
from lambda_wire._errors import Busy, ConnectionLost
from lambda_wire._wants import Closable, Exchange, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from typing import Final, Protocol, TypeAlias
else:
    from lambda_wire._typing import Protocol

__all__ = ["Address", "Line", "Waits", "look_up", "lost"]

#: How long one address may take to take us, with its handshake.
_CONNECT_TIMEOUT_S: Final = 5.0
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024
_DONT_WAIT: Final = socket.MSG_DONTWAIT
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK)

Address: TypeAlias = tuple[socket.AddressFamily, tuple[object, ...]]
"""Where a socket connects: the family, and the address as this family has it."""


class Waits(Protocol):
    """What whoever dials waits for. A wait that is given up leaves the socket as it was."""

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return where a host may be reached, the best first.

        Raises:
            OSError: There is no such host.
            UnicodeError: Nor could there be one.
        """
        ...  # noqa: PIE790  # checkers want it

    async def readable(self, wire: socket.socket) -> None:
        """Wait until there is something to read, or the end."""

    async def writable(self, wire: socket.socket) -> None:
        """Wait until something can be written."""

    async def within(self, seconds: float, act: Coroutine[object, None, None]) -> bool:
        """Do it, but wait no longer than that; say whether it was done."""
        ...  # noqa: PIE790  # checkers want it


class Line:
    """One socket at a time.

    Args:
        service: Where to dial, and whose certificate is expected.
        session: Whose conversations are held.
        what: What is expected there, in messages.
        context: How to speak TLS; plain TCP when not given.
    """

    def __init__(
        self, service: Endpoint, session: Closable, *, what: str, context: ssl.SSLContext | None = None
    ) -> None:
        self._session = session
        self._service = service
        self._what = what
        self._context = context
        self._socket: socket.socket | None = None
        self._looked_at = 0.0
        self._in_use = threading.Lock()
        self._changes = threading.RLock()
        """Held while the socket is put in place or taken away, so that who ends it ends this one and no other."""

    def close(self) -> None:
        """Wake whoever waits. The socket is closed by who uses it, never under somebody who waits for it."""
        self._session.closed = True
        self._shut(socket.SHUT_RDWR)
        if self._in_use.acquire(blocking=False):
            self._leave()

    def end_reading(self, still: Callable[[], bool]) -> None:
        """Let whoever reads have the end, if that still holds and nothing has come. What is written still leaves.

        What has come is read as ever, with what follows it: reading would end amid an answer. One part is not seen:
        what a thread has just taken from the system, and had no turn yet to feed.
        """
        with self._changes:
            if not self._has_come():  # first: another thread may have its turn meanwhile
                self._shut(socket.SHUT_RD, still)

    def _has_come(self) -> bool:
        """Say whether something is there that nobody has read, or the end."""
        if self._socket is None:
            return False
        try:
            self._socket.recv(1, _DONT_WAIT | socket.MSG_PEEK)
        except OSError as fault:  # else it was reset, or is not connected yet
            return not isinstance(fault, BlockingIOError)
        return True

    def end_dial(self, still: Callable[[], bool]) -> None:
        """Let whoever dials try no longer, if that still holds."""
        self._shut(socket.SHUT_RDWR, still)

    def _shut(self, how: int, still: Callable[[], bool] = lambda: True) -> None:
        with self._changes:
            if self._socket is not None and still():
                _tls.shut(self._socket, how)

    def _take(self, exchange: Exchange[object], who: str) -> None:
        """Begin to use this, for a conversation.

        Raises:
            Busy: Another conversation is being held.
        """
        if not self._in_use.acquire(blocking=False):
            exchange.close()
            self._session.require_open()
            raise Busy(f"another {who} is using this connection: wait for it, or use one of your own")

    def _leave(self) -> None:
        """End to use this. Whoever closes it in between does the rest."""
        self._in_use.release()
        if self._session.closed and self._in_use.acquire(blocking=False):
            self._hang_up()
            self._in_use.release()

    def _put(self, made: socket.socket) -> None:
        with self._changes:
            self._socket = made
        self._session.require_open()  # whoever closed before found another socket, or none

    def _hang_up(self, *, half: bool = False) -> None:
        if half:
            self._shut(socket.SHUT_WR)
            return
        with self._changes:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _connected(self) -> socket.socket:
        assert self._socket is not None  # a conversation dials before it reads or writes
        return self._socket

    # -- without waiting

    def _look(self) -> bytes:
        """Return what is there, ``b""`` when nothing is.

        Raises:
            ConnectionLost: The end is there.
        """
        self._looked_at = time.monotonic()
        try:
            heard = self._receive_now(65_536)
        except BlockingIOError:
            return b""
        if not heard:
            raise ConnectionLost("the service has closed the connection")
        return heard

    def _receive_now(self, max_bytes: int) -> bytes:
        """Return what is there; ``b""`` at the end.

        Raises:
            BlockingIOError: Nothing is.
        """
        wire = self._connected()
        return wire.recv(max_bytes, _DONT_WAIT) if self._context is None else _tls.receive(wire, max_bytes)

    def _send(self, want: Write) -> int:
        """Return how much was written.

        Raises:
            BlockingIOError: Nothing could be.
        """
        wire = self._connected()
        if self._context is None:
            return wire.sendmsg(want.next_buffers(_MOST_BUFFERS), (), _DONT_WAIT)
        return _tls.send(wire, want)

    # -- dial

    async def _dial(self, waits: Waits) -> None:
        """Connect to the first address that takes us."""
        refused = OSError(errno.EADDRNOTAVAIL, "no address")
        try:
            for family, address in await self._addresses(waits):
                try:
                    if await waits.within(_CONNECT_TIMEOUT_S, self._connect(family, address, waits)):
                        return
                    refused = TimeoutError(errno.ETIMEDOUT, "timed out")
                except OSError as fault:
                    refused = _of_the_system(fault)
        except OSError as fault:
            refused = _of_the_system(fault)
        self._session.require_open()
        where = f"{self._what} at {self._service.host}:{self._service.port}"
        raise ConnectionLost(f"nothing was sent: no {where} ({refused})", nothing_sent=True) from refused

    async def _addresses(self, waits: Waits) -> list[Address]:
        host, port = self._service.host, self._service.port
        try:
            if self._context is not None:
                host.encode("idna")  # as a certificate has it
            try:  # an address needs no looking up, and so no thread
                return look_up(host, port, flags=socket.AI_NUMERICHOST)
            except socket.gaierror:
                return await waits.addresses(host, port)
        except UnicodeError as fault:  # of a name such as ``a..b``, wherever that leads
            raise OSError(errno.EINVAL, str(fault)) from fault

    async def _connect(self, family: socket.AddressFamily, address: tuple[object, ...], waits: Waits) -> None:
        self._session.require_open()
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            await self._connect_to(made, address, waits)
            if self._context is not None:
                await self._shake_hands(made, self._context, waits)
        except BaseException:
            made.close()
            self._hang_up()
            raise

    async def _connect_to(self, made: socket.socket, address: tuple[object, ...], waits: Waits) -> None:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.connect_ex(address)
        self._put(made)  # not before: what is not under way cannot be ended
        if code in _UNDER_WAY:
            await waits.writable(made)
            code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    async def _shake_hands(self, plain: socket.socket, context: ssl.SSLContext, waits: Waits) -> None:
        import ssl  # only who speaks TLS pays for it

        made = context.wrap_socket(
            plain, server_hostname=self._service.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._put(made)
        while True:
            try:
                return made.do_handshake()
            except ssl.SSLWantReadError:
                await waits.readable(made)
            except ssl.SSLWantWriteError:
                await waits.writable(made)


def look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    """Return where a host may be reached, the best first, as ``socket.getaddrinfo`` says it.

    Raises:
        OSError: There is no such host.
    """
    name = host.encode()  # as text, a cold start would pay for the tables of IDNA
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def _of_the_system(fault: OSError) -> OSError:
    """Return a fault that has the system's number for it; else raise it: we gave up, or a signal handler raised it."""
    if fault.errno is None:
        raise fault
    return fault


def lost(doing: str, fault: OSError) -> ConnectionLost:
    """Return what a fault of the system means to who reads or writes; raise what is none."""
    return ConnectionLost(f"the connection ended while it was {doing} ({_of_the_system(fault)})")
