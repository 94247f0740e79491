"""Blocking sockets that answer wants: one connection at a time, on one thread, over TCP or TLS."""

from __future__ import annotations

import math
import select
import socket
import sys
import time

from lambda_wire._errors import (
    CallFailed,
    CallRefused,
    ConnectionLost,
    ProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._line import Address, Line, look_up, lost
from lambda_wire._malformed import Malformed
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Final, TypeVar, assert_never
else:
    from lambda_wire._typing import TypeVar, assert_never


__all__ = ["Wire"]

_T = TypeVar("_T")
_WHOLE: Final = socket.MSG_WAITALL
#: The system counts milliseconds in 32 bits: it cannot wait for longer than 24 days at once.
_LONGEST_WAIT_MS: Final = 2**31 - 1
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
    """The conversation has not ended in time. A signal handler may raise ``TimeoutError``, too."""


class Wire(Line):
    """A line, and the loop that answers wants with it."""

    def run(self, exchange: Exchange[_T], timeout: float | None = None) -> _T:
        """Hold a conversation and return its result.

        Args:
            exchange: The conversation.
            timeout: How many seconds it may take, all its waits together: for the service to take us, to take what is
                written, and to speak. How long a host name is looked up is the system's affair.

        Raises:
            TimeoutError: It has not ended in time.
            ValueError: ``timeout`` is not a number. Nothing was sent.
            Busy: Another conversation is being held.
        """
        deadline = _deadline(timeout)
        self._take(exchange, "caller")
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
            raise TimeoutError("not all that was waited for came in time") from None
        except _SAID:
            raise
        except BaseException:  # what had been received then, and was not heard, is gone: nothing may wait for it
            self._session.abandon()
            self._hang_up(half=self._session.lingers)
            raise
        finally:
            self._leave()

    def _do(self, want: Want, deadline: float | None) -> BytesLike:
        match want:
            case Write():
                return self._write(want, deadline)
            case Read():
                return self._read(want, deadline)
            case Dial():
                self._dial_at_once(_Waits(self._wait, deadline))
            case Hangup():
                self._hang_up(half=want.half)
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
            raise lost("read from", fault) from fault

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
            ended = lost("written to", fault)
            self._shut(socket.SHUT_WR)  # a service that still lives hears that no more will come
            raise ended from fault
        return b""

    def _wait(self, deadline: float | None, what_for: int = select.POLLIN) -> int:
        """Wait until the socket can be used; return what for.

        Raises:
            _Late: The deadline has passed.
        """
        waiting = select.poll()
        waiting.register(self._connected(), what_for)
        while True:
            left_ms = None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000)
            if ready := waiting.poll(None if left_ms is None else math.ceil(min(left_ms, _LONGEST_WAIT_MS))):
                return ready[0][1]
            if left_ms is not None and left_ms <= _LONGEST_WAIT_MS:
                raise _Late

    def _receive(self, want: Read, deadline: float | None) -> BytesLike:
        """Return what comes next; ``b""`` at the end."""
        while self._context is not None:
            try:
                return self._receive_now(want.max_bytes)
            except BlockingIOError:
                self._wait(deadline)
        if deadline is not None:
            self._wait(deadline)
        if want.into is not None:
            return want.into[: self._connected().recv_into(want.into, 0, _WHOLE if deadline is None else 0)]
        return self._connected().recv(want.max_bytes)


def _deadline(timeout: float | None) -> float | None:
    """Return when so many seconds have passed, on the monotonic clock; ``None`` when they never will have."""
    if timeout is None or timeout > sys.float_info.max:
        return None
    if not timeout >= -math.inf:
        raise ValueError(f"expected a timeout in seconds, got {timeout!r}")
    return time.monotonic() + max(0.0, timeout)


class _Waits:
    """The waits of a dial, in a thread. They block, and so never suspend whoever awaits them."""

    def __init__(self, wait: Callable[[float | None, int], object], deadline: float | None) -> None:
        self._wait = wait
        self._deadline = self._until = deadline

    async def addresses(self, host: str, port: int) -> list[Address]:
        return look_up(host, port)

    async def readable(self, wire: socket.socket) -> None:  # noqa: ARG002  # the one that is dialled
        self._wait(self._until, select.POLLIN)

    async def writable(self, wire: socket.socket) -> None:  # noqa: ARG002  # likewise
        self._wait(self._until, select.POLLOUT)

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
