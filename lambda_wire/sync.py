"""The blocking driver: a runtime on one thread, over one TCP connection at a time.

with connect(os.environ["AWS_LAMBDA_RUNTIME_API"]) as runtime:
    while True:
        invocation = runtime.next_invocation()
        runtime.respond(invocation, b'"hello"')
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self, TypeVar, assert_never

from lambda_wire import _names as names
from lambda_wire import exchanges
from lambda_wire._errors import Busy, ConnectionLost
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._malformed import Malformed, quote
from lambda_wire._runtime import USER_AGENT
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Hangup, Outgoing, Read, Want, Write

__all__ = ["ResponseStream", "Runtime", "connect"]

_T = TypeVar("_T")
_CONNECT_TIMEOUT_S: Final = 5.0
#: How many buffers one system call takes: IOV_MAX of Linux and macOS.
_MOST_BUFFERS: Final = 1024
_DONT_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)


def connect(address: str, *, user_agent: str = USER_AGENT) -> Runtime:
    """Return a runtime that talks to the Runtime API at ``address``. Nothing is sent before it is used.

    Args:
        address: ``host:port``, as ``AWS_LAMBDA_RUNTIME_API`` has it.
        user_agent: What the ``User-Agent`` field says.

    Raises:
        Malformed: ``address`` is not ``host:port``, or it or ``user_agent`` is no header value.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and "/" not in host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise Malformed(f"expected the Runtime API's address as host:port, got {quote(address)}")
    return Runtime(host.strip("[]"), int(port), user_agent=user_agent)


class Runtime:
    """A runtime's conversations, blocking. One caller at a time: a second one is turned away with ``Busy``."""

    def __init__(self, host: str, port: int, *, user_agent: str = USER_AGENT) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._session = exchanges.RuntimeSession(host=f"{shown}:{port}", user_agent=user_agent)
        self._wire = _Wire(host, port, self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close this runtime for good, from whichever thread or signal handler.

        An open poll is given up. Whatever waits in another thread is woken, and every call from now on fails, with
        ``ConnectionLost``.
        """
        self._wire.close()

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        """Wait for the next invocation.

        Args:
            timeout: Seconds; ``None`` waits for ever, as AWS demands of runtimes. A poll that timed out stays open and
                is resumed by the next call.

        Raises:
            TimeoutError: No invocation came in time.
            RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.next_invocation(self._session), timeout)

    def respond(
        self, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
    ) -> Accepted | Refused:
        """Answer ``invocation`` with a whole response.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or ``content_type`` no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.respond(self._session, invocation, payload, content_type=content_type))

    def report_error(
        self, invocation: Invocation, *, error_type: str, payload: BytesLike, xray_cause: str = ""
    ) -> Accepted | Refused:
        """Report that ``invocation`` failed before its response began.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(
            exchanges.report_error(
                self._session, invocation, error_type=error_type, payload=payload, xray_cause=xray_cause
            )
        )

    def report_init_error(self, *, error_type: str, payload: BytesLike, xray_cause: str = "") -> Accepted | Refused:
        """Report that the runtime could not start.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The runtime has polled already.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(
            exchanges.report_init_error(self._session, error_type=error_type, payload=payload, xray_cause=xray_cause)
        )

    def stream(
        self, invocation: Invocation, *chunks: BytesLike, content_type: str = names.OCTET_STREAM
    ) -> ResponseStream:
        """Begin to answer ``invocation`` with a stream.

        Args:
            invocation: What is answered.
            chunks: Data that leaves together with the head, each piece as a chunk of its own.
            content_type: Of the response.

        Raises:
            StreamInterrupted: The service has answered already, or went away.
            ConnectionLost: The service cannot be reached. Nothing was sent.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: A chunk is not bytes-like, or ``content_type`` no header value. Nothing was sent.
            Busy: Another caller uses this runtime.
        """
        begin = exchanges.start_response(self._session, invocation, chunks, content_type=content_type)
        return ResponseStream(self._wire, self._wire.run(begin))


class ResponseStream:
    """A streamed response that has begun. End it with ``finish`` or ``fail``."""

    def __init__(self, wire: _Wire, response: exchanges.OpenResponse) -> None:
        self._wire = wire
        self._response = response

    def write(self, *chunks: BytesLike) -> None:
        """Send data at once, each piece as a chunk of its own. Empty pieces are left out.

        Raises:
            StreamInterrupted: The service has answered already, or went away: stop producing.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: A chunk is not bytes-like. Nothing was sent.
            Busy: Another caller uses this runtime.
        """
        self._wire.run(exchanges.write_chunks(self._response, chunks))

    def finish(self) -> Accepted | Refused:
        """Complete the response.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.finish_response(self._response))

    def fail(self, *, error_type: str, error_body: BytesLike) -> Accepted | Refused:
        """End the response early, with the two error trailers.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: The document is not bytes-like or does not fit the trailers (``MAX_TRAILER_DOCUMENT``).
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.fail_response(self._response, error_type=error_type, error_body=error_body))


class _Wire:
    """One socket at a time, and the loop that answers wants with it."""

    def __init__(self, host: str, port: int, session: exchanges.RuntimeSession) -> None:
        self._address = (host, port)
        self._session = session
        self._socket: socket.socket | None = None
        self._selector: selectors.BaseSelector
        self._in_use = threading.Lock()
        self._changes = threading.RLock()
        """Held while the socket is put in place or taken away, so that ``close`` ends this one and no other."""

    def run(self, exchange: Exchange[_T], timeout: float | None = None) -> _T:
        if not self._in_use.acquire(blocking=False):
            exchange.close()
            self._session.require_open()
            raise Busy("another caller is using this runtime: wait for it, or use a runtime of your own")
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
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
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        self._hang_up_unless_in_use()

    def _hang_up_unless_in_use(self) -> None:
        if self._in_use.acquire(blocking=False):
            self._hang_up()
            self._in_use.release()

    def _do(self, want: Want, deadline: float | None) -> bytes:
        match want:
            case Read():
                return self._read(want.max_bytes, deadline)
            case Write():
                return self._write(want.outgoing, look_first=want.look_first)
            case Dial():
                self._dial()
            case Hangup():
                self._hang_up()
            case _ as never:
                assert_never(never)
        return b""

    def _dial(self) -> None:
        host, port = self._address
        try:
            made = socket.create_connection(self._address, timeout=_CONNECT_TIMEOUT_S)
        except OSError as fault:
            raise ConnectionLost(f"nothing was sent: no Runtime API at {host}:{port} ({fault})") from fault
        made.settimeout(None)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selectors.DefaultSelector()
        self._selector.register(made, selectors.EVENT_READ)
        with self._changes:
            self._socket = made

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._selector.close()
            with self._changes:
                self._socket.close()
                self._socket = None

    def _connected(self) -> socket.socket:
        assert self._socket is not None  # a conversation dials before it reads or writes
        return self._socket

    def _read(self, max_bytes: int, deadline: float | None) -> bytes:
        wire = self._connected()
        if deadline is not None and not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError("no invocation came in time; the poll stays open")
        try:
            return wire.recv(max_bytes)
        except OSError:  # whatever the network calls it: no more will come
            return b""

    def _write(self, outgoing: Outgoing, *, look_first: bool) -> bytes:
        wire = self._connected()
        try:
            if look_first and self._selector.select(0):
                return self._hear(wire)
            while outgoing:
                try:
                    outgoing.advance(wire.sendmsg(outgoing.next_buffers(_MOST_BUFFERS), [], _DONT_WAIT))
                except BlockingIOError:
                    if self._speaks_before_writable(wire):
                        return self._hear(wire)
        except OSError as fault:
            with contextlib.suppress(OSError):  # so that a service that still lives hears that no more will come
                wire.shutdown(socket.SHUT_WR)
            raise ConnectionLost(f"the connection ended while it was written to ({fault})") from fault
        return b""

    def _speaks_before_writable(self, wire: socket.socket) -> bool:
        self._selector.modify(wire, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            return any(events & selectors.EVENT_READ for _, events in self._selector.select())
        finally:
            self._selector.modify(wire, selectors.EVENT_READ)

    def _hear(self, wire: socket.socket) -> bytes:
        heard = wire.recv(65_536)
        if not heard:
            raise ConnectionLost("the service has closed the connection")
        return heard
