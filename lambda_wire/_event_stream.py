"""Event stream messages, ``application/vnd.amazon.eventstream``: typed headers and a payload between two checksums.

A message is, all numbers big-endian: its total length (4 bytes), the length of its headers (4), the CRC-32 of these
eight bytes (4), the headers, the payload, the CRC-32 of everything before (4). A header is the length of its name (1),
the name, a type (1) and a value.

Theory of operation of the decoder. The twelve bytes in front are judged once, as soon as they are there; then nothing
is read, let alone copied, before the whole message is there. It is taken in three parts, so that the payload is copied
once. Nothing is reserved for a length that is only announced.

Sizes and counts are what a service must not accept; the specification forbids a client to enforce them. So ``SERVER``
enforces them, and whoever writes; for ``CLIENT`` memory is the limit. Against AWS's C library, which reads for both
ends and counts its 24 MiB over the whole message, this is the one difference in what is refused: a client here reads
longer messages and more headers, and a service reads a payload of 24 MiB and its headers beside it.

Sources: Smithy docs "Amazon Event Stream Specification"; awslabs/aws-c-event-stream d47b14c (source/event_stream.c);
boto/botocore 0e6e2404 (botocore/eventstream.py). Read 2026-11.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal
from zlib import crc32

from lambda_wire import _limits as limits
from lambda_wire._buffer import Buffer
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import field, record
from lambda_wire._signals import NEED_DATA, Role, Signal
from lambda_wire._types import BytesLike

__all__ = [
    "EventStreamDecoder",
    "EventStreamHeader",
    "EventStreamMessage",
    "HeaderType",
    "encode_event_stream",
    "event_stream_buffers",
]

_PRELUDE: Final = 12
_CRC: Final = 4
_OVERHEAD: Final = _PRELUDE + _CRC
_MAX_NAME: Final = 255  # its length is one byte


class HeaderType(Enum):
    """What the value of a header is; the names are the specification's."""

    BOOLEAN = "boolean"
    BYTE = "byte"
    SHORT = "short"
    INTEGER = "integer"
    LONG = "long"
    BYTE_ARRAY = "byte_array"
    STRING = "string"
    TIMESTAMP = "timestamp"
    UUID = "uuid"


#: By the number on the wire; the first is true, the second false.
_TYPES: Final = (
    HeaderType.BOOLEAN,
    HeaderType.BOOLEAN,
    HeaderType.BYTE,
    HeaderType.SHORT,
    HeaderType.INTEGER,
    HeaderType.LONG,
    HeaderType.BYTE_ARRAY,
    HeaderType.STRING,
    HeaderType.TIMESTAMP,
    HeaderType.UUID,
)
#: In bytes, all signed. The specification calls the timestamp unsigned in its prose and signed in its grammar, and
#: botocore takes it as signed.
_INTEGER_SIZES: Final = {
    HeaderType.BYTE: 1,
    HeaderType.SHORT: 2,
    HeaderType.INTEGER: 4,
    HeaderType.LONG: 8,
    HeaderType.TIMESTAMP: 8,
}
_UUID_SIZE: Final = 16


def _require_type(value: object, kind: type, what: str) -> None:
    """Refuse what only looks right: ``True`` is no number, and what can change later is no part of a record."""
    if type(value) is not kind:
        raise Malformed(f"{what} must be {kind.__name__}, got {type(value).__name__}")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise Malformed(f"{what} must be encodable as UTF-8, got {quote(text)}") from exc


@record
class EventStreamHeader:
    """One header of a message.

    Its value is a ``bool``, an ``int`` (a timestamp: milliseconds since 1970), ``bytes`` (a UUID: 16 of them) or a
    ``str``, as its type says. An empty string or byte array can be read, as AWS's C library does, and not be written:
    the specification's begin at one byte.
    """

    name: str
    value: bool | int | bytes | str
    type: HeaderType = HeaderType.STRING

    def __post_init__(self) -> None:
        _require_type(self.name, str, "the name of a header")
        _require_type(self.type, HeaderType, "the type of a header")
        size = len(_utf8(self.name, "the name of a header"))
        if not 0 < size <= _MAX_NAME:
            raise Malformed(f"the name of a header must have 1-{_MAX_NAME} bytes, got {size}: {quote(self.name)}")
        _require_value(self.value, self.type)


def _require_value(value: bool | int | bytes | str, kind: HeaderType) -> None:
    """Refuse what a header of this type cannot hold."""
    what = f"the value of a header of type {kind.value}"
    if kind is HeaderType.BOOLEAN:
        _require_type(value, bool, what)
    elif kind in _INTEGER_SIZES:
        _require_type(value, int, what)
        bound = 1 << 8 * _INTEGER_SIZES[kind] - 1
        if not -bound <= int(value) < bound:
            raise Malformed(f"{what} must be {-bound}..{bound - 1}, got {quote(value)}")
    else:
        _require_type(value, str if kind is HeaderType.STRING else bytes, what)
        size = len(_utf8(value, what) if isinstance(value, str) else bytes(value))
        if kind is HeaderType.UUID and size != _UUID_SIZE:
            raise Malformed(f"{what} must have {_UUID_SIZE} bytes, got {size}")
        if size > limits.MAX_EVENT_STREAM_HEADER_VALUE:
            raise Malformed(f"{what} must have at most {limits.MAX_EVENT_STREAM_HEADER_VALUE} bytes, got {size}")


@record
class EventStreamMessage:
    """Headers, whose order means nothing and is kept, and a payload. No name stands twice."""

    headers: tuple[EventStreamHeader, ...] = ()
    payload: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        _require_type(self.payload, bytes, "the payload")
        _require_type(self.headers, tuple, "the headers")
        held: set[str] = set()
        for header in self.headers:
            _require_type(header, EventStreamHeader, "a header")
            if header.name in held:
                raise Malformed(f"the name of a header must stand once in its message, got {quote(header.name)} twice")
            held.add(header.name)

    def text(self, name: str) -> str:
        """Return the value of a header of type string; ``""`` when there is none."""
        for header in self.headers:
            if header.name == name and isinstance(header.value, str):
                return header.value
        return ""


# -- writing


def encode_event_stream(message: EventStreamMessage) -> bytes:
    """Return the message as it stands on the wire.

    Raises:
        Malformed: A reader would refuse it: headers or payload above the specification's limits, more headers than
            AWS's C library reads, or an empty string or byte array in a header.
    """
    return b"".join(event_stream_buffers(message))


def event_stream_buffers(message: EventStreamMessage) -> list[BytesLike]:
    """Return what ``encode_event_stream`` returns as buffers to be written in order, none empty: no payload is copied.

    Raises:
        Malformed: As ``encode_event_stream``.
    """
    _require_count(len(message.headers))
    headers = b"".join([_encode_header(header) for header in message.headers])
    _require_sizes(len(headers), len(message.payload), start=None)
    total = _OVERHEAD + len(headers) + len(message.payload)
    lengths = total.to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    head = lengths + crc32(lengths).to_bytes(_CRC, "big") + headers
    end = crc32(message.payload, crc32(head)).to_bytes(_CRC, "big")
    return [head, message.payload, end] if message.payload else [head + end]


def _encode_header(header: EventStreamHeader) -> bytes:
    name, value = header.name.encode("utf-8"), header.value
    number = _TYPES.index(header.type)
    if isinstance(value, bool):
        number, content = int(not value), b""
    elif isinstance(value, int):
        content = value.to_bytes(_INTEGER_SIZES[header.type], "big", signed=True)
    else:
        content = value.encode("utf-8") if isinstance(value, str) else value
        if not content:
            raise Malformed(f"a string or byte array must have 1 byte or more, got none in header {quote(header.name)}")
        if header.type is not HeaderType.UUID:
            content = len(content).to_bytes(2, "big") + content
    return b"%c%b%c%b" % (len(name), name, number, content)


def _require_sizes(headers: int, payload: int, *, start: int | None) -> None:
    """Refuse what a service must refuse.

    Args:
        headers: Length of the headers.
        payload: Length of the payload.
        start: Where the message begins, for one that is read.
    """
    if headers > limits.MAX_EVENT_STREAM_HEADERS:
        reason = f"expected at most {limits.MAX_EVENT_STREAM_HEADERS} bytes of headers, got {headers}"
        raise Malformed(reason, at=None if start is None else start + 4)
    if payload > limits.MAX_EVENT_STREAM_PAYLOAD:
        raise Malformed(f"expected at most {limits.MAX_EVENT_STREAM_PAYLOAD} bytes of payload, got {payload}", at=start)


def _require_count(count: int, *, at: int | None = None) -> None:
    if count > limits.MAX_EVENT_STREAM_HEADER_COUNT:
        raise Malformed(f"expected at most {limits.MAX_EVENT_STREAM_HEADER_COUNT} headers, got {count} or more", at=at)


# -- reading


class EventStreamDecoder:
    """Reads one message after the other from one stream. A fault is for ever.

    Args:
        role: ``SERVER`` refuses what is above the limits of the specification; ``CLIENT`` reads any size and number.
    """

    __slots__ = ("_buffer", "_enforces", "_eof", "_fault", "_headers", "_total")

    def __init__(self, role: Role) -> None:
        self._enforces = role is Role.SERVER
        self._buffer = Buffer()
        self._eof = False
        self._fault: Malformed | None = None
        self._total = 0
        """Length of the message that has begun; 0 until its prelude was judged."""
        self._headers = 0

    @property
    def ended(self) -> bool:
        """Whether the stream is over, at the end of a message, and every message has been given."""
        return self._eof and self._fault is None and not len(self._buffer)

    def feed(self, data: BytesLike) -> None:
        """Take bytes of the stream; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not len(data):
            self._eof = True
        elif not self._eof and self._fault is None:
            self._buffer.feed(data)

    def next_message(self) -> EventStreamMessage | Literal[Signal.NEED_DATA]:
        """Return the next message; ``NEED_DATA`` when it is not whole yet, or when the stream has ``ended``.

        Raises:
            Malformed: This is no message, it is above a limit, or the stream ends within it; ``at`` counts from the
                beginning of the stream. Raised again each time.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            message = self._read()
            if message is None and self._eof and len(self._buffer):
                raise self._truncated()
        except Malformed as fault:
            self._fault = fault
            raise
        return NEED_DATA if message is None else message

    def _read(self) -> EventStreamMessage | None:
        if not self._total and len(self._buffer) >= _PRELUDE:
            self._judge_prelude()
        if not self._total or len(self._buffer) < self._total:
            return None
        start = self._buffer.taken
        head = self._buffer.take_up_to(_PRELUDE + self._headers)
        payload = self._buffer.take_up_to(self._total - self._headers - _OVERHEAD)
        _require_crc(self._buffer.take_up_to(_CRC), crc32(payload, crc32(head)), "message", start + self._total - _CRC)
        self._total = 0
        return EventStreamMessage(headers=_HeaderReader(head, start, self._enforces).read(), payload=payload)

    def _judge_prelude(self) -> None:
        """Check what the first twelve bytes say against each other, before any of it is believed."""
        start = self._buffer.taken
        prelude = self._buffer.peek(_PRELUDE)
        _require_crc(prelude[8:], crc32(prelude[:8]), "prelude", start + 8)
        total, headers = int.from_bytes(prelude[:4], "big"), int.from_bytes(prelude[4:8], "big")
        if total < _OVERHEAD:
            raise Malformed(f"expected a total length of {_OVERHEAD} or more, got {total}", at=start)
        if headers > total - _OVERHEAD:
            raise Malformed(f"headers length {headers} exceeds total length {total} - {_OVERHEAD}", at=start + 4)
        if self._enforces:
            _require_sizes(headers, total - headers - _OVERHEAD, start=start)
        self._total, self._headers = total, headers

    def _truncated(self) -> Malformed:
        here = len(self._buffer)
        wanted = f"{self._total} bytes" if self._total else f"{_OVERHEAD} bytes or more"
        reason = f"expected a message of {wanted}, got {here} bytes and then the end of the stream"
        return Malformed(reason, at=self._buffer.taken + here)


def _require_crc(found: bytes, computed: int, what: str, at: int) -> None:
    expected = computed.to_bytes(_CRC, "big")
    if found != expected:
        raise Malformed(f"expected {what} CRC {expected.hex()} over what came, got {found.hex()}", at=at)


class _HeaderReader:
    """Reads the headers of one message, which all end where their block ends.

    Args:
        head: The message up to its payload.
        start: Where the message begins in the stream.
        enforces: Whether the number of headers is limited.
    """

    __slots__ = ("_at", "_enforces", "_head", "_start")

    def __init__(self, head: bytes, start: int, enforces: bool) -> None:
        self._head = head
        self._start = start
        self._enforces = enforces
        self._at = _PRELUDE

    def read(self) -> tuple[EventStreamHeader, ...]:
        held: dict[str, EventStreamHeader] = {}
        while self._at < len(self._head):
            at = self._start + self._at
            if self._enforces:
                _require_count(len(held) + 1, at=at)
            name = self._text(self._take(self._number(1, "length of a name"), "name"), "name")
            kind, value = self._value()
            if name in held:
                raise Malformed(f"the name of a header must stand once in its message, got {quote(name)} twice", at=at)
            try:
                held[name] = EventStreamHeader(name=name, value=value, type=kind)
            except Malformed as fault:
                raise Malformed(fault.reason, at=at) from fault
        return tuple(held.values())

    def _value(self) -> tuple[HeaderType, bool | int | bytes | str]:
        number = self._number(1, "type")
        if number >= len(_TYPES):
            raise Malformed(
                f"expected a header type of 0..{len(_TYPES) - 1}, got {number}", at=self._start + self._at - 1
            )
        kind = _TYPES[number]
        if kind is HeaderType.BOOLEAN:
            return kind, number == 0
        if kind in _INTEGER_SIZES:
            return kind, int.from_bytes(self._take(_INTEGER_SIZES[kind], kind.value), "big", signed=True)
        if kind is HeaderType.UUID:
            return kind, self._take(_UUID_SIZE, kind.value)
        content = self._take(self._number(2, f"length of a {kind.value}"), kind.value)
        return kind, self._text(content, kind.value) if kind is HeaderType.STRING else content

    def _number(self, size: int, what: str) -> int:
        return int.from_bytes(self._take(size, what), "big")

    def _take(self, count: int, what: str) -> bytes:
        left = len(self._head) - self._at
        if count > left:
            raise Malformed(
                f"expected {what} of {count} bytes, got {left} before the headers end", at=self._start + self._at
            )
        self._at += count
        return self._head[self._at - count : self._at]

    def _text(self, content: bytes, what: str) -> str:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as exc:
            at = self._start + self._at - len(content) + exc.start
            raise Malformed(f"expected {what} in UTF-8, got {quote(content)}", at=at) from exc
