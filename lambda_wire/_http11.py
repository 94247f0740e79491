"""HTTP/1.1 messages. The only room that knows h11.

A ``MessageReader`` reads one message after the other from one connection. h11 reads heads: every head is handed to it
whole, in a connection object of its own, so that limits are on the message and never on how the network cut it. Bodies
are framed here: counted, chunked (by our own decoder, which keeps boundaries and bounds trailers), or up to the end.

Heads are written from their fields and checked once, whole: a field that could end its line cannot get out.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

import h11

from lambda_wire import _limits as limits
from lambda_wire._buffer import Buffer
from lambda_wire._chunked import MAX_PIECE, ChunkDecoder
from lambda_wire._events import ConnectionClosed
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
    "encode_request_head",
    "encode_response_head",
    "field_value",
    "reason_phrase",
]

_REASONS: Final = {
    100: "Continue",
    200: "OK",
    202: "Accepted",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    413: "Request Entity Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    505: "HTTP Version Not Supported",
}


@record
class RequestHead:
    """The head of a request. Header names are in lower case."""

    method: str
    target: str
    headers: Headers
    keep_alive: bool
    http_version: str = "1.1"
    expects_continue: bool = False


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
        truncated: Whether the message was fine until the connection ended.
    """

    def __init__(self, reason: str, *, at: int, status_hint: int = 400, truncated: bool = False) -> None:
        super().__init__(reason, at=at)
        self.status_hint = status_hint
        self.truncated = truncated


class _Reading(Enum):
    HEAD = "HEAD"
    COUNTED = "COUNTED"
    CHUNKED = "CHUNKED"
    UNTIL_CLOSE = "UNTIL_CLOSE"
    ENDED = "ENDED"


class MessageReader:
    """Reads the messages that one peer sends on one connection.

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
        self._method = "GET"
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
        """Take bytes from the peer; ``b""`` says that it will send no more."""
        if len(data):
            self._buffer.feed(data)
        else:
            self._eof = True

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
        try:
            event = self._read()
        except MalformedMessage:
            raise
        except Malformed as fault:
            raise MalformedMessage(fault.reason, at=self._buffer.taken if fault.at is None else fault.at) from fault
        if event is not None:
            return event
        if not self._eof:
            return NEED_DATA
        if not self.in_message:
            return ConnectionClosed()
        raise MalformedMessage(
            f"the connection ended in the middle of a message ({self._reading.value})",
            at=self._buffer.taken + len(self._buffer),
            truncated=True,
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
        piece = self._chunks.next_piece()
        return self._end(self._chunks.trailers) if self._chunks.finished else piece

    def _read_head(self) -> HttpEvent | None:
        while (head := self._take_head()) is not None:
            start = self._buffer.taken - len(head)
            try:
                event = self._parse_request(head) if self._role is Role.SERVER else self._parse_response(head)
            except h11.RemoteProtocolError as fault:
                raise MalformedMessage(str(fault), at=start, status_hint=fault.error_status_hint) from fault
            if event is not None:
                return event
        return None

    def _take_head(self) -> bytes | None:
        start = self._buffer.taken
        first = self._buffer.peek(1)
        if first and first[0] <= 0x20:
            raise MalformedMessage(f"expected the first line of a message, got {quote(first)}", at=start)
        try:
            return self._buffer.take_until(b"\n\r\n", b"\n\n", limit=self._max_head)
        except Malformed as fault:
            raise MalformedMessage(
                f"expected a head of at most {self._max_head} bytes", at=start + self._max_head, status_hint=431
            ) from fault

    def _parse_request(self, head: bytes) -> RequestHead:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
        parser.receive_data(head)
        event = parser.next_event()
        assert isinstance(event, h11.Request)
        headers = _headers(event)
        version = event.http_version.decode("ascii")
        if not version.startswith("1."):
            raise MalformedMessage(f"expected HTTP/1.0 or HTTP/1.1, got HTTP/{version}", at=0, status_hint=505)
        self._frame(headers, has_body=True, until_close=False)
        return RequestHead(
            method=event.method.decode("ascii"),
            target=event.target.decode("utf-8", "surrogateescape"),
            headers=headers,
            keep_alive=_keeps_alive(headers, version),
            http_version=version,
            expects_continue=version != "1.0" and field_value(headers, "expect").lower() == "100-continue",
        )

    def _parse_response(self, head: bytes) -> ResponseHead | None:
        """Return the final response's head; ``None`` for an interim one, which any server may send (RFC 9110, 15.2)."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(head))
        parser.send(h11.Request(method=self._method, target="/", headers=[("Host", "")]))
        parser.receive_data(head)
        event = parser.next_event()
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                raise MalformedMessage("expected no change of protocol, got 101", at=self._buffer.taken)
            return None
        assert isinstance(event, h11.Response)
        headers = _headers(event)
        version = event.http_version.decode("ascii")
        has_body = self._method != "HEAD" and event.status_code not in (204, 304)
        self._frame(headers, has_body=has_body, until_close=True)
        keep_alive = _keeps_alive(headers, version) and self._reading is not _Reading.UNTIL_CLOSE
        return ResponseHead(status=event.status_code, headers=headers, keep_alive=keep_alive)

    def _frame(self, headers: Headers, *, has_body: bool, until_close: bool) -> None:
        """Choose how the body is framed (RFC 9112, 6.3). h11 has validated both fields."""
        if has_body and field_value(headers, "transfer-encoding"):
            self._reading = _Reading.CHUNKED
            self._chunks = ChunkDecoder(self._buffer, keep_boundaries=self._keep_boundaries)
            return
        length = field_value(headers, "content-length")
        if has_body and not length and until_close:
            self._reading = _Reading.UNTIL_CLOSE
            return
        self._reading = _Reading.COUNTED
        self._remaining = int(length) if has_body and length else 0


def _headers(event: h11.Request | h11.Response) -> Headers:
    return tuple((name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in event.headers)


def _keeps_alive(headers: Headers, version: str) -> bool:
    options = {option.strip().lower() for name, value in headers if name == "connection" for option in value.split(",")}
    return version != "1.0" and "close" not in options  # a 1.0 peer may ask to be kept; closing is always right


def field_value(headers: Headers, name: str) -> str:
    """Return the first value of a field, ``""`` when it is absent. ``name`` is in lower case, as ``headers`` are."""
    return next((value for held, value in headers if held == name), "")


def reason_phrase(status: int) -> str:
    """Return the words for a status of the Runtime API; ``""`` for any other."""
    return _REASONS.get(status, "")


def encode_request_head(method: str, target: str, headers: Headers) -> bytes:
    """Return a request head with its empty line.

    Raises:
        Malformed: A part would end its line.
    """
    return _encode_head(f"{method} {target} HTTP/1.1", headers)


def encode_response_head(status: int, headers: Headers = (), *, reason: str = "") -> bytes:
    """Return a response head with its empty line. Without ``reason``, the statuses of the Runtime API have theirs.

    Raises:
        Malformed: A part would end its line.
    """
    return _encode_head(f"HTTP/1.1 {status} {reason or reason_phrase(status)}", headers)


def _encode_head(first_line: str, headers: Headers) -> bytes:
    text = "\r\n".join((first_line, *(f"{name}: {value}" for name, value in headers), "", ""))
    lines = len(headers) + 2
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise Malformed("expected header fields without CR, LF or NUL")
    return text.encode("utf-8", "surrogateescape")
