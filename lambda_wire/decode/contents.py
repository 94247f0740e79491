"""What a body holds: a prelude, or event stream messages. A body may lie in many chunks: its places are kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, TypeAlias

from lambda_wire import _names as names
from lambda_wire._error_payload import decode_error
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._event_stream import EventStreamDecoder, EventStreamMessage
from lambda_wire._invoke import InvokeConnection
from lambda_wire._invoke_events import InvokeAsked, InvokeComplete, InvokeFailed, PayloadChunk
from lambda_wire._json import parse_json
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import DELIMITER, Prelude, PreludeDecoder
from lambda_wire._signals import Role, Signal
from lambda_wire.decode.pieces import Layer, Piece, Verdict, unread, violation
from lambda_wire.decode.rules import EVENTS

__all__ = ["Content", "Messages", "Places", "PreludeAndBody", "cause_of", "prelude_of", "read_json"]

#: What an answer whose body is messages begins with; its body ends with its connection.
_HEAD: Final = b"HTTP/1.1 200 OK\r\n\r\n"
_SKIPPED: Final = ("event of a type that callers skip", ("ES-MESSAGE-6",))


def prelude_of(content_type: str) -> PreludeAndBody | None:
    """Return who explains a body of this media type, if it begins with a prelude (RS-PRELUDE-1, FU-PRELUDE-2)."""
    kind = content_type.partition(";")[0].strip().lower()
    return PreludeAndBody(Layer.CONTENT) if kind == names.HTTP_INTEGRATION_RESPONSE else None


def cause_of(fault: RemoteProtocolError) -> Malformed:
    """Return what a role found wrong."""
    assert isinstance(fault.__cause__, Malformed)
    return fault.__cause__


def read_json(data: bytes) -> Iterator[Piece]:
    """Explain a JSON text that stands alone: an error document, or no prelude, which would not end with it.

    Raises:
        Malformed: It is no JSON.
    """
    value = parse_json(data)
    what = f"JSON, and no prelude: one would end with {len(DELIMITER)} NUL bytes"
    rules: tuple[str, ...] = ()
    if isinstance(value, dict) and names.ERROR_TYPE in value:
        what, rules = f"error document: {decode_error(data)!r}", ("ER-DOC-1", "ER-DOC-6")
    return iter([Piece(offset=0, length=len(data), what=what, rules=rules, value=value)])


class Places:
    """Where in a capture the bytes of a body lie."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._offsets: list[int] = []
        self.size: int = 0

    def add(self, size: int, offset: int) -> None:
        """Take note of the next bytes."""
        self._begins.append(self.size)
        self._offsets.append(offset)
        self.size += size

    def of(self, at: int) -> int:
        """Return the offset of a byte of the body, or of its end."""
        index = bisect_right(self._begins, at) - 1
        return self._offsets[index] + at - self._begins[index] if index >= 0 else 0

    def piece(self, begin: int, end: int, what: str, *rules: str, layer: Layer, value: object = None) -> Piece:
        """Return a piece of the body, which is not empty."""
        offset = self.of(begin)
        return Piece(
            offset=offset, length=self.of(end - 1) + 1 - offset, what=what, rules=rules, value=value, layer=layer
        )


class PreludeAndBody:
    """The JSON metadata, its delimiter, and then what no rule speaks of."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._decoder = PreludeDecoder()
        self._places = Places()
        self._over = False

    def feed(self, data: bytes, offset: int) -> Iterator[Piece]:
        """Explain the next bytes, which lie at ``offset`` in the capture."""
        if self._over:
            return
        self._places.add(len(data), offset)
        self._decoder.feed(data)
        try:
            prelude = self._decoder.next_prelude()
        except Malformed as fault:
            yield from self._broken(fault)
            return
        if isinstance(prelude, Prelude):
            self._over = True
            end, whole = self._places.size - len(self._decoder.rest()), self._places.size
            head = end - len(DELIMITER)
            yield self._places.piece(0, head, f"{prelude!r}", "FU-PRELUDE-15", layer=self._layer, value=_said(prelude))
            yield self._places.piece(head, end, "end of the prelude", "FU-PRELUDE-3", layer=self._layer)
            if end < whole and self._layer is Layer.WIRE:
                yield self._places.piece(end, whole, "body", "FU-PRELUDE-5", layer=self._layer)

    def end(self, *, whole: bool) -> Iterator[Piece]:
        """Explain the end: of the body where it is ``whole``, else of the capture."""
        if self._over:
            return
        try:
            self._decoder.end()
        except Malformed as fault:
            if whole:
                yield from self._broken(fault)
            else:
                what = "the prelude" if self._layer is Layer.CONTENT else "a prelude, or other JSON,"
                yield _incomplete(0, self._places, what, fault, self._layer)

    def _broken(self, fault: Malformed) -> Iterator[Piece]:
        self._over = True
        yield violation(fault, self._places.of(min(fault.at or 0, self._places.size)), "FU-PRELUDE-3")
        if self._layer is Layer.WIRE:
            yield from unread(0, self._places.size)


def _said(prelude: Prelude) -> object:
    return {
        "statusCode": prelude.status_code,
        "headers": dict(prelude.headers),
        "cookies": prelude.cookies,
        "multiValueHeaders": dict(prelude.multi_value_headers),
    }


def _incomplete(begin: int, places: Places, what: str, fault: Malformed, layer: Layer) -> Piece:
    offset, end = places.of(begin), places.of(places.size)
    reason = f"ends at byte {end}, inside {what} begun at byte {offset}: {fault.reason}"
    return Piece(offset=offset, length=end - offset, what=reason, layer=layer, verdict=Verdict.INCOMPLETE)


class Messages:
    """Event stream messages, part by part. What they say, and whether they may, a caller's connection judges."""

    def __init__(self, layer: Layer, content_type: str = "") -> None:
        self._layer = layer
        self._inner = prelude_of(content_type)
        self._decoder = EventStreamDecoder(Role.CLIENT)
        self._caller: InvokeConnection | None = InvokeConnection(host="none")
        self._caller.send(InvokeAsked(function_name="f", streaming=True))
        self._caller.receive_data(_HEAD)
        self._caller.next_event()  # that its call was accepted
        self._places = Places()
        self._begin = 0
        """Where the message begins that is being read."""
        self._stream = bytearray()
        """What came of it."""
        self._over = self._complete = False

    def feed(self, data: bytes, offset: int) -> Iterator[Piece]:
        """See ``PreludeAndBody``."""
        self._places.add(len(data), offset)
        self._stream += data
        self._decoder.feed(data)
        while not self._over:
            try:
                message = self._decoder.next_message()
            except Malformed as fault:
                self._over = True
                yield violation(fault, self._places.of(fault.at or 0), "ES-FRAME-1")
                return
            if isinstance(message, Signal):
                return
            size = len(self._stream) - self._decoder.unread
            raw = bytes(self._stream[:size])
            del self._stream[:size]
            yield from self._parts(message, len(raw) - len(message.payload) - 16)
            yield from self._say(raw)
            self._begin += size

    def _parts(self, message: EventStreamMessage, headers: int) -> Iterator[Piece]:
        at, size = self._begin, len(message.payload)
        total = headers + size + 16
        said = {header.name: _plain(header.value) for header in message.headers}
        shown = ", ".join(f"{name} {value}" for name, value in said.items())
        parts: list[tuple[int, str, tuple[str, ...], object]] = [
            (12, f"lengths: message {total}, headers {headers}; their CRC", ("ES-FRAME-3", "ES-CRC-2"), total),
            (headers, f"headers: {shown}", ("ES-HEADER-1",), said),
            (size, f"payload of {size} bytes", ("ES-FRAME-8",), _plain(message.payload)),
            (4, "CRC of the message", ("ES-CRC-3",), None),
        ]
        for length, what, rules, value in parts:
            if length:
                yield self._places.piece(at, at + length, what, *rules, layer=self._layer, value=value)
            at += length

    def _say(self, raw: bytes) -> Iterator[Piece]:
        """Say what a message means, unless one before could not be."""
        if self._caller is None:
            return
        self._caller.receive_data(raw)
        try:
            event = self._caller.next_event()
        except RemoteProtocolError as fault:
            self._caller = None
            yield violation(cause_of(fault), self._places.of(self._begin), "ES-MESSAGE-1")
            return
        end = self._begin + len(raw)
        what, rules = EVENTS.get(type(event), _SKIPPED)
        what = what if isinstance(event, Signal) else f"{what}: {event!r}"
        name = type(event).__name__
        yield self._places.piece(self._begin, end, what, *rules, layer=Layer.MESSAGE, value=name)
        self._complete = self._complete or isinstance(event, (InvokeComplete, InvokeFailed))
        if isinstance(event, PayloadChunk) and self._inner is not None:
            yield from self._inner.feed(event.payload, self._places.of(end - 4 - len(event.payload)))

    def end(self, *, whole: bool) -> Iterator[Piece]:
        """See ``PreludeAndBody``."""
        if self._over:
            if self._layer is Layer.WIRE:
                yield from unread(self._places.of(self._begin), self._places.size)
            return
        if self._inner is not None and self._complete:
            yield from self._inner.end(whole=True)
        self._decoder.feed(b"")
        try:
            self._decoder.next_message()
            if self._caller is not None:
                self._caller.receive_data(b"")
                self._caller.next_event()
        except Malformed as fault:
            if whole:
                yield violation(fault, self._places.of(self._begin), "ES-FRAME-11")
            else:
                yield _incomplete(self._begin, self._places, "the message", fault, self._layer)
        except RemoteProtocolError as fault:
            if whole:
                yield violation(cause_of(fault), self._places.of(self._places.size), "ES-MESSAGE-12")
            else:
                yield _incomplete(self._places.size, self._places, "the response", cause_of(fault), Layer.MESSAGE)


Content: TypeAlias = PreludeAndBody | Messages
"""Explains what a body holds."""


def _plain(value: bool | int | bytes | str) -> bool | int | str:
    """Return a value as JSON can say it: bytes as text where they are UTF-8, else in hexadecimal digits."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
