"""Event stream messages, ``application/vnd.amazon.eventstream``: typed headers and a payload between two checksums.

A message is, all numbers big-endian: its total length (4 bytes), the length of its headers (4), the CRC-32 of these
eight bytes (4), the headers (see ``_event_headers``), the payload, the CRC-32 of everything before (4).

Theory of operation of the decoder. Nearly every message has headers that were read before, and lies whole in what was
fed: its front is compared, or found among those that are known, its checksum computed, its payload copied (once, and
that is all that is). Whatever is new, odd or not whole is left where it is for ``_read_in_parts``, which alone judges.
It reads what has a size of its own (prelude, headers, checksum) when all of it is there, and the payload as it comes,
summed and copied while it is in the processor's cache. Nothing is reserved for a length that is only announced.

Sizes and counts are what a service must not accept (ES-LIMIT-3); the specification forbids a client to enforce them
(ES-LIMIT-4). So ``SERVER`` enforces them, and whoever writes; for ``CLIENT`` memory is the limit. Against AWS's C
library, which reads for both ends and counts its 24 MiB over the whole message, this is the one difference in what is
refused: a client here reads longer messages and more headers, and a service reads a payload of 24 MiB and its headers
beside it.

Sources: Smithy docs "Amazon Event Stream Specification"; awslabs/aws-c-event-stream d47b14c (source/event_stream.c);
boto/botocore 0e6e2404 (botocore/eventstream.py). Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import Struct
from typing import Final, Literal, TypeAlias
from zlib import crc32

from lambda_wire import _limits as limits
from lambda_wire._event_headers import EventStreamHeader, HeaderType, encode_headers, read_headers
from lambda_wire._fields import require_bytes
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
_FRONT: Final = Struct(">III")  # total length, length of the headers, CRC-32 of both
_LENGTHS: Final = Struct(">II")
_SUM: Final = Struct(">I")
_MAX_KNOWN: Final = 8  # how many blocks of headers a decoder remembers: what Lambda answers has two
_MAX_KNOWN_SIZE: Final = 512  # of one of them: what Lambda sends has 90 bytes

#: A message up to its payload, the CRC-32 of that, its headers, the length of its payload.
_Front: TypeAlias = tuple[bytes, int, tuple[EventStreamHeader, ...], int]

#: The headers that were written last, and their block: most messages of a stream have the same. Small ones alone.
_written: Final[list[tuple[tuple[EventStreamHeader, ...], bytes]]] = [((), b"")]


@record
class EventStreamMessage:
    """Headers, whose order means nothing and is kept, and a payload. No name stands twice."""

    headers: tuple[EventStreamHeader, ...] = ()
    payload: bytes = field(default=b"", repr=False)

    def __init__(self, *, headers: tuple[EventStreamHeader, ...] = (), payload: bytes = b"") -> None:
        require_bytes(payload, "the payload")
        if headers is not _written[0][0]:  # these have been judged
            _require_headers(headers)
        _set_headers(self, headers)
        _set_payload(self, payload)

    def text(self, name: str) -> str:
        """Return the value of a header of type string; ``""`` when there is none."""
        for header in self.headers:
            if header.name == name and isinstance(header.value, str):
                return header.value
        return ""


#: The only way past ``__setattr__`` of a record, and past judging what was judged.
_new: Final = object.__new__
_set_headers: Final[Callable[[object, object], None]] = EventStreamMessage.__dict__["headers"].__set__
_set_payload: Final[Callable[[object, object], None]] = EventStreamMessage.__dict__["payload"].__set__


def _require_headers(headers: tuple[EventStreamHeader, ...]) -> None:
    """Refuse what can change later, and names that stand twice."""
    if type(headers) is not tuple:
        raise Malformed(f"the headers must be tuple, got {type(headers).__name__}")
    held: set[str] = set()
    for header in headers:
        if type(header) is not EventStreamHeader:
            raise Malformed(f"a header must be EventStreamHeader, got {type(header).__name__}")
        if header.name in held:
            reason = f"the name of a header must stand once in its message, got {quote(header.name)} twice"
            raise Malformed(reason, rule="ES-HEADER-4")
        held.add(header.name)


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
    payload = message.payload
    headers, block = _written[0]
    if message.headers is not headers:
        headers, block = message.headers, encode_headers(message.headers)
        if len(block) <= _MAX_KNOWN_SIZE:
            _written[0] = (headers, block)
    _require_sizes(len(block), len(payload), start=None)
    lengths = _LENGTHS.pack(_OVERHEAD + len(block) + len(payload), len(block))
    head = lengths + _SUM.pack(crc32(lengths)) + block
    end = _SUM.pack(crc32(payload, crc32(head)))
    return [head, payload, end] if payload else [head + end]


def _require_sizes(headers: int, payload: int, *, start: int | None) -> None:
    """Refuse what a service must refuse.

    Args:
        headers: Length of the headers.
        payload: Length of the payload.
        start: Where the message begins, for one that is read.
    """
    if headers > limits.MAX_EVENT_STREAM_HEADERS:
        reason = f"expected at most {limits.MAX_EVENT_STREAM_HEADERS} bytes of headers, got {headers}"
        raise Malformed(reason, at=None if start is None else start + 4, rule="ES-LIMIT-2")
    if payload > limits.MAX_EVENT_STREAM_PAYLOAD:
        reason = f"expected at most {limits.MAX_EVENT_STREAM_PAYLOAD} bytes of payload, got {payload}"
        raise Malformed(reason, at=start, rule="ES-LIMIT-1")


# -- reading

_LEAST: Final = bytes.fromhex("00000010 00000000 05c248eb")  # front of a message of nothing
#: What a decoder recognises that has read no message yet.
_EMPTY: Final[_Front] = (_LEAST, crc32(_LEAST), (), 0)


class EventStreamDecoder:
    """Reads one message after the other from one stream. A fault is for ever.

    Args:
        role: ``SERVER`` refuses what is above the limits of the specification; ``CLIENT`` reads any size and number.
    """

    __slots__ = (
        "_at",
        "_block",
        "_enforces",
        "_eof",
        "_fault",
        "_front_size",
        "_known",
        "_last",
        "_later",
        "_missing",
        "_payload",
        "_sum",
        "_taken",
        "_window",
    )

    def __init__(self, role: Role) -> None:
        self._enforces = role is Role.SERVER
        self._window = b""
        """What is read next, from ``_at`` on; then comes what was fed before all of that was read."""
        self._at = 0
        self._later = bytearray()
        self._taken = 0
        """Bytes before the window: error messages name offsets in the stream."""
        self._eof = False
        self._fault: Malformed | None = None
        self._known: dict[bytes, tuple[EventStreamHeader, ...]] = {}
        """Small blocks of headers that were read before."""
        self._last = _EMPTY
        """The front that was recognised last."""
        self._front_size = 0
        """Length of prelude and headers of the message that is read in parts, once its prelude was judged."""
        self._block = b""
        """Its headers: not read before all of it is here."""
        self._payload: BytesIO | None = None
        """What came of its payload, once all before that was there."""
        self._missing = 0
        """How much of its payload did not come."""
        self._sum = 0
        """The CRC-32 of what came before its own."""

    @property
    def ended(self) -> bool:
        """Whether the stream is over, at the end of a message, and every message has been given."""
        return self._eof and self._fault is None and not self.unread

    @property
    def unread(self) -> int:
        """How many bytes came of messages that were not given."""
        parts = 0 if self._payload is None else self._front_size + self._payload.tell()
        return parts + len(self._window) - self._at + len(self._later)

    def feed(self, data: BytesLike) -> None:
        """Take bytes of the stream; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not len(data):
            self._eof = True
        elif not self._eof and self._fault is None:
            if self._at == len(self._window):
                self._open(bytes(data))
            else:
                self._later += data

    def _open(self, window: bytes) -> None:
        self._taken += self._at
        self._window, self._at = window, 0

    def next_message(self) -> EventStreamMessage | Literal[Signal.NEED_DATA]:
        """Return the next message; ``NEED_DATA`` when it is not whole yet, or when the stream has ``ended``.

        Raises:
            Malformed: This is no message, it is above a limit, or the stream ends within it; ``at`` counts from the
                beginning of the stream. Raised again each time.
        """
        window, at = self._window, self._at
        if not self._front_size and (window.startswith(self._last[0], at) or self._recognise()):
            front, front_sum, headers, size = self._last
            start = at + len(front)
            end = start + size
            if end + _CRC > len(window):
                self._begin_payload(front, front_sum, size)
            elif _SUM.unpack_from(window, end)[0] == crc32(payload := window[start:end], front_sum):
                self._at = end + _CRC
                message = _new(EventStreamMessage)  # as ``_judged``, whose call alone is felt in a small message
                _set_headers(message, headers)
                _set_payload(message, payload)
                return message
        return self._read_on() or NEED_DATA

    def _recognise(self) -> bool:
        """Say whether a message begins here whose headers were read before, with nothing odd in front."""
        window, at = self._window, self._at
        if len(window) - at < _OVERHEAD:
            return False
        total, length, lengths_sum = _FRONT.unpack_from(window, at)
        size = total - length - _OVERHEAD
        if length > _MAX_KNOWN_SIZE or not 0 <= size <= limits.MAX_EVENT_STREAM_PAYLOAD:
            return False
        front = window[at : at + _PRELUDE + length]
        headers = self._known.get(front[_PRELUDE:])
        if headers is None or len(front) < _PRELUDE + length or crc32(front[: _PRELUDE - _CRC]) != lengths_sum:
            return False
        self._last = front, crc32(front), headers, size
        return True

    def _read_on(self) -> EventStreamMessage | None:
        """Read what is not recognised, or not whole."""
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        if self._at == len(self._window) and not (self._later or self._eof):
            return None
        try:
            message = self._read_in_parts()
            if message is None and self._eof and self.unread:
                raise self._truncated()
        except Malformed as fault:
            self._fault = fault
            raise
        return message

    def _read_in_parts(self) -> EventStreamMessage | None:
        payload = self._payload or self._read_front()
        if payload is None:
            return None
        while self._missing and self._has(1):
            piece = memoryview(self._window)[self._at : self._at + self._missing]
            self._sum = crc32(piece, self._sum)
            payload.write(piece)
            self._at += len(piece)
            self._missing -= len(piece)
        if self._missing or not self._has(_CRC):
            return None
        at = self._taken + self._at
        _require_crc(_SUM.unpack_from(self._window, self._at)[0], self._sum, "message", at)
        content = payload.getvalue()
        headers = self._read_headers(self._block, at - len(content) - len(self._block))
        self._at += _CRC
        self._front_size, self._block, self._payload = 0, b"", None
        return _judged(headers, content)

    def _read_front(self) -> BytesIO | None:
        """Return where the payload belongs, once all before it is there."""
        if not self._front_size:
            if not self._has(_PRELUDE):
                return None
            self._judge_prelude()
        if not self._has(self._front_size):
            return None
        front = self._window[self._at : self._at + self._front_size]
        return self._begin_payload(front, crc32(front), self._missing)

    def _begin_payload(self, front: bytes, front_sum: int, size: int) -> BytesIO:
        self._at += len(front)
        self._front_size, self._block = len(front), front[_PRELUDE:]
        self._sum, self._missing = front_sum, size
        self._payload = BytesIO()
        return self._payload

    def _has(self, count: int) -> bool:
        """See to it that ``count`` bytes lie in the window; say whether they do."""
        here = len(self._window) - self._at
        if here < count <= here + len(self._later):
            self._open(self._window[self._at :] + self._later)
            self._later.clear()
            return True
        return here >= count

    def _judge_prelude(self) -> None:
        """Check what the first twelve bytes say against each other, before any of it is believed."""
        at, start = self._at, self._taken + self._at
        total, headers, found = _FRONT.unpack_from(self._window, at)
        _require_crc(found, crc32(self._window[at : at + _PRELUDE - _CRC]), "prelude", start + 8)
        if total < _OVERHEAD:
            reason = f"expected a total length of {_OVERHEAD} or more, got {total}"
            raise Malformed(reason, at=start, rule="ES-FRAME-6")
        if headers > total - _OVERHEAD:
            reason = f"headers length {headers} exceeds total length {total} - {_OVERHEAD}"
            raise Malformed(reason, at=start + 4, rule="ES-FRAME-7")
        payload = total - headers - _OVERHEAD
        if self._enforces:
            _require_sizes(headers, payload, start=start)
        self._front_size, self._missing = _PRELUDE + headers, payload

    def _read_headers(self, block: bytes, start: int) -> tuple[EventStreamHeader, ...]:
        headers = self._known.get(block)
        if headers is None:
            headers = read_headers(block, start, enforces=self._enforces)
            if len(block) <= _MAX_KNOWN_SIZE:
                if len(self._known) == _MAX_KNOWN:
                    self._known.clear()
                self._known[block] = headers
        return headers

    def _truncated(self) -> Malformed:
        wanted = f"{_OVERHEAD} bytes or more"
        if self._front_size:
            came = 0 if self._payload is None else self._payload.tell()
            wanted = f"{self._front_size + came + self._missing + _CRC} bytes"
        reason = f"expected a message of {wanted}, got {self.unread} bytes and then the end of the stream"
        return Malformed(reason, at=self._taken + len(self._window) + len(self._later), rule="ES-FRAME-11")


def _judged(headers: tuple[EventStreamHeader, ...], payload: bytes) -> EventStreamMessage:
    """Return a message of headers that were judged together."""
    message = _new(EventStreamMessage)
    _set_headers(message, headers)
    _set_payload(message, payload)
    return message


def _require_crc(found: int, computed: int, what: str, at: int) -> None:
    if found != computed:
        rule = "ES-CRC-2" if what == "prelude" else "ES-CRC-3"
        raise Malformed(f"expected {what} CRC {computed:08x} over what came, got {found:08x}", at=at, rule=rule)
