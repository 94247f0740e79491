"""Connections to AWS's emulator and to our service role, beside each other: the same bytes, and what both say."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from lambda_wire import _limits as limits
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    NextAsked,
    PingAsked,
    Pong,
    ResponseChunk,
    ResponseStarted,
    Violation,
)
from lambda_wire._http11 import MessageReader
from lambda_wire._lifecycle import Lifecycle
from lambda_wire._messages import MalformedMessage, MessageEnd, ResponseHead
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Role, Signal

PREFIX: Final = b"/2018-06-01/runtime"
NEXT: Final = PREFIX + b"/invocation/next"
INIT_ERROR: Final = PREFIX + b"/init/error"
PING: Final = b"/2018-06-01/ping"
STREAMING: Final = b"Lambda-Runtime-Function-Response-Mode: streaming"
CHUNKED: Final = b"Transfer-Encoding: chunked"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_MANAGED_ERROR: Final = 1024 * 1024
"""The largest error document in managed-instances mode (LI-ERROR-1)."""
LARGE: Final = {
    b"@%d@" % size: bytes(size)
    for size in (MAX_MANAGED_ERROR, MAX_MANAGED_ERROR + 1, limits.MAX_PAYLOAD, limits.MAX_PAYLOAD + 1)
}
"""Stands for so many bytes."""
PROBE: Final = b"GET " + PING + b" HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_S: Final = 30.0

#: Fields that only say how a body is framed, or when.
_UNCOMPARED: Final = {"content-length", "date", "transfer-encoding"}

Message: TypeAlias = tuple[int, tuple[tuple[str, str], ...], bytes]
"""Status, fields without those of framing and time, and body."""


def id_of(number: int) -> str:
    """Return the id of an invocation."""
    return f"id-{max(number, 0):09d}"


def payload_of(number: int) -> bytes:
    """Return its event."""
    return b'{"n": %d}' % number


def post(target: bytes, framing: bytes, body: bytes, *, version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request with a body."""
    return b"POST %b %b\r\nHost: a\r\n%b\r\n%b" % (target, version, framing, body)


def large(size: int, *, chunked: bool) -> tuple[bytes, bytes]:
    """Return how a body of that size is framed, and the body."""
    if chunked:
        return CHUNKED + b"\r\n", b"%x\r\n@%d@\r\n0\r\n\r\n" % (size, size)
    return b"Content-Length: %d\r\n" % size, b"@%d@" % size


@dataclass(frozen=True, slots=True)
class Step:
    """What a runtime does: send so many bytes on one of its connections.

    Attributes:
        connection: Which; the first step on it opens it.
        data: The bytes, with marks for what differs from run to run.
        methods: Of the requests in them.
        end: Whether no more bytes come on it.
    """

    connection: int
    data: bytes
    methods: tuple[str, ...] = ("GET",)
    end: bool = False


@dataclass(slots=True)
class Said:
    """What one end answered to a step.

    Attributes:
        messages: Its final answers.
        continues: How often it said ``100 Continue``.
        closed: Whether it ended the connection; unknown, and so ``False``, where the other one did not.
    """

    messages: list[Message] = field(default_factory=list[Message])
    continues: int = 0
    closed: bool = False


class Line:
    """What came on one connection."""

    def __init__(self) -> None:
        self.raw = b""
        self.methods: list[str] = []
        self.ended = False
        self.taken = Said()

    def read(self) -> Said:
        """Return all that was said."""
        reader = MessageReader(Role.CLIENT)
        said = Said(continues=self.raw.count(CONTINUE), closed=self.ended)
        reader.receive_data(self.raw)
        if self.ended:
            reader.receive_data(b"")
        for method in (*self.methods, *["GET"] * 9):
            reader.expect(method)
            message = _next_message(reader)
            if message is None:
                break
            said.messages.append(message)
        return said

    def news(self) -> Said:
        """Return what was said since the last time."""
        said, before = self.read(), self.taken
        self.taken = said
        return Said(said.messages[len(before.messages) :], said.continues - before.continues, said.closed)


def _next_message(reader: MessageReader) -> Message | None:
    head, body = None, b""
    while True:
        try:
            part = reader.next_event()
        except MalformedMessage:  # a text behind the refusal of a HEAD that could not be read
            return None
        match part:
            case ResponseHead():
                head = part
            case bytes():
                body += part
            case MessageEnd():
                assert head is not None
                reader.start_next()
                return _message(head, body)
            case _:
                return None


def _message(head: ResponseHead, body: bytes) -> Message:
    fields = {pair for pair in head.headers if pair[0] not in _UNCOMPARED}
    return head.status, tuple(sorted((k, "*" if k == "lambda-runtime-deadline-ms" else v) for k, v in fields)), body


class ServiceSide:
    """Service roles that share one environment."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._lines: dict[int, tuple[ServiceConnection, Line]] = {}

    def hear(self, step: Step, data: bytes) -> Said:
        """Return what is answered to a step."""
        if step.connection not in self._lines:
            self._lines[step.connection] = ServiceConnection(self._lifecycle, max_stream=limits.MAX_PAYLOAD), Line()
        connection, line = self._lines[step.connection]
        line.methods += step.methods
        for piece in (data, b"") if step.end else (data,):
            if not line.ended:
                connection.receive_data(piece)
                line.raw += self._pump(step.connection, connection)
                line.ended = connection.must_close or not piece
        return line.news()

    def _pump(self, number: int, connection: ServiceConnection) -> bytes:
        """Answer all that can be answered."""
        out = b""
        while not connection.must_close:
            try:
                event = connection.next_event()
            except RemoteProtocolError as fault:
                return out + (connection.send(fault.reply) if fault.reply is not None else b"")
            match event:
                case Signal() | ConnectionClosed():
                    return out
                case NextAsked():
                    out += self._polled(number, connection)
                case ContinueAsked():
                    out += connection.send(Continue())
                case PingAsked():
                    out += connection.send(Pong())
                case Violation():
                    out += connection.send(event.reply)
                case ResponseStarted() | ResponseChunk():
                    pass
                case _:
                    out += connection.send(Accepted())
        return out

    def _polled(self, number: int, connection: ServiceConnection) -> bytes:
        """Return what is answered at once to a poll."""
        raise NotImplementedError


class EmulatorSide:
    """Connections to an emulator.

    Args:
        address: Where its Runtime API is.
        moment_s: How long it is waited for where it says less than we do.
        may_be_silent: Whether it may say nothing then; if not, it is told that no more bytes come.
    """

    def __init__(self, address: tuple[str, int], *, moment_s: float = 1.0, may_be_silent: bool = False) -> None:
        self._address = address
        self._moment_s = moment_s
        self._may_be_silent = may_be_silent
        self._lines: dict[int, tuple[socket.socket, Line]] = {}

    def hear(self, step: Step, data: bytes, ours: Said) -> Said:
        """Return what is answered to a step, once it is as much as we said, or the connection has ended."""
        if step.connection not in self._lines:
            fresh = socket.create_connection(self._address, timeout=PATIENCE_S)
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines[step.connection] = fresh, Line()
        wire, line = self._lines[step.connection]
        line.methods += step.methods
        had = line.taken
        if line.ended:
            return line.news()
        enough = len(had.messages) + len(ours.messages), had.continues + ours.continues
        try:
            wire.sendall(data)
            if step.end:
                wire.shutdown(socket.SHUT_WR)
            else:
                answered = self._read(wire, line, enough)
                if not ours.closed and (answered or self._may_be_silent):
                    return line.news()
                # It must hear no more; else it answers this.
                wire.sendall(PROBE)
                wire.shutdown(socket.SHUT_WR)
            self._read(wire, line, None)
        except TimeoutError:
            raise
        except OSError:  # it was reset
            line.ended = True
        return line.news()

    def _read(self, wire: socket.socket, line: Line, enough: tuple[int, int] | None) -> bool:
        """Read so many answers, or to the end; say whether they came without a long wait."""
        wire.settimeout(PATIENCE_S if enough is None else self._moment_s)
        while not line.ended:
            said = line.read()
            if enough is not None and len(said.messages) >= enough[0] and said.continues >= enough[1]:
                return True
            try:
                piece = wire.recv(65_536)
            except TimeoutError:
                if enough is None:
                    raise
                return False
            line.raw += piece
            line.ended = not piece
        return True

    def close(self) -> None:
        """End all connections."""
        for wire, _ in self._lines.values():
            wire.close()
