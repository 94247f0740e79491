"""HTTP/1.1 messages.

A ``MessageReader`` reads one message after the other from one connection. Every head is parsed whole, so that limits
are on the message and never on how the network cut it: by us when it is plain, by h11 when it is not. Bodies are framed
here: counted, chunked (by our own decoder, which keeps boundaries and bounds trailers), or up to the end.

What a request may say beyond RFC 9112 is what Go's ``net/http``, which the real service is made of, lets it say
(``server.go`` and ``transfer.go`` of Go 1.26; every point observed with the emulator of aws-sam-cli 1.170.0, 2026-11).
"""

from __future__ import annotations

from enum import Enum

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._buffer import Buffer
from lambda_wire._chunked import MAX_PIECE, ChunkDecoder
from lambda_wire._events import ConnectionClosed
from lambda_wire._fields import is_host
from lambda_wire._heads import field_lines, field_members, first_values, keeps_alive
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import (
    HttpEvent,
    MalformedHead,
    MalformedMessage,
    MessageEnd,
    PlainAnswer,
    RequestHead,
    ResponseHead,
    TruncatedMessage,
)
from lambda_wire._plain_heads import RequestParts, ResponseParts, counted_response, plain_request, plain_response
from lambda_wire._signals import NEED_DATA, PAUSED, Role, Signal
from lambda_wire._types import BytesLike, Headers
from lambda_wire._whole_body import WholeBody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Final

__all__ = ["MessageReader"]

_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r")) + b"\x7f"
_CONTROLS_TO_BLANKS: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_BLANKS_AFTER_POST: Final = 4  # CR and LF before the next request line: Go forgives old clients that much


class _Reading(Enum):
    HEAD = "head"
    COUNTED = "counted body"
    CHUNKED = "chunked body"
    UNTIL_CLOSE = "body that ends with its connection"
    ENDED = "end"


_HEAD: Final = _Reading.HEAD
_COUNTED: Final = _Reading.COUNTED
_CHUNKED: Final = _Reading.CHUNKED
_UNTIL_CLOSE: Final = _Reading.UNTIL_CLOSE
_ENDED: Final = _Reading.ENDED


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
        self._fault: Malformed | None = None
        self._method = "GET"
        self._blanks = 0
        """How many more CR and LF may stand before the next message."""
        self._head_at = 0
        self._reading = _Reading.HEAD
        self._remaining = 0
        self._chunks = ChunkDecoder(self._buffer)
        self._whole: WholeBody | None = None

    @property
    def in_body(self) -> bool:
        """Whether a head was read and its body is not complete."""
        return self._reading not in (_Reading.HEAD, _Reading.ENDED)

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._buffer.size > 0 if self._reading is _HEAD else self._reading is not _ENDED

    @property
    def unread(self) -> int:
        """How many bytes came and were not read: with what was fed, where the next part begins."""
        return self._buffer.size

    @property
    def left(self) -> int:
        """How many bytes of the counted body, or of the chunk that is being read, were not given."""
        return self._remaining if self._reading is _COUNTED else self._chunks.left

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the peer; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not len(data):
            self._eof = True
        elif not self._eof and self._fault is None:
            self._buffer.feed(data if self._whole is None else self._receive(self._whole, data))

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next bytes of a large body belong that is collected.

        Who receives there gives ``receive_data`` the part of it that was filled, from its start: it is not copied.
        """
        return None if self._whole is None else self._whole.receive_buffer

    def _receive(self, whole: WholeBody, data: BytesLike) -> BytesLike:
        if whole.receive_buffer is None:
            return data
        before = whole.size
        rest = whole.receive(data)
        count = whole.size - before
        self._buffer.taken += count
        if self._reading is _Reading.COUNTED:
            self._remaining -= count
        else:
            self._chunks.skip(count)
        return rest

    def expect(self, method: str) -> None:
        """Say which method the next response answers: it decides whether that has a body (RFC 9112, 6.3)."""
        self._method = method

    def collect(self, limit: int, what: str) -> None:
        """Give the body of the message whose head was read whole, with its end.

        Args:
            limit: Largest body in bytes.
            what: What it is the body of, in messages.

        Raises:
            Malformed: It is announced to be larger.
        """
        self._whole = WholeBody(limit, what)
        if self._reading is _Reading.COUNTED:
            try:
                self._whole.announce(self._remaining)
            except Malformed as fault:
                self._fault = fault
                raise
        elif self._reading is _Reading.CHUNKED:
            self._chunks = ChunkDecoder(self._buffer)  # boundaries do not matter

    def drop(self) -> None:
        """Let go of a body that is being collected: nothing more of it is wanted."""
        if self._whole is not None:
            self._whole.drop()
            self._whole = None

    def start_next(self) -> None:
        """Begin the next message, after ``MessageEnd``."""
        self._reading = _Reading.HEAD

    def take_plain_answer(self, limit: int) -> PlainAnswer | None:
        """Take the next response if all of it came together, and is a ``counted_response``.

        Returns:
            Status, fields and body; ``None`` when it has to be read part by part. Nothing was taken then.
        """
        piece = self._buffer.piece()
        if piece is None or self._reading is not _HEAD or self._eof or self._fault is not None:
            return None
        data, at = piece
        end = data.find(b"\r\n\r\n", at, at + self._max_head) + 4
        parts = counted_response(data[at:end]) if end > 4 and self._method != "HEAD" else None
        if parts is None:
            return None
        status, fields, size = parts
        if size > limit or end + size > len(data):
            return None
        self._buffer.skip(end + size - at)
        return status, fields, data[end : end + size]

    def next_event(self) -> HttpEvent | Signal:
        """Return the next part of the message.

        Returns:
            A head, then body pieces as ``bytes``, then ``MessageEnd``; ``PAUSED`` when bytes of the next message wait
            for ``start_next()``; ``ConnectionClosed`` at an end between messages; else ``NEED_DATA``.

        Raises:
            MalformedMessage: The bytes are not HTTP/1.1, or end in the middle.
            Malformed: The body is larger than what is to be collected.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            return self._next_event()
        except Malformed as fault:
            self._fault = fault
            self.drop()
            raise

    def take_pieces(self, limit: int) -> tuple[Collection[bytes], bool]:
        """Take the pieces of a chunked body that are here and plain; none where more than ``limit`` bytes are here.

        ``next_event`` would give them one by one. The other value says whether it needs more bytes for all else.
        """
        if self._reading is not _CHUNKED or self._eof or self._fault is not None or self._buffer.size > limit:
            return (), False
        return self._chunks.take_plain()

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
        reading = self._reading
        if reading is _CHUNKED:
            return self._read_chunked()
        if reading is _HEAD:
            return self._read_head()
        if reading is _COUNTED:
            return self._read_counted()
        if reading is _UNTIL_CLOSE:
            return self._read_until_close()
        return PAUSED if len(self._buffer) else None

    def _end(self, trailers: Headers = ()) -> MessageEnd:
        self._reading = _Reading.ENDED
        whole, self._whole = self._whole, None
        return MessageEnd(trailers=trailers, body=b"" if whole is None else whole.take())

    def _read_counted(self) -> bytes | MessageEnd | None:
        while self._remaining:
            if self._keep_boundaries and self._whole is None:
                piece = self._buffer.take(min(self._remaining, MAX_PIECE))
            else:
                piece = self._buffer.take_up_to(self._remaining)
            if not piece:
                return None
            self._remaining -= len(piece)
            if self._whole is None:
                return piece
            self._whole.add(piece, self._remaining)
        return self._end()

    def _read_chunked(self) -> bytes | MessageEnd | None:
        while True:
            try:
                piece = self._chunks.next_piece()
            except Malformed as fault:
                raise MalformedMessage(fault.reason, at=fault.at, rule=fault.rule) from fault
            if piece is None and self._chunks.finished:
                return self._end(self._chunks.trailers)
            if self._whole is None:
                return piece
            self._whole.announce(len(piece or b"") + self._chunks.left)
            if piece is None:
                return None
            self._whole.add(piece, self._chunks.left)

    def _read_until_close(self) -> bytes | MessageEnd | None:
        piece = self._buffer.take_up_to(len(self._buffer))
        if not piece or self._whole is None:
            return piece or (self._end() if self._eof else None)
        self._whole.announce(len(piece))
        self._whole.add(piece)
        return self._end() if self._eof else None

    def _read_head(self) -> HttpEvent | None:
        while (head := self._take_head()) is not None:
            try:
                event = self._parse_request(head) if self._role is Role.SERVER else self._parse_response(head)
            except MalformedHead as fault:
                at = next(field_lines(head, fault.field))[0] if fault.at is None else fault.at
                raise MalformedMessage(
                    fault.reason, at=self._head_at + at, status_hint=fault.status_hint, rule=fault.rule
                ) from fault
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
            reason = f"expected the first line of a message, got {quote(first)}"
            raise MalformedMessage(reason, at=self._head_at, rule="RT-CONN-16")
        try:
            return self._buffer.take_until(b"\n\r\n", b"\n\n", limit=self._max_head)
        except Malformed as fault:
            reason, at = f"expected a head of at most {self._max_head} bytes", self._head_at + self._max_head
            raise MalformedMessage(reason, at=at, status_hint=431, rule="LI-HEAD-1") from fault

    def _parse_request(self, head: bytes) -> RequestHead:
        method, target, version, headers = plain_request(head) or self._odd_request(head)
        fields = first_values(headers)
        if not is_host(fields.get("host", "")):
            raise MalformedHead(f"expected a host and a port in Host, got {quote(fields['host'])}", field="host")
        expectation = fields.get("expect")
        if expectation and "100-continue" not in field_members((("expect", expectation),), "expect"):
            reason = f"expected Expect: 100-continue or none, got {quote(expectation)}"
            raise MalformedHead(reason, field="expect", status_hint=417, rule="RT-CONN-20")
        self._frame(headers, fields, version, has_body=True)
        self._blanks = _BLANKS_AFTER_POST if method == "POST" else 0
        # Another reader may see the end of such a body elsewhere (RFC 9112, 6.1; RT-CONN-10, RT-CONN-14).
        framed_twice = "transfer-encoding" in fields and (version == "1.0" or "content-length" in fields)
        return RequestHead(
            method=method,
            target=target,
            headers=headers,
            keep_alive=not framed_twice and keeps_alive(headers, fields, version),
            http_version=version,
            expects_continue=bool(expectation) and version != "1.0" and self._has_body,
        )

    def _odd_request(self, head: bytes) -> RequestParts:
        if head.translate(None, _CONTROLS) != head:
            at = next(at for at, byte in enumerate(head) if byte in _CONTROLS)
            raise MalformedHead(f"expected a head without control characters, got {quote(head[at : at + 1])}", at=at)
        from lambda_wire._h11 import odd_request

        method, target, version, headers = odd_request(head)
        return method, target, _version(version), headers

    def _parse_response(self, head: bytes) -> ResponseHead | None:
        """Return the final response's head; ``None`` for an interim one, which any server may send (RFC 9110, 15.2)."""
        parts = plain_response(head) or self._odd_response(head)
        if parts is None:
            return None
        status, version, headers = parts
        fields = first_values(headers)
        self._frame(headers, fields, version, has_body=self._method != "HEAD" and status not in (204, 304))
        keep_alive = keeps_alive(headers, fields, version) and self._reading is not _Reading.UNTIL_CLOSE
        return ResponseHead(status=status, headers=headers, keep_alive=keep_alive)

    def _odd_response(self, head: bytes) -> ResponseParts | None:
        """Read what is not plain.

        Control characters read as blanks (RFC 9110, 5.5): the service copies a caller's client context raw (observed),
        and no caller may end a runtime with it.
        """
        from lambda_wire._h11 import odd_response

        status, version, headers = odd_response(head.translate(_CONTROLS_TO_BLANKS), self._method)
        return None if status < 200 else (status, _version(version), headers)

    def _frame(self, headers: Headers, fields: Mapping[str, str], version: str, *, has_body: bool) -> None:
        """Choose how the body is framed (RFC 9112, 6.3). Both fields have been validated."""
        length = fields.get("content-length")
        if has_body and version != "1.0" and fields.get("transfer-encoding"):
            if field_members(headers, "trailer") & names.FRAMING_FIELDS:
                reason = f"expected no trailer that speaks of framing, got {quote(fields['trailer'])}"
                raise MalformedHead(reason, field="trailer", rule="RS-TRAILER-14")
            self._reading = _Reading.CHUNKED
            self._chunks = ChunkDecoder(self._buffer, keep_boundaries=self._keep_boundaries)
        elif has_body and not length and self._role is Role.CLIENT:
            self._reading = _Reading.UNTIL_CLOSE
        else:
            remaining = int(length) if has_body and length else 0
            if remaining > limits.MAX_LENGTH:
                reason = f"expected a Content-Length of at most {limits.MAX_LENGTH}, got {length}"
                raise MalformedHead(reason, field="content-length", rule="LI-HEAD-2")
            self._reading, self._remaining = _Reading.COUNTED, remaining

    @property
    def _has_body(self) -> bool:
        return self._reading is not _Reading.COUNTED or self._remaining > 0


def _version(version: str) -> str:
    if not version.startswith("1."):
        reason = f"expected HTTP/1.0 or HTTP/1.1, got HTTP/{version}"
        raise MalformedHead(reason, at=0, status_hint=505, rule="RT-CONN-15")
    return version
