"""Blocking sockets that answer wants: one connection at a time, on one thread, over TCP or TLS."""

from __future__ import annotations

import math
import select
import socket
import threading
import time

from lambda_wire import _tls
from lambda_wire._addresses import Endpoint
from lambda_wire._errors import (
    Busy,
    CallFailed,
    CallRefused,
    ConnectionLost,
    ProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._malformed import Malformed
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Read, Want, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Final, TypeVar, assert_never
else:
    from lambda_wire._typing import TypeVar, assert_never


__all__ = ["TlsWire", "Wire"]

_T = TypeVar("_T")
_CONNECT_TIMEOUT_S: Final = 5.0
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024
_DONT_WAIT: Final = socket.MSG_DONTWAIT
_WHOLE: Final = socket.MSG_WAITALL
#: What a conversation says itself. Whatever else leaves it was raised by a signal handler, or by a signer.
_SAID: Final = (
    Malformed,
    ProtocolError,
    ConnectionLost,
    RequestRefused,
    StreamInterrupted,
    CallRefused,
    CallFailed,
)


class _Late(TimeoutError):
    """The service did nothing in time. A signal handler may raise ``TimeoutError``, too."""


class Wire:
    """One socket at a time, and the loop that answers wants with it.

    Args:
        service: Where to dial.
        session: Whose conversations are held.
        what: What is expected there, in messages.
    """

    def __init__(self, service: Endpoint, session: Closable, *, what: str) -> None:
        self._session = session
        self._service = service
        self._what = what
        self._socket: socket.socket | None = None
        self._looked_at = 0.0
        self._in_use = threading.Lock()
        self._changes = threading.RLock()
        """Held while the socket is put in place or taken away, so that ``close`` ends this one and no other."""

    def run(self, exchange: Exchange[_T], timeout: float | None = None) -> _T:
        """Hold a conversation and return its result.

        Args:
            exchange: The conversation.
            timeout: How many seconds it may wait for the service to speak, or to take what is written.

        Raises:
            TimeoutError: The service did nothing in time.
            Busy: Another conversation is being held.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._in_use.acquire(blocking=False):
            exchange.close()
            self._session.require_open()
            raise Busy("another caller is using this connection: wait for it, or use one of your own")
        try:
            self._session.quiet_s = time.monotonic() - self._looked_at
            want = next(exchange)
            while True:
                try:
                    answer = self._do(want, deadline)
                except BaseException as fault:  # noqa: BLE001  # the conversation decides what a fault means
                    want = exchange.throw(fault)
                else:
                    want = exchange.send(answer)
        except StopIteration as done:
            result: _T = done.value
            return result
        except _Late:
            raise TimeoutError("the service said nothing in time") from None
        except _SAID:
            raise
        except BaseException:  # what had been received then, and was not heard, is gone: nothing may wait for it
            self._session.abandon()
            self._hang_up()
            raise
        finally:
            self._in_use.release()
            if self._session.closed:
                self._hang_up_unless_in_use()

    def close(self) -> None:
        """Wake whoever waits. The socket is closed by who uses it, never under a thread that waits for it."""
        with self._changes:
            self._session.closed = True
            if self._socket is not None:
                _tls.shut(self._socket, socket.SHUT_RDWR)
        self._hang_up_unless_in_use()

    def end_reading(self, still: Callable[[], bool]) -> None:
        """Let whoever reads have what has come, and then the end, if that still holds. What is written still leaves."""
        with self._changes:
            if self._socket is not None and still():
                _tls.shut(self._socket, socket.SHUT_RD)

    def _hang_up_unless_in_use(self) -> None:
        if self._in_use.acquire(blocking=False):
            try:
                self._hang_up()
            finally:
                self._in_use.release()

    def _do(self, want: Want, deadline: float | None) -> BytesLike:
        match want:
            case Write():
                return self._write(want, deadline)
            case Read():
                return self._read(want, deadline)
            case Dial():
                self._dial()
            case Hangup():
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    def _dial(self) -> None:
        try:
            self._connect()
        except (OSError, ValueError) as fault:  # the second from a name that cannot be looked up, such as ``a..b``
            self._hang_up()
            self._session.require_open()
            raise ConnectionLost(
                f"nothing was sent: no {self._what} at {self._service.host}:{self._service.port} ({fault})",
                nothing_sent=True,
            ) from fault

    def _connect(self) -> None:
        """Connect to the first address that takes us. The socket is in place meanwhile, so that ``close`` ends it."""
        refused = OSError("no address")
        name = self._service.host  # as text, a cold start would pay for the tables of IDNA
        host = name.encode() if name.isascii() else name
        for family, kind, _, _, address in socket.getaddrinfo(host, self._service.port, type=socket.SOCK_STREAM):
            self._session.require_open()
            made = socket.socket(family, kind)
            self._put(made)
            made.settimeout(_CONNECT_TIMEOUT_S)
            try:
                made.connect(address)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open(made)
            except OSError as fault:
                self._hang_up()
                refused = fault
            else:
                return
        raise refused

    def _put(self, made: socket.socket) -> None:
        with self._changes:
            self._socket = made

    def _hang_up(self) -> None:
        with self._changes:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _connected(self) -> socket.socket:
        assert self._socket is not None  # a conversation dials before it reads or writes
        return self._socket

    def _read(self, want: Read, deadline: float | None) -> BytesLike:
        try:
            heard = self._receive(want, deadline)
            self._looked_at = time.monotonic()
            return heard
        except OSError as fault:
            if fault.errno is None:
                raise  # not the system's: we gave up waiting, or a signal handler raised it
            raise ConnectionLost(f"the connection ended while it was read from ({fault})") from fault

    def _write(self, want: Write, deadline: float | None) -> bytes:
        try:
            if want.look_first and (heard := self._look()):
                return heard
            while not want.done:
                try:
                    want.advance(self._send(want))
                except BlockingIOError:
                    speaks = self._wait(deadline, select.POLLIN | select.POLLOUT) & ~select.POLLOUT
                    if speaks and (heard := self._look()):
                        return heard
        except OSError as fault:
            if fault.errno is None:
                raise
            _tls.shut(self._connected(), socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ConnectionLost(f"the connection ended while it was written to ({fault})") from fault
        return b""

    def _wait(self, deadline: float | None, what_for: int = select.POLLIN) -> int:
        """Wait until the socket can be used; return what for."""
        waiting = select.poll()
        waiting.register(self._connected(), what_for)
        ready = waiting.poll(None if deadline is None else max(0, math.ceil((deadline - time.monotonic()) * 1000)))
        if not ready:
            raise _Late
        return ready[0][1]

    # -- TCP

    def _open(self, made: socket.socket) -> None:
        """Make what was connected ready for use."""
        made.settimeout(None)

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        """Return what comes next; ``b""`` at the end."""
        if deadline is not None:
            self._wait(deadline)
        if want.into is not None:
            return want.into[: self._connected().recv_into(want.into, 0, _WHOLE if deadline is None else 0)]
        return self._connected().recv(want.max_bytes)

    def _look(self) -> bytes:
        """Return what is there, ``b""`` when nothing is."""
        self._looked_at = time.monotonic()
        try:
            return _or_lost(self._receive_now())
        except BlockingIOError:
            return b""

    def _receive_now(self) -> bytes:
        """Return what is there; ``b""`` at the end.

        Raises:
            BlockingIOError: Nothing is.
        """
        return self._connected().recv(65_536, _DONT_WAIT)

    def _send(self, want: Write) -> int:
        """Return how much was written without waiting."""
        assert self._socket is not None
        return self._socket.sendmsg(want.next_buffers(_MOST_BUFFERS), (), _DONT_WAIT)


class TlsWire(Wire):
    """The same over TLS.

    Args:
        service: Where to dial, and whose certificate is expected.
        session: Whose conversations are held.
        what: What is expected there, in messages.
        context: How to speak TLS.
    """

    def __init__(self, service: Endpoint, session: Closable, *, what: str, context: ssl.SSLContext) -> None:
        super().__init__(service, session, what=what)
        self._context = context

    def _open(self, made: socket.socket) -> None:
        secure = self._context.wrap_socket(
            made, server_hostname=self._service.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._put(secure)
        secure.do_handshake()
        secure.setblocking(False)

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        while True:
            try:
                return _tls.receive(self._connected(), want.max_bytes)
            except BlockingIOError:
                self._wait(deadline)

    def _receive_now(self) -> bytes:
        return _tls.receive(self._connected(), 65_536)

    def _send(self, want: Write) -> int:
        return _tls.send(self._connected(), want)


def _or_lost(heard: bytes) -> bytes:
    if not heard:
        raise ConnectionLost("the service has closed the connection")
    return heard
