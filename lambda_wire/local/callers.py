"""One caller's connection: HTTP/1.1 and 1.0, kept alive, one request after the other; who answers is decided elsewhere.

A caller who leaves is noticed when something is written to him. Nothing is raised then: whatever runs for him goes on
to its end, and the rest is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final, TypeAlias

from lambda_wire import _names as names
from lambda_wire._chunked import CHUNK_END, chunk_head, encode_end
from lambda_wire._events import ConnectionClosed
from lambda_wire._heads import encode_response_head
from lambda_wire._http11 import MalformedMessage, MessageEnd, MessageReader, RequestHead
from lambda_wire._malformed import Malformed
from lambda_wire._record import field, record
from lambda_wire._signals import Role, Signal
from lambda_wire._types import BytesLike, Headers

__all__ = ["AnswerCaller", "Reply", "Request", "serve_caller"]

_READ: Final = 65_536
_LINGER_S: Final = 2.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = (204, 304)


@record
class Request:
    """A whole request."""

    head: RequestHead
    body: bytes = field(repr=False)
    too_large: bool
    """Whether the body was larger than can be served, so that it is not here."""
    source_ip: str


AnswerCaller: TypeAlias = "Callable[[Request, Reply], Awaitable[None]]"


class Reply:
    """The answer to one request.

    Attributes:
        keep_alive: Whether another request may follow.
        bodiless: Whether what is written is thrown away: the answer to HEAD, or a 204 or 304.
    """

    def __init__(self, writer: asyncio.StreamWriter, head: RequestHead) -> None:
        self._writer = writer
        self._head = head
        self._gone = False
        self._chunked = False
        self.bodiless: bool = False
        self.keep_alive: bool = head.keep_alive

    async def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer. HEAD, 204 and 304 get no body, and HEAD a length of 0 (recorded 2026-09)."""
        bodiless = self._head.method == "HEAD" or status in _BODILESS
        length: Headers = ((names.CONTENT_LENGTH, "0" if bodiless else str(len(body))),)
        await self._send_head(status, headers, () if status in _BODILESS else length)
        if body and not bodiless:
            await self._write([body])

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body follows piece by piece: in chunks, or to HTTP/1.0 up to the end."""
        self.bodiless = self._head.method == "HEAD" or status in _BODILESS
        self._chunked = not self.bodiless and self._head.http_version != "1.0"
        framing: Headers = ()
        if self._chunked:
            framing = ((names.TRANSFER_ENCODING, "chunked"),)
        elif not self.bodiless:
            self.keep_alive = False
        elif status not in _BODILESS:
            framing = ((names.CONTENT_LENGTH, "0"),)
        await self._send_head(status, headers, framing)

    async def _send_head(self, status: int, headers: Headers, framing: Headers) -> None:
        """Send the head; fields in AWS's order: date, content type, framing, connection, everything else."""
        first = tuple(pair for pair in headers if pair[0].lower() == "content-type")
        others = tuple(pair for pair in headers if pair[0].lower() != "content-type")
        date = ("Date", formatdate(usegmt=True))
        connection = (names.CONNECTION, "keep-alive" if self.keep_alive else "close")
        fields = (date, *((names.CONTENT_TYPE, value) for _, value in first), *framing, connection, *others)
        await self._write([encode_response_head(status, fields, reason=_reason(status))])

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body at once, and wait while the caller does not take it."""
        if self.bodiless or not piece:
            return
        await self._write([chunk_head(len(piece)), piece, CHUNK_END] if self._chunked else [piece])

    async def end(self) -> None:
        """End the body."""
        if self._chunked:
            await self._write([encode_end()])

    def cut(self) -> None:
        """Close the connection in the middle of the body, after what was written: the caller is to notice."""
        self.keep_alive = False

    async def _write(self, buffers: list[BytesLike]) -> None:
        if self._gone:
            return
        try:
            self._writer.write(b"".join(buffers))
            await self._writer.drain()
        except OSError:
            self._gone, self.keep_alive = True, False


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


async def serve_caller(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: AnswerCaller, *, max_body: int
) -> None:
    """Read requests and have them answered, until the caller leaves or the connection cannot go on."""
    http_reader = MessageReader(Role.SERVER)
    peer = writer.get_extra_info("peername")
    source_ip = str(peer[0]) if peer else ""
    while True:
        try:
            request = await _read_request(http_reader, reader, writer, source_ip, max_body)
        except Malformed as fault:
            status = fault.status_hint if isinstance(fault, MalformedMessage) else 400
            body = f"{status} {_reason(status)}: {fault}\n".encode("utf-8", "replace")
            fields = ((names.CONTENT_TYPE, names.PLAIN_TEXT), (names.CONTENT_LENGTH, str(len(body))))
            writer.write(encode_response_head(status, (*fields, (names.CONNECTION, "close")), reason=_reason(status)))
            writer.write(body)
            await _linger(reader, writer)
            return
        if request is None:
            return
        reply = Reply(writer, request.head)
        await answer(request, reply)
        if not reply.keep_alive:
            return
        http_reader.start_next()


async def _read_request(
    http_reader: MessageReader,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    source_ip: str,
    max_body: int,
) -> Request | None:
    """Return the next request; ``None`` when the caller has left. A body that is too large is read and thrown away."""
    head: RequestHead | None = None
    pieces: list[bytes] = []
    size = 0
    while True:
        match http_reader.next_event():
            case Signal():
                http_reader.receive_data(await reader.read(_READ))
            case RequestHead() as head:
                if head.expects_continue:
                    writer.write(_CONTINUE)
            case bytes() as piece:
                size += len(piece)
                if size <= max_body:
                    pieces.append(piece)
                else:
                    pieces.clear()
            case MessageEnd() if head is not None:
                body = b"".join(pieces)
                return Request(head=head, body=body, too_large=size > max_body, source_ip=source_ip)
            case ConnectionClosed():
                return None
            case event:
                raise AssertionError(f"a server's reader gave {event!r}")


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the caller read our last word before the connection is closed (RFC 9112, 9.6)."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_LINGER_S):
            await writer.drain()
            writer.write_eof()
            while await reader.read(_READ):
                pass
