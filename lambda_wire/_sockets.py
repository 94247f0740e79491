"""Blocking sockets that answer wants: one connection at a time, on one thread, over TCP or TLS."""

from __future__ import annotations

import selectors
import socket
import threading
import time

from lambda_wire import _tls
from lambda_wire._addresses import Endpoint
from lambda_wire._errors import Busy, ConnectionLost
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Outgoing, Read, Want, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, Final, TypeVar, assert_never
else:
    from lambda_wire._typing import TypeVar, assert_never


__all__ = ["TlsWire", "Wire"]

_T = TypeVar("_T")
_CONNECT_TIMEOUT_S: Final = 5.0
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024
_DONT_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
_WHOLE: Final = getattr(socket, "MSG_WAITALL", 0)


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
        self._selector: selectors.BaseSelector
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
        if not self._in_use.acquire(blocking=False):
            exchange.close()
            self._session.require_open()
            raise Busy("another caller is using this connection: wait for it, or use one of your own")
        deadline = None if timeout is None else time.monotonic() + timeout
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

    def end_reading(self) -> None:
        """Let whoever reads have what has come, and then the end. What is written still leaves."""
        with self._changes:
            if self._socket is not None:
                _tls.shut(self._socket, socket.SHUT_RD)

    def _hang_up_unless_in_use(self) -> None:
        if self._in_use.acquire(blocking=False):
            self._hang_up()
            self._in_use.release()

    def _do(self, want: Want, deadline: float | None) -> BytesLike:
        match want:
            case Read():
                return self._read(want, deadline)
            case Write():
                return self._write(want.outgoing, deadline, look_first=want.look_first)
            case Dial():
                self._dial()
            case Hangup():
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    def _dial(self) -> None:
        try:
            made = self._connect()
        except (OSError, ValueError) as fault:  # the second from a name that cannot be looked up, such as ``a..b``
            raise ConnectionLost(
                f"nothing was sent: no {self._what} at {self._service.host}:{self._service.port} ({fault})",
                nothing_sent=True,
            ) from fault
        self._selector = selectors.DefaultSelector()
        self._selector.register(made, selectors.EVENT_READ)
        with self._changes:
            self._socket = made

    def _connect(self) -> socket.socket:
        name = self._service.host  # as text, a cold start would pay for the tables of IDNA
        host: Any = name.encode() if name.isascii() else name  # Any: typeshed does not know that bytes will do
        made = socket.create_connection((host, self._service.port), timeout=_CONNECT_TIMEOUT_S)
        made.settimeout(None)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._selector.close()
            with self._changes:
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
            if _is_deadline(fault):
                raise
            raise ConnectionLost(f"the connection ended while it was read from ({fault})") from fault

    def _write(self, outgoing: Outgoing, deadline: float | None, *, look_first: bool) -> bytes:
        try:
            if look_first and (heard := self._look()):
                return heard
            while outgoing:
                try:
                    outgoing.advance(self._send(outgoing))
                except BlockingIOError:
                    if self._speaks_before_writable(deadline) and (heard := self._look()):
                        return heard
        except OSError as fault:
            if _is_deadline(fault):
                raise
            _tls.shut(self._connected(), socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ConnectionLost(f"the connection ended while it was written to ({fault})") from fault
        return b""

    def _speaks_before_writable(self, deadline: float | None) -> bool:
        wire = self._connected()
        self._selector.modify(wire, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            return bool(self._wait(deadline) & selectors.EVENT_READ)
        finally:
            self._selector.modify(wire, selectors.EVENT_READ)

    def _wait(self, deadline: float | None) -> int:
        """Wait until the socket can be used; return what for."""
        ready = self._selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError("the service said nothing in time")
        return ready[0][1]

    # -- TCP

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        """Return what comes next; ``b""`` at the end."""
        if deadline is not None:
            self._wait(deadline)
        if want.into is not None:
            return want.into[: self._receive_into(want.into, _WHOLE if deadline is None else 0)]
        return self._connected().recv(want.max_bytes)

    def _receive_into(self, into: memoryview, flags: int) -> int:
        try:
            return self._connected().recv_into(into, 0, flags)
        except OSError as fault:
            if fault.errno is None:
                self._give_up()
            raise
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """End the connection: a signal handler raised, and how much of a body had been received is not known."""
        _tls.shut(self._connected(), socket.SHUT_RDWR)

    def _look(self) -> bytes:
        """Return what is there, ``b""`` when nothing is."""
        self._looked_at = time.monotonic()
        return _or_lost(self._connected().recv(65_536)) if self._selector.select(0) else b""

    def _send(self, outgoing: Outgoing) -> int:
        """Return how much was written without waiting."""
        return self._connected().sendmsg(outgoing.next_buffers(_MOST_BUFFERS), [], _DONT_WAIT)


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

    def _connect(self) -> ssl.SSLSocket:
        plain = super()._connect()
        plain.settimeout(_CONNECT_TIMEOUT_S)
        try:
            made = self._context.wrap_socket(plain, server_hostname=self._service.host)
        except BaseException:
            plain.close()
            raise
        made.setblocking(False)
        return made

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        while True:
            try:
                return _tls.receive(self._connected(), want.max_bytes)
            except BlockingIOError:
                self._wait(deadline)

    def _look(self) -> bytes:
        try:
            return _or_lost(_tls.receive(self._connected(), 65_536))
        except BlockingIOError:
            return b""

    def _send(self, outgoing: Outgoing) -> int:
        return _tls.send(self._connected(), outgoing)


def _is_deadline(fault: OSError) -> bool:
    """Say whether we gave up waiting, and not the network (ETIMEDOUT)."""
    return isinstance(fault, TimeoutError) and fault.errno is None


def _or_lost(heard: bytes) -> bytes:
    if not heard:
        raise ConnectionLost("the service has closed the connection")
    return heard
