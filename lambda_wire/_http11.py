"""HTTP/1.1 messages. The only room that knows h11.

A ``MessageReader`` reads one message after the other from one connection. h11 reads heads: every head is handed to it
whole, in a connection object of its own, so that limits are on the message and never on how the network cut it. Bodies
are framed here: counted, chunked (by our own decoder, which keeps boundaries and bounds trailers), or up to the end.

What a request may say beyond RFC 9112 is what Go's ``net/http``, which the real service is made of, lets it say
(``server.go`` and ``transfer.go`` of Go 1.26; every point observed with the emulator of aws-sam-cli 1.170.0, 2026-11).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias, assert_never

import h11

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._buffer import Buffer
from lambda_wire._chunked import MAX_PIECE, ChunkDecoder
from lambda_wire._events import ConnectionClosed
from lambda_wire._heads import field_value
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import record
from lambda_wire._signals import NEED_DATA, PAUSED, Role, Signal
from lambda_wire._types import BytesLike, Headers

__all__ = [
    "HttpEvent",
    "MalformedMessage",
    "MessageEnd",
    "MessageReader",
    "RequestHead",
    "ResponseHead",
    "TruncatedMessage",
]

_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r")) + b"\x7f"
_CONTROLS_TO_BLANKS: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_LONGEST_REASON: Final = 100  # h11 quotes the whole line that it cannot read
_BLANKS_AFTER_POST: Final = 4  # CR and LF before the next request line: Go forgives old clients that much


@record
class RequestHead:
    """The head of a request. Header names are in lower case."""

    method: str
    target: str
    headers: Headers
    keep_alive: bool
    http_version: str = "1.1"
    expects_continue: bool = False
    """Whether the body comes only after ``100 Continue``. Never without a body."""


@record
class ResponseHead:
    """The head of a final response. Header names are in lower case."""

    status: int
    headers: Headers
    keep_alive: bool


@record
class MessageEnd:
    """The message is complete; its trailers, which only chunked bodies have."""

    trailers: Headers = ()


HttpEvent: TypeAlias = RequestHead | ResponseHead | bytes | MessageEnd | ConnectionClosed


class MalformedMessage(Malformed):
    """Bytes that are no HTTP/1.1 message.

    Attributes:
        status_hint: The status that a server answers this with.
    """

    def __init__(self, reason: str, *, at: int | None, status_hint: int = 400) -> None:
        super().__init__(reason, at=at)
        self.status_hint = status_hint


class TruncatedMessage(MalformedMessage):
    """A message that was fine until its connection ended."""


class _Reading(Enum):
    HEAD = "head"
    COUNTED = "counted body"
    CHUNKED = "chunked body"
    UNTIL_CLOSE = "body that ends with its connection"
    ENDED = "end"


class MessageReader:
    """Reads the messages that one peer sends on one connection. A fault is for ever.

    Args:
        role: ``SERVER`` reads requests, ``CLIENT`` reads responses.
        keep_boundaries: Give body pieces that depend on the message alone: one a chunk (see ``ChunkDecoder``), and
            ``MAX_PIECE`` bytes of a counted body. Otherwise bytes are given as soon as they are there.
        max_head: Largest head in bytes, its empty line included.
    """

    def __init__(self, role: Role, *, keep_boundaries: bool = False, max_head: int = limits.MAX_HEAD) -> None:
        self._role = role
        self._keep_boundaries = keep_boundaries
        self._max_head = max_head
        self._buffer = Buffer()
        self._eof = False
        self._fault: MalformedMessage | None = None
        self._method = "GET"
        self._blanks = 0
        """How many more CR and LF may stand before the next message."""
        self._head_at = 0
        self._reading = _Reading.HEAD
        self._remaining = 0
        self._chunks = ChunkDecoder(self._buffer)

    @property
    def in_body(self) -> bool:
        """Whether a head was read and its body is not complete."""
        return self._reading not in (_Reading.HEAD, _Reading.ENDED)

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self.in_body or (self._reading is _Reading.HEAD and len(self._buffer) > 0)

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not len(data):
            self._eof = True
        elif not self._eof and self._fault is None:
            self._buffer.feed(data)

    def expect(self, method: str) -> None:
        """Say which method the next response answers: it decides whether that has a body (RFC 9112, 6.3)."""
        self._method = method

    def start_next(self) -> None:
        """Begin the next message, after ``MessageEnd``."""
        self._reading = _Reading.HEAD

    def next_event(self) -> HttpEvent | Signal:
        """Return the next part of the message.

        Returns:
            A head, then body pieces as ``bytes``, then ``MessageEnd``; ``PAUSED`` when bytes of the next message wait
            for ``start_next()``; ``ConnectionClosed`` at an end between messages; else ``NEED_DATA``.

        Raises:
            MalformedMessage: The bytes are not HTTP/1.1, or end in the middle.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            return self._next_event()
        except MalformedMessage as fault:
            self._fault = fault
            raise

    def _next_event(self) -> HttpEvent | Signal:
        event = self._read()
        if event is not None:
            return event
        if not self._eof:
            return NEED_DATA
        if not self.in_message:
            return ConnectionClosed()
        raise TruncatedMessage(
            f"the connection ended in the middle of a {self._reading.value}",
            at=self._buffer.taken + len(self._buffer),
        )

    def _read(self) -> HttpEvent | Signal | None:
        match self._reading:
            case _Reading.HEAD:
                return self._read_head()
            case _Reading.COUNTED:
                return self._read_counted()
            case _Reading.CHUNKED:
                return self._read_chunked()
            case _Reading.UNTIL_CLOSE:
                return self._buffer.take_up_to(len(self._buffer)) or (self._end() if self._eof else None)
            case _Reading.ENDED:
                return PAUSED if len(self._buffer) else None
            case _ as never:
                assert_never(never)

    def _end(self, trailers: Headers = ()) -> MessageEnd:
        self._reading = _Reading.ENDED
        return MessageEnd(trailers=trailers)

    def _read_counted(self) -> bytes | MessageEnd | None:
        if not self._remaining:
            return self._end()
        if self._keep_boundaries:
            piece = self._buffer.take(min(self._remaining, MAX_PIECE))
        else:
            piece = self._buffer.take_up_to(self._remaining)
        if not piece:
            return None
        self._remaining -= len(piece)
        return piece

    def _read_chunked(self) -> bytes | MessageEnd | None:
        try:
            piece = self._chunks.next_piece()
        except Malformed as fault:
            raise MalformedMessage(fault.reason, at=fault.at) from fault
        return self._end(self._chunks.trailers) if self._chunks.finished else piece

    def _read_head(self) -> HttpEvent | None:
        while (head := self._take_head()) is not None:
            try:
                event = self._parse_request(head) if self._role is Role.SERVER else self._parse_response(head)
            except h11.RemoteProtocolError as fault:
                raise self._bad_head(_without_names(str(fault)), status_hint=fault.error_status_hint) from fault
            if event is not None:
                return event
        return None

    def _take_head(self) -> bytes | None:
        while self._blanks and self._buffer.peek(1) in (b"\r", b"\n"):
            self._buffer.take(1)
            self._blanks -= 1
        self._head_at = self._buffer.taken
        first = self._buffer.peek(1)
        if first and first[0] <= 0x20:
            raise self._bad_head(f"expected the first line of a message, got {quote(first)}")
        try:
            return self._buffer.take_until(b"\n\r\n", b"\n\n", limit=self._max_head)
        except Malformed as fault:
            raise MalformedMessage(
                f"expected a head of at most {self._max_head} bytes",
                at=self._head_at + self._max_head,
                status_hint=431,
            ) from fault

    def _bad_head(self, reason: str, *, status_hint: int = 400) -> MalformedMessage:
        return MalformedMessage(reason, at=self._head_at, status_hint=status_hint)

    def _parse_request(self, head: bytes) -> RequestHead:
        if head.translate(None, _CONTROLS) != head:
            raise self._bad_head("expected a head without control characters")
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
        parser.receive_data(head)
        event = parser.next_event()
        assert isinstance(event, h11.Request)
        headers, version = _headers(event), self._version(event)
        expectation = field_value(headers, "expect")
        if expectation and "100-continue" not in _options(headers, "expect"):
            raise self._bad_head(f"expected Expect: 100-continue or none, got {quote(expectation)}", status_hint=417)
        self._frame(headers, version, has_body=True)
        method = event.method.decode("ascii")
        self._blanks = _BLANKS_AFTER_POST if method == "POST" else 0
        return RequestHead(
            method=method,
            target=event.target.decode("ascii"),
            headers=headers,
            keep_alive=_keeps_alive(headers, version),
            http_version=version,
            expects_continue=bool(expectation) and version != "1.0" and self._has_body,
        )

    def _parse_response(self, head: bytes) -> ResponseHead | None:
        """Return the final response's head; ``None`` for an interim one, which any server may send (RFC 9110, 15.2).

        Control characters read as blanks (RFC 9110, 5.5): the service copies a caller's client context raw (observed),
        and no caller may end a runtime with it.
        """
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(head))
        parser.send(h11.Request(method=self._method, target="/", headers=[("Host", "")]))
        parser.receive_data(head.translate(_CONTROLS_TO_BLANKS))
        event = parser.next_event()
        if isinstance(event, h11.InformationalResponse):
            return None
        assert isinstance(event, h11.Response)
        headers, version = _headers(event), self._version(event)
        self._frame(headers, version, has_body=self._method != "HEAD" and event.status_code not in (204, 304))
        keep_alive = _keeps_alive(headers, version) and self._reading is not _Reading.UNTIL_CLOSE
        return ResponseHead(status=event.status_code, headers=headers, keep_alive=keep_alive)

    def _version(self, event: h11.Request | h11.Response) -> str:
        version = event.http_version.decode("ascii")
        if not version.startswith("1."):
            raise self._bad_head(f"expected HTTP/1.0 or HTTP/1.1, got HTTP/{version}", status_hint=505)
        return version

    def _frame(self, headers: Headers, version: str, *, has_body: bool) -> None:
        """Choose how the body is framed (RFC 9112, 6.3). h11 has validated both fields."""
        length = field_value(headers, "content-length")
        if has_body and version != "1.0" and field_value(headers, "transfer-encoding"):
            if _options(headers, "trailer") & names.FRAMING_FIELDS:
                raise self._bad_head("expected no trailer that speaks of framing to be declared")
            self._reading = _Reading.CHUNKED
            self._chunks = ChunkDecoder(self._buffer, keep_boundaries=self._keep_boundaries)
        elif has_body and not length and self._role is Role.CLIENT:
            self._reading = _Reading.UNTIL_CLOSE
        else:
            self._reading = _Reading.COUNTED
            self._remaining = int(length) if has_body and length else 0

    @property
    def _has_body(self) -> bool:
        return self._reading is not _Reading.COUNTED or self._remaining > 0


def _without_names(reason: str) -> str:
    """Return what h11 says is wrong, within bounds and without Python's names: it quotes the line it cannot read."""
    if "_SWITCH" in reason:
        return "expected no switch of protocols, got status 101"
    said, quoting, line = reason.partition(": bytearray(")
    return f"{said}: {line.removesuffix(')')}"[:_LONGEST_REASON] if quoting else said


def _headers(event: h11.Request | h11.Response) -> Headers:
    return tuple((name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in event.headers)


def _keeps_alive(headers: Headers, version: str) -> bool:
    """Say whether another message may follow. ``keep-alive`` and ``close`` together keep HTTP/1.0 alive (observed)."""
    options = _options(headers, "connection")
    return "keep-alive" in options if version == "1.0" else "close" not in options


def _options(headers: Headers, name: str) -> set[str]:
    """Return the members of a field that is a list, in lower case."""
    values = ",".join([value for held, value in headers if held == name])
    return {option.strip(" \t").lower() for option in values.split(",")} - {""}
