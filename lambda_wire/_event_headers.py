"""The headers of an event stream message: typed values, and the block of bytes in which they stand.

A header is the length of its name (1 byte), the name, a type (1) and a value; all numbers are big-endian. Sizes are
judged where whole messages are, see ``_event_stream``; the number of headers here.

Sources: as ``_event_stream``.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from lambda_wire import _limits as limits
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import record

__all__ = ["EventStreamHeader", "HeaderType", "encode_headers", "read_headers"]

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
            reason = f"the name of a header must have 1-{_MAX_NAME} bytes, got {size}: {quote(self.name)}"
            raise Malformed(reason, rule="ES-HEADER-2")
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
            reason = f"{what} must have at most {limits.MAX_EVENT_STREAM_HEADER_VALUE} bytes, got {size}"
            raise Malformed(reason, rule="ES-HEADER-11")


# -- writing


def encode_headers(headers: tuple[EventStreamHeader, ...]) -> bytes:
    """Return the block of headers as it stands on the wire.

    Raises:
        Malformed: There are more headers than AWS's C library reads, or one has an empty string or byte array.
    """
    _require_count(len(headers))
    return b"".join([_encode_header(header) for header in headers])


def _encode_header(header: EventStreamHeader) -> bytes:
    name, value = header.name.encode("utf-8"), header.value
    number = _TYPES.index(header.type)
    if isinstance(value, bool):
        number, content = int(not value), b""
    elif isinstance(value, int):
        content = value.to_bytes(_INTEGER_SIZES[header.type], signed=True)
    else:
        content = value.encode("utf-8") if isinstance(value, str) else value
        if not content:
            raise Malformed(f"a string or byte array must have 1 byte or more, got none in header {quote(header.name)}")
        if header.type is not HeaderType.UUID:
            content = len(content).to_bytes(2) + content
    return b"%c%b%c%b" % (len(name), name, number, content)


def _require_count(count: int, *, at: int | None = None) -> None:
    if count > limits.MAX_EVENT_STREAM_HEADER_COUNT:
        reason = f"expected at most {limits.MAX_EVENT_STREAM_HEADER_COUNT} headers, got {count} or more"
        raise Malformed(reason, at=at, rule="ES-LIMIT-6")


# -- reading


def read_headers(block: bytes, start: int, *, enforces: bool) -> tuple[EventStreamHeader, ...]:
    """Return the headers of one message.

    Args:
        block: Their bytes, all of them.
        start: Where the block begins in the stream.
        enforces: Whether the number of headers is limited.

    Raises:
        Malformed: A header is none, is cut off, or stands twice; ``at`` counts from the beginning of the stream.
    """
    return _HeaderReader(block, start, enforces).read()


class _HeaderReader:
    """Reads headers, which all end where their block ends. See ``read_headers``."""

    __slots__ = ("_at", "_block", "_enforces", "_start")

    def __init__(self, block: bytes, start: int, enforces: bool) -> None:
        self._block = block
        self._start = start
        self._enforces = enforces
        self._at = 0

    def read(self) -> tuple[EventStreamHeader, ...]:
        held: dict[str, EventStreamHeader] = {}
        while self._at < len(self._block):
            at = self._start + self._at
            if self._enforces:
                _require_count(len(held) + 1, at=at)
            size = self._block[self._at]
            self._at += 1
            name = self._text(self._take(size, "name"), "name")
            kind, value = self._value()
            if name in held:
                reason = f"the name of a header must stand once in its message, got {quote(name)} twice"
                raise Malformed(reason, at=at, rule="ES-HEADER-4")
            try:
                held[name] = EventStreamHeader(name=name, value=value, type=kind)
            except Malformed as fault:
                raise Malformed(fault.reason, at=at, rule=fault.rule) from fault
        return tuple(held.values())

    def _value(self) -> tuple[HeaderType, bool | int | bytes | str]:
        number = self._number(1, "type")
        if number >= len(_TYPES):
            reason = f"expected a header type of 0..{len(_TYPES) - 1}, got {number}"
            raise Malformed(reason, at=self._start + self._at - 1, rule="ES-HEADER-7")
        kind = _TYPES[number]
        if kind is HeaderType.BOOLEAN:
            return kind, number == 0
        if kind in _INTEGER_SIZES:
            return kind, int.from_bytes(self._take(_INTEGER_SIZES[kind], kind.value), signed=True)
        if kind is HeaderType.UUID:
            return kind, self._take(_UUID_SIZE, kind.value)
        content = self._take(self._number(2, f"length of a {kind.value}"), kind.value)
        return kind, self._text(content, kind.value) if kind is HeaderType.STRING else content

    def _number(self, size: int, what: str) -> int:
        return int.from_bytes(self._take(size, what))

    def _take(self, count: int, what: str) -> bytes:
        left = len(self._block) - self._at
        if count > left:
            reason = f"expected {what} of {count} bytes, got {left} before the headers end"
            raise Malformed(reason, at=self._start + self._at, rule="ES-HEADER-15")
        self._at += count
        return self._block[self._at - count : self._at]

    def _text(self, content: bytes, what: str) -> str:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as exc:
            at = self._start + self._at - len(content) + exc.start
            raise Malformed(f"expected {what} in UTF-8, got {quote(content)}", at=at, rule="ES-HEADER-14") from exc
