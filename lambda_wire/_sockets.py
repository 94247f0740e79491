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
from lambda_wire._line import Address, Line, look_up, of_the_system
from lambda_wire._malformed import Malformed
from lambda_wire._types import BytesLike
from lambda_wire._wants import Closable, Dial, Exchange, Hangup, Read, Want, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine
    from typing import Final, TypeVar, assert_never
else:
    from lambda_wire._typing import TypeVar, assert_never


__all__ = ["Wire"]

_T = TypeVar("_T")
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


class _Waits:
    """A thread's own waits. They block, and so never suspend whoever awaits them.

    Args:
        deadline: When waiting ends, whatever it is for.
    """

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._until = deadline

    async def addresses(self, host: bytes, port: int) -> list[Address]:
        return look_up(host, port)

    async def readable(self, wire: socket.socket) -> None:
        _wait(wire, self._until, select.POLLIN)

    async def writable(self, wire: socket.socket) -> None:
        _wait(wire, self._until, select.POLLOUT)

    async def within(self, seconds: float, act: Coroutine[object, None, None]) -> bool:
        limit = time.monotonic() + seconds
        self._until = limit if self._deadline is None else min(limit, self._deadline)
        try:
            await act
        except _Late:
            if self._until == self._deadline:
                raise
            return False
        return True


class Wire(Line):
    """One socket at a time, and the loop that answers wants with it.

    Args:
        service: Where to dial, and whose certificate is expected.
        session: Whose conversations are held.
        what: What is expected there, in messages.
        context: How to speak TLS; plain TCP when not given.
    """

    def __init__(
        self, service: Endpoint, session: Closable, *, what: str, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(service, session, what=what, context=context)
        self._looked_at = 0.0
        self._in_use = threading.Lock()

    def run(self, exchange: Exchange[_T], timeout: float | None = None) -> _T:
        """Hold a conversation and return its result.

        Args:
            exchange: The conversation.
            timeout: How many seconds it may wait for the service to take us, to speak, or to take what is written. How
                long a host name is looked up is the system's affair.

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
        self._session.closed = True
        self._shut(socket.SHUT_RDWR)
        self._hang_up_unless_in_use()

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
                self._dial_at_once(_Waits(deadline))
            case Hangup():
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    def _dial_at_once(self, waits: _Waits) -> None:
        try:
            self._dial(waits).send(None)
        except StopIteration:
            if self._context is None:
                self._connected().settimeout(None)

    def _read(self, want: Read, deadline: float | None) -> BytesLike:
        try:
            heard = self._receive(want, deadline)
            self._looked_at = time.monotonic()
            return heard
        except OSError as fault:
            raise ConnectionLost(f"the connection ended while it was read from ({of_the_system(fault)})") from fault

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
            of_the_system(fault)
            _tls.shut(self._connected(), socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ConnectionLost(f"the connection ended while it was written to ({fault})") from fault
        return b""

    def _wait(self, deadline: float | None, what_for: int = select.POLLIN) -> int:
        """Wait until the socket can be used; return what for."""
        return _wait(self._connected(), deadline, what_for)

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        """Return what comes next; ``b""`` at the end."""
        while self._context is not None:
            try:
                return _tls.receive(self._connected(), want.max_bytes)
            except BlockingIOError:
                self._wait(deadline)
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
        wire = self._connected()
        return wire.recv(65_536, _DONT_WAIT) if self._context is None else _tls.receive(wire, 65_536)

    def _send(self, want: Write) -> int:
        """Return how much was written without waiting."""
        if self._context is not None:
            return _tls.send(self._connected(), want)
        assert self._socket is not None
        return self._socket.sendmsg(want.next_buffers(_MOST_BUFFERS), (), _DONT_WAIT)


def _wait(wire: socket.socket, deadline: float | None, what_for: int) -> int:
    """Wait until a socket can be used; return what for.

    Raises:
        _Late: The deadline has passed.
    """
    waiting = select.poll()
    waiting.register(wire, what_for)
    ready = waiting.poll(None if deadline is None else max(0, math.ceil((deadline - time.monotonic()) * 1000)))
    if not ready:
        raise _Late
    return ready[0][1]


def _or_lost(heard: bytes) -> bytes:
    if not heard:
        raise ConnectionLost("the service has closed the connection")
    return heard
