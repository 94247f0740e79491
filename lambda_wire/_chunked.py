"""Chunk framing: a body whose length nobody knows yet, and the trailers after it (RFC 9112, 7.1).

Writing gives exactly ``SIZE CRLF DATA CRLF ... 0 CRLF TRAILERS CRLF``. Reading is as tolerant as Go's ``net/http``,
which is what the real service and the emulator are made of: extensions are skipped, hexadecimal digits come in either
case and with leading zeros, blanks may stand before the end of a size line. A bare LF ends nothing.

Theory of operation of the decoder. ``_expected`` says which part of a chunk comes next, and ``_read_part`` reads that
part with a bounded read of the buffer. That alone would be right, and slow for small chunks: so a run of whole, plain
chunks is first read in one sweep over a copy of the buffer's front (``_read_run``). The sweep never judges: it leaves
whatever is odd or unfinished where it is, for ``_read_part``.

Sources: Go 1.26 ``net/http/internal/chunked.go``, ``net/http/transfer.go`` (``readTrailer``), ``net/textproto``; the
emulator of aws-sam-cli 1.170.0, observed 2026-11.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, assert_never

from lambda_wire import _names as names
from lambda_wire._buffer import Buffer
from lambda_wire._fields import is_field_value, is_token
from lambda_wire._limits import MAX_CHUNK_LINE, MAX_TRAILERS
from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import BytesLike, Headers

__all__ = ["CHUNK_END", "MAX_PIECE", "ChunkDecoder", "chunk_head", "encode_chunk", "encode_end"]

CHUNK_END: Final = b"\r\n"
"""What follows the data of every chunk."""

MAX_PIECE: Final = 65_536
"""A decoder that keeps boundaries gives larger chunks in pieces of this size, so that it need not hold them whole."""

_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_MAX_HEX_DIGITS: Final = 16  # Go: "http chunk length too large" beyond, leading zeros included
_MAX_EXCESS: Final = 16 * 1024  # Go: "chunked encoding contains too much non-data" beyond
_SWEEP: Final = 16 * 1024  # how much of the buffer one sweep looks at: many small chunks, and yet a cheap copy
_SWEEP_DIGITS: Final = 4  # no chunk that can be whole within a sweep needs more


def chunk_head(size: int) -> bytes:
    """Return the size line of a chunk whose data and ``CHUNK_END`` are sent after it.

    Raises:
        Malformed: ``size`` is not positive: an empty chunk ends the body.
    """
    if size <= 0:
        raise Malformed(f"a chunk must hold at least one byte, got size {size}: an empty chunk ends the body")
    return b"%x\r\n" % size


def encode_chunk(data: BytesLike) -> bytes:
    """Return ``data`` as one chunk.

    Raises:
        Malformed: ``data`` is empty: an empty chunk ends the body.
    """
    content = bytes(data)
    return b"%b%b\r\n" % (chunk_head(len(content)), content)


def encode_end(trailers: Headers = ()) -> bytes:
    """Return the last chunk, the trailers in the order and spelling given, and the empty line.

    Raises:
        Malformed: A name is not a token or speaks of framing, a value cannot be a header value, or the trailers do not
            fit ``MAX_TRAILERS``.
    """
    section = b"".join([b"%b: %b\r\n" % _encode_trailer(name, value) for name, value in trailers]) + b"\r\n"
    if len(section) > MAX_TRAILERS:
        raise Malformed(f"expected trailers of at most {MAX_TRAILERS} bytes, got {len(section)}")
    return b"0\r\n" + section


def _encode_trailer(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        name_bytes, value_bytes = name.encode("ascii"), value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise Malformed(f"a trailer must be encodable, got {quote(name)}: {quote(value)}") from exc
    _require_trailer(name_bytes, value_bytes)
    if name.lower() in names.FRAMING_FIELDS:
        raise Malformed(f"a trailer may not speak of framing, got {quote(name)} (RFC 9110, 6.5.1)")
    return name_bytes, value_bytes


def _require_trailer(name: bytes, value: bytes, *, at: int | None = None) -> None:
    """Refuse what is no field name or no field value (RFC 9110, 5.1 and 5.5)."""
    if not is_token(name.decode("latin-1")):
        raise Malformed(f"a trailer's name must be a token, got {quote(name)}", at=at)
    if not is_field_value(value.decode("latin-1")):
        raise Malformed(f"a trailer's value must have no control characters or outer blanks, got {quote(value)}", at=at)


class _Expected(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    NOTHING = auto()


class ChunkDecoder:
    """Reads one chunked body from the front of a buffer, and not one byte beyond its end.

    After ``Malformed`` it can say nothing more: what it was reading has no end.

    Args:
        buffer: Where the bytes arrive. Feed it, then call ``next_piece`` until that returns ``None``.
        keep_boundaries: Give one piece for each chunk, however it is delivered (chunks above ``MAX_PIECE`` as several
            pieces, all but the last of exactly ``MAX_PIECE``). Otherwise data is given as soon and as much as it is
            there.
        max_line: Limit of a size line, its extensions and its end included.
        max_trailers: Limit of the trailers, with the empty line after them.
    """

    __slots__ = (
        "_buffer",
        "_excess",
        "_expected",
        "_keep_boundaries",
        "_left",
        "_max_line",
        "_max_trailers",
        "_ready",
        "trailers",
    )

    def __init__(
        self,
        buffer: Buffer,
        *,
        keep_boundaries: bool = False,
        max_line: int = MAX_CHUNK_LINE,
        max_trailers: int = MAX_TRAILERS,
    ) -> None:
        self._buffer = buffer
        self._keep_boundaries = keep_boundaries
        self._max_line = max_line
        self._max_trailers = max_trailers
        self._expected = _Expected.SIZE
        self._left = 0
        self._excess = 0
        self._ready: deque[bytes] = deque()
        self.trailers: Headers = ()
        """The trailers, names in lower case, once ``finished``. Those that speak of framing are left out."""

    @property
    def finished(self) -> bool:
        """Whether the body has ended, trailers and all. What is left in the buffer belongs to the next message."""
        return self._expected is _Expected.NOTHING

    def next_piece(self) -> bytes | None:
        """Return the next data, never empty; ``None`` when more bytes are needed, or when ``finished``.

        Raises:
            Malformed: This is no chunked body, or one of its parts is over its limit.
        """
        while not self._ready:
            if not self._read_part():
                return None
        if self._keep_boundaries:
            return self._ready.popleft()
        piece = b"".join(self._ready)
        self._ready.clear()
        return piece

    def _read_part(self) -> bool:
        """Read what is expected next; say whether it was there."""
        match self._expected:
            case _Expected.SIZE:
                return self._read_run() or self._read_size()
            case _Expected.DATA:
                return self._read_data()
            case _Expected.DATA_END:
                return self._read_data_end()
            case _Expected.TRAILERS:
                return self._read_trailers()
            case _Expected.NOTHING:
                return False
            case _ as never:
                assert_never(never)

    def _read_run(self) -> bool:
        """Read the whole plain chunks at the front of the buffer; leave everything else."""
        if self._excess:
            return False
        window = self._buffer.peek(_SWEEP)
        at, head, size = 0, b"\r\n", 0
        while True:
            if not window.startswith(head, at):
                digits, found, _ = window[at : at + _SWEEP_DIGITS + 2].partition(b"\r\n")
                if not found or not digits or digits.translate(None, _HEX_DIGITS):
                    break
                head, size = digits + found, int(digits, 16)
            start = at + len(head)
            end = start + size
            if size == 0 or not window.startswith(CHUNK_END, end):
                break
            self._ready.append(window[start:end])
            at = end + len(CHUNK_END)
        self._buffer.take_up_to(at)
        return at > 0

    def _read_size(self) -> bool:
        at = self._buffer.taken
        line = self._buffer.take_until(b"\n", limit=self._max_line)
        if line is None:
            return False
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed(f"a chunk's size line must end in CRLF and hold no other CR, got {quote(line)}", at=at)
        digits = line[:-2].rstrip(b" \t").partition(b";")[0]
        if not 0 < len(digits) <= _MAX_HEX_DIGITS or digits.translate(None, _HEX_DIGITS):
            raise Malformed(f"a chunk's size must be 1-{_MAX_HEX_DIGITS} hex digits, got {quote(digits)}", at=at)
        self._left = int(digits, 16)
        if self._left == 0:
            self._expected = _Expected.TRAILERS
            return True
        # As Go counts: what each chunk carries beside its data, less 16 bytes and twice its data.
        self._excess = max(0, self._excess + len(line) - 16 - 2 * self._left)
        if self._excess > _MAX_EXCESS:
            raise Malformed(f"chunk extensions outweigh the data by more than {_MAX_EXCESS} bytes", at=at)
        self._expected = _Expected.DATA
        return True

    def _read_data(self) -> bool:
        if self._keep_boundaries:
            piece = self._buffer.take(min(self._left, MAX_PIECE))
        else:
            piece = self._buffer.take_up_to(self._left)
        if not piece:
            return False
        self._ready.append(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._expected = _Expected.DATA_END
        return True

    def _read_data_end(self) -> bool:
        at = self._buffer.taken
        end = self._buffer.take(len(CHUNK_END))
        if end is None:
            return False
        if end != CHUNK_END:
            raise Malformed(f"a chunk's data must be followed by {CHUNK_END!r}, got {quote(end)}", at=at)
        self._expected = _Expected.SIZE
        return True

    def _read_trailers(self) -> bool:
        at = self._buffer.taken
        if self._buffer.peek(2) == b"\r\n":
            section = self._buffer.take(2)
        else:
            section = self._buffer.take_until(b"\r\n\r\n", limit=self._max_trailers)
        if section is None:
            return False
        lines = section.split(b"\r\n")[:-2]
        self.trailers = tuple(
            field for line in lines if (field := _decode_trailer(line, at))[0] not in names.FRAMING_FIELDS
        )
        self._expected = _Expected.NOTHING
        return True


def _decode_trailer(line: bytes, at: int) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise Malformed(f"a trailer must be `name: value`, got {quote(line)}", at=at)
    value = value.strip(b" \t")
    _require_trailer(name, value, at=at)
    return name.decode("ascii").lower(), value.decode("utf-8", "surrogateescape")
