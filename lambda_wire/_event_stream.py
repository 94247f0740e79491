"""Event stream messages, ``application/vnd.amazon.eventstream``: typed headers and a payload between two checksums.

A message is, all numbers big-endian: its total length (4 bytes), the length of its headers (4), the CRC-32 of these
eight bytes (4), the headers (see ``_event_headers``), the payload, the CRC-32 of everything before (4).

Theory of operation of the decoder. A message is collected in ``_begun``. The twelve bytes in front are judged once, as
soon as they are there; then nothing is read before the whole message is there. Nothing is reserved for a length that is
only announced. That alone would be right, and slow for messages whose headers are always the same: so whole messages
with headers that were read before are first read in one sweep, straight from the bytes that were fed, and their
payloads are all that is copied (``_sweep``). The sweep never judges: it leaves whatever is odd, new or unfinished where
it is, for ``_read_plain``.

Sizes and counts are what a service must not accept; the specification forbids a client to enforce them. So ``SERVER``
enforces them, and whoever writes; for ``CLIENT`` memory is the limit. Against AWS's C library, which reads for both
ends and counts its 24 MiB over the whole message, this is the one difference in what is refused: a client here reads
longer messages and more headers, and a service reads a payload of 24 MiB and its headers beside it.

Sources: Smithy docs "Amazon Event Stream Specification"; awslabs/aws-c-event-stream d47b14c (source/event_stream.c);
boto/botocore 0e6e2404 (botocore/eventstream.py). Read 2026-11.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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
_SWEEP: Final = 16 * 1024  # how much is made into messages before they are asked for
_MAX_KNOWN: Final = 8  # how many blocks of headers a decoder remembers: what Lambda answers has two
_MAX_KNOWN_SIZE: Final = 512  # of one of them: what Lambda sends has 90 bytes

#: A message up to its payload, the CRC-32 of that, its headers, the length of its payload.
_Head: TypeAlias = tuple[bytes, int, tuple[EventStreamHeader, ...], int]

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
            raise Malformed(f"the name of a header must stand once in its message, got {quote(header.name)} twice")
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
    _require_sizes(len(block), len(payload), start=None)
    if len(block) <= _MAX_KNOWN_SIZE:
        _written[0] = (headers, block)
    lengths = _LENGTHS.pack(_OVERHEAD + len(block) + len(payload), len(block))
    head = b"%b%b%b" % (lengths, _SUM.pack(crc32(lengths)), block)
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
        raise Malformed(reason, at=None if start is None else start + 4)
    if payload > limits.MAX_EVENT_STREAM_PAYLOAD:
        raise Malformed(f"expected at most {limits.MAX_EVENT_STREAM_PAYLOAD} bytes of payload, got {payload}", at=start)


# -- reading


class EventStreamDecoder:
    """Reads one message after the other from one stream. A fault is for ever.

    Args:
        role: ``SERVER`` refuses what is above the limits of the specification; ``CLIENT`` reads any size and number.
    """

    __slots__ = (
        "_at",
        "_begun",
        "_enforces",
        "_eof",
        "_fault",
        "_headers",
        "_known",
        "_last",
        "_later",
        "_ready",
        "_taken",
        "_total",
        "_window",
    )

    def __init__(self, role: Role) -> None:
        self._enforces = role is Role.SERVER
        self._ready: deque[EventStreamMessage] = deque()
        """What was swept and not yet asked for."""
        self._taken = 0
        """Bytes before the message that has begun: the offset that error messages name."""
        self._begun = bytearray()
        """As much of it as could not be swept."""
        self._window = b""
        """What follows, from ``_at`` on; then comes what was fed before all of that was read."""
        self._at = 0
        self._later = bytearray()
        self._eof = False
        self._fault: Malformed | None = None
        self._total = 0
        """Length of the message that has begun; 0 until its prelude was judged."""
        self._headers = 0
        self._known: dict[bytes, tuple[EventStreamHeader, ...]] = {}
        """Small blocks of headers that were read before."""
        self._last: _Head = (b"", 0, (), 0)
        """What the message had in front that was swept last."""

    @property
    def ended(self) -> bool:
        """Whether the stream is over, at the end of a message, and every message has been given."""
        here = len(self._ready) + len(self._begun) + len(self._window) - self._at + len(self._later)
        return self._eof and self._fault is None and not here

    def feed(self, data: BytesLike) -> None:
        """Take bytes of the stream; ``b""`` says that no more come. After that, or a fault, they are dropped."""
        if not len(data):
            self._eof = True
        elif not self._eof and self._fault is None:
            if self._at == len(self._window):
                self._window, self._at = bytes(data), 0
            else:
                self._later += data

    def next_message(self) -> EventStreamMessage | Literal[Signal.NEED_DATA]:
        """Return the next message; ``NEED_DATA`` when it is not whole yet, or when the stream has ``ended``.

        Raises:
            Malformed: This is no message, it is above a limit, or the stream ends within it; ``at`` counts from the
                beginning of the stream. Raised again each time.
        """
        if self._ready:
            return self._ready.popleft()
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            message = self._read()
            if message is None and self._eof and self._begun:
                raise self._truncated()
        except Malformed as fault:
            self._fault = fault
            raise
        return NEED_DATA if message is None else message

    def _read(self) -> EventStreamMessage | None:
        while True:
            if self._at == len(self._window):
                if not self._later:
                    return None
                self._window, self._at = bytes(self._later), 0
                self._later.clear()
            if not self._begun and self._sweep():
                return self._ready.popleft()
            message = self._read_plain()
            if message is not None:
                return message

    def _sweep(self) -> bool:
        """Read whole messages with known headers at the front of the window; leave everything else."""
        window, at, ready = self._window, self._at, self._ready
        head, head_sum, headers, size = self._last
        stop = at + _SWEEP
        while at < stop:
            if not (head and window.startswith(head, at)):
                found = self._known_head(window, at)
                if found is None:
                    break
                head, head_sum, headers, size = self._last = found
            start = at + len(head)
            end = start + size
            if end + _CRC > len(window):
                break
            payload = window[start:end]
            if _SUM.unpack_from(window, end)[0] != crc32(payload, head_sum):
                break
            message = _new(EventStreamMessage)  # as ``_judged``; a call is a tenth of what a small message costs
            _set_headers(message, headers)
            _set_payload(message, payload)
            ready.append(message)
            at = end + _CRC
        self._taken += at - self._at
        self._at = at
        return bool(ready)

    def _known_head(self, window: bytes, at: int) -> _Head | None:
        """Return what a message begins with, if its headers were read before and nothing is odd."""
        if len(window) - at < _OVERHEAD:
            return None
        total, length, lengths_sum = _FRONT.unpack_from(window, at)
        size = total - length - _OVERHEAD
        if length > _MAX_KNOWN_SIZE or not 0 <= size <= limits.MAX_EVENT_STREAM_PAYLOAD:
            return None
        head = window[at : at + _PRELUDE + length]
        headers = self._known.get(head[_PRELUDE:])
        if headers is None or crc32(head[: _PRELUDE - _CRC]) != lengths_sum:
            return None
        return head, crc32(head), headers, size

    def _read_plain(self) -> EventStreamMessage | None:
        """Read the message that has begun; ``None`` when the window ends before it."""
        begun = self._begun
        if not self._total:
            self._collect(_PRELUDE)
            if len(begun) < _PRELUDE:
                return None
            self._judge_prelude()
        self._collect(self._total)
        if len(begun) < self._total:
            return None
        start, end = _PRELUDE + self._headers, self._total - _CRC
        payload = bytes(memoryview(begun)[start:end])
        head = bytes(begun[:start])
        _require_crc(_SUM.unpack_from(begun, end)[0], crc32(payload, crc32(head)), "message", self._taken + end)
        headers = self._read_headers(head[_PRELUDE:])
        self._begun = bytearray()
        self._taken += self._total
        self._total = 0
        return _judged(headers, payload)

    def _collect(self, count: int) -> None:
        """Move bytes from the window to the message that has begun, until it has ``count``."""
        window, at = self._window, self._at
        end = min(at + count - len(self._begun), len(window))
        self._begun += memoryview(window)[at:end]
        self._at = end

    def _read_headers(self, block: bytes) -> tuple[EventStreamHeader, ...]:
        headers = self._known.get(block)
        if headers is None:
            headers = read_headers(block, self._taken + _PRELUDE, enforces=self._enforces)
            if len(block) <= _MAX_KNOWN_SIZE:
                if len(self._known) == _MAX_KNOWN:
                    self._known.clear()
                self._known[block] = headers
        return headers

    def _judge_prelude(self) -> None:
        """Check what the first twelve bytes say against each other, before any of it is believed."""
        start = self._taken
        total, headers, found = _FRONT.unpack_from(self._begun)
        _require_crc(found, crc32(self._begun[: _PRELUDE - _CRC]), "prelude", start + 8)
        if total < _OVERHEAD:
            raise Malformed(f"expected a total length of {_OVERHEAD} or more, got {total}", at=start)
        if headers > total - _OVERHEAD:
            raise Malformed(f"headers length {headers} exceeds total length {total} - {_OVERHEAD}", at=start + 4)
        if self._enforces:
            _require_sizes(headers, total - headers - _OVERHEAD, start=start)
        self._total, self._headers = total, headers

    def _truncated(self) -> Malformed:
        here = len(self._begun)
        wanted = f"{self._total} bytes" if self._total else f"{_OVERHEAD} bytes or more"
        reason = f"expected a message of {wanted}, got {here} bytes and then the end of the stream"
        return Malformed(reason, at=self._taken + here)


def _judged(headers: tuple[EventStreamHeader, ...], payload: bytes) -> EventStreamMessage:
    """Return a message of headers that were judged together."""
    message = _new(EventStreamMessage)
    _set_headers(message, headers)
    _set_payload(message, payload)
    return message


def _require_crc(found: int, computed: int, what: str, at: int) -> None:
    if found != computed:
        raise Malformed(f"expected {what} CRC {computed:08x} over what came, got {found:08x}", at=at)
