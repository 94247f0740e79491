"""Chunk framing: a body whose length nobody knows yet, and the trailers after it (RFC 9112, 7.1).

Writing gives exactly ``SIZE CRLF DATA CRLF ... 0 CRLF TRAILERS CRLF``. Reading is as tolerant as Go's ``net/http``,
which is what the real service and the emulator are made of: extensions are skipped, hexadecimal digits come in either
case and with leading zeros, blanks may stand before the end of a size line. A bare LF ends nothing.

Theory of operation of the decoder. ``_expected`` says which part of a chunk comes next, and ``_read_part`` reads that
part with a bounded read of the buffer. That alone would be right, and slow for small chunks: so a run of whole, plain
chunks is first read in one sweep over what the buffer holds (``_sweep``), and in it a run of chunks of one size at
once (``_end_of_equals``). The sweep never judges: it leaves whatever is odd or unfinished where it is, for
``_read_part``. Who only wants what needs no judgement takes it together (``take_plain``).

Sources: Go 1.26 ``net/http/internal/chunked.go``, ``net/http/transfer.go`` (``readTrailer``), ``net/textproto``; the
emulator of aws-sam-cli 1.170.0, observed 2026-11.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from lambda_wire import _names as names
from lambda_wire._buffer import Buffer
from lambda_wire._fields import is_field_value, is_token
from lambda_wire._limits import MAX_CHUNK_LINE, MAX_TRAILERS
from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import BytesLike, Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, MutableSequence, Sequence
    from typing import Final

__all__ = ["CHUNK_END", "MAX_PIECE", "ChunkDecoder", "chunk_buffers", "chunk_head", "encode_chunk", "encode_end"]

CHUNK_END: Final = b"\r\n"
"""What follows the data of every chunk."""

MAX_PIECE: Final = 65_536
"""A decoder that keeps boundaries gives larger chunks in pieces of this size, so that it need not hold them whole."""

_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_MAX_HEX_DIGITS: Final = 16  # Go: "http chunk length too large" beyond, leading zeros included
_MAX_EXCESS: Final = 16 * 1024  # Go: "chunked encoding contains too much non-data" beyond
_SWEEP: Final = 65_536  # in how much of the buffer the chunks of one sweep begin
_PLAIN_LINE: Final = 10  # a longer size line is not read in a sweep; one that is has no excess
_JOINED: Final = 4096  # below that, a copy costs less than a buffer of its own
_JOIN: Final = 65_536  # how much is joined at most
_EQUALS: Final = 8  # so many chunks of one size are looked for at first, then twice as many


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


def chunk_buffers(pieces: Sequence[bytes]) -> list[BytesLike]:
    """Return each piece as one chunk, as buffers to be written in order: small ones are joined, large ones not copied.

    Raises:
        Malformed: A piece is empty: an empty chunk ends the body.
    """
    if len(pieces) == 1 and 0 < len(pieces[0]) < _JOINED:  # as nearly every write of a stream is
        return [b"%x\r\n%b\r\n" % (len(pieces[0]), pieces[0])]
    buffers: list[BytesLike] = []
    small: list[bytes] = []
    held = 0
    for piece in pieces:
        size = len(piece)
        if 0 < size < _JOINED and held < _JOIN:
            small += (b"%x\r\n" % size, piece, CHUNK_END)
            held += size
            continue
        small.append(chunk_head(size))
        if size < _JOINED:
            buffers.append(b"".join(small))
            small, held = [piece, CHUNK_END], size
        else:
            buffers += (b"".join(small), piece)
            small, held = [CHUNK_END], 0
    if small:
        buffers.append(b"".join(small))
    return buffers


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
        raise Malformed(f"a trailer's name must be a token, got {quote(name)}", at=at, rule="RS-TRAILER-1")
    if not is_field_value(value.decode("latin-1")):
        reason = f"a trailer's value must have no control characters or outer blanks, got {quote(value)}"
        raise Malformed(reason, at=at, rule="RS-TRAILER-1")


def _sweep(window: bytes, at: int, stop: int, pieces: MutableSequence[bytes]) -> tuple[int, int, int]:
    """Add the data of the whole plain chunks that begin at ``at``, and before ``stop``, to ``pieces``.

    Returns:
        Where they end. If a plain one is there that is not whole: where its data begin, and its size; else 0.
    """
    find, startswith, end_size = window.find, window.startswith, len(CHUNK_END)
    known, size, equals = CHUNK_END, 0, _EQUALS
    while at < stop:
        line_end = find(CHUNK_END, at, at + _PLAIN_LINE)
        if line_end < 0:
            break
        digits = window[at:line_end]
        start = line_end + end_size
        if digits == known:
            if equals >= _EQUALS and size * _EQUALS < len(window) - at:
                end = _end_of_equals(window, at, min(stop, len(window)), digits + CHUNK_END, size, equals)
                starts = range(start, end, start - at + size + end_size)
                pieces += [window[start : start + size] for start in starts]
                equals = equals * 2 if starts else equals // 4
                at = end
                continue
        elif not digits or digits.translate(None, _HEX_DIGITS):
            break
        else:
            known, size, equals = digits, int(digits, 16), _EQUALS
        end = start + size
        if not 0 < size <= MAX_PIECE or not startswith(CHUNK_END, end):
            return at, start, size
        pieces.append(window[start:end])
        at = end + end_size
    return at, at, 0


def _end_of_equals(window: bytes, at: int, stop: int, head: bytes, size: int, most: int) -> int:
    """Return where a run of chunks ends that all have this size line, ``most`` of them; ``at`` when it is none.

    Each byte of the framing is compared in all of them at once.
    """
    stride = len(head) + size + len(CHUNK_END)
    count = min(most, (stop - at) // stride)
    end = at + count * stride
    if count < _EQUALS:
        return at
    framing = (*enumerate(head, at), *enumerate(CHUNK_END, at + len(head) + size))
    return end if all(window[first:end:stride].count(byte) == count for first, byte in framing) else at


class _Expected(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    NOTHING = auto()


_SIZE: Final = _Expected.SIZE
_DATA: Final = _Expected.DATA
_DATA_END: Final = _Expected.DATA_END
_TRAILERS: Final = _Expected.TRAILERS
_NOTHING: Final = _Expected.NOTHING


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
        self._expected = _SIZE
        self._left = 0
        self._excess = 0
        self._ready: deque[bytes] = deque()
        self.trailers: Headers = ()
        """The trailers, names in lower case, once ``finished``. Those that speak of framing are left out."""

    @property
    def finished(self) -> bool:
        """Whether the body has ended, trailers and all. What is left in the buffer belongs to the next message."""
        return self._expected is _NOTHING

    @property
    def left(self) -> int:
        """How many bytes of data the chunk still has that is being read."""
        return self._left

    def skip(self, count: int) -> None:
        """Take note that so many of them were received elsewhere, while the buffer was empty."""
        self._left -= count
        if not self._left:
            self._expected = _DATA_END

    def next_piece(self) -> bytes | None:
        """Return the next data, never empty; ``None`` when more bytes are needed, or when ``finished``.

        Raises:
            Malformed: This is no chunked body, or one of its parts is over its limit.
        """
        ready = self._ready
        while not ready:
            if not self._read_part():
                return None
        if self._keep_boundaries or len(ready) == 1:
            return ready.popleft()
        piece = b"".join(ready)
        ready.clear()
        return piece

    def take_plain(self) -> tuple[Collection[bytes], bool]:
        """Take the pieces that are here and need no judgement, and say whether all else needs more bytes.

        ``next_piece`` would give them one by one. There are some only where boundaries are kept.
        """
        pieces: list[bytes] = []
        if not self._keep_boundaries or self._ready:
            return pieces, False
        if self._expected is _DATA and not self._read_data(pieces):
            return pieces, True
        if self._expected is _SIZE or self._expected is _DATA_END:
            self._read_run(pieces)
        return pieces, self._expected is _DATA and self._buffer.size < self._left and self._buffer.size < MAX_PIECE

    def _read_part(self) -> bool:
        """Read what is expected next; say whether it was there."""
        expected = self._expected
        if expected is _DATA:
            return self._read_data(self._ready)
        if expected is _SIZE:
            return self._read_run(self._ready) or self._read_size()
        if expected is _DATA_END:
            return self._read_run(self._ready) or self._read_data_end()
        if expected is _TRAILERS:
            return self._read_trailers()
        return False

    def _read_run(self, pieces: MutableSequence[bytes]) -> bool:
        """Read the whole plain chunks that come next, and begin one that is not whole; leave all else."""
        found = None if self._excess else self._buffer.window_with(CHUNK_END, len(CHUNK_END) + _PLAIN_LINE, _SWEEP)
        if found is None:
            return False
        window, begin = found
        at = begin
        if self._expected is _DATA_END:
            if not window.startswith(CHUNK_END, at):
                return False
            at += len(CHUNK_END)
        at, data_at, size = _sweep(window, at, begin + _SWEEP, pieces)
        if size and (self._keep_boundaries or not pieces):  # else ``left`` would not be of the piece given
            self._left, self._expected, at = size, _DATA, data_at
        elif at > begin:
            self._expected = _SIZE
        else:
            return False
        self._buffer.skip(at - begin)
        return True

    def _read_size(self) -> bool:
        at = self._buffer.taken
        line = self._buffer.take_until(b"\n", limit=self._max_line, rule="LI-CHUNK-1")
        if line is None:
            return False
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            reason = f"a chunk's size line must end in CRLF and hold no other CR, got {quote(line)}"
            raise Malformed(reason, at=at, rule="RS-CHUNK-1")
        digits = line[:-2].rstrip(b" \t").partition(b";")[0]
        if not 0 < len(digits) <= _MAX_HEX_DIGITS or digits.translate(None, _HEX_DIGITS):
            rule = "LI-CHUNK-2" if digits and not digits.translate(None, _HEX_DIGITS) else "RS-CHUNK-1"
            reason = f"a chunk's size must be 1-{_MAX_HEX_DIGITS} hex digits, got {quote(digits)}"
            raise Malformed(reason, at=at, rule=rule)
        self._left = int(digits, 16)
        if self._left == 0:
            self._expected = _TRAILERS
            return True
        # As Go counts: what each chunk carries beside its data, less 16 bytes and twice its data.
        self._excess = max(0, self._excess + len(line) - 16 - 2 * self._left)
        if self._excess > _MAX_EXCESS:
            reason = f"chunk extensions outweigh the data by more than {_MAX_EXCESS} bytes"
            raise Malformed(reason, at=at, rule="LI-CHUNK-3")
        self._expected = _DATA
        return True

    def _read_data(self, pieces: MutableSequence[bytes]) -> bool:
        left = self._left
        if self._keep_boundaries:
            piece = self._buffer.take(left if left < MAX_PIECE else MAX_PIECE)
        else:
            piece = self._buffer.take_up_to(left)
        if not piece:
            return False
        pieces.append(piece)
        self._left = left - len(piece)
        if not self._left:
            self._expected = _DATA_END
        return True

    def _read_data_end(self) -> bool:
        at = self._buffer.taken
        end = self._buffer.take(len(CHUNK_END))
        if end is None:
            return False
        if end != CHUNK_END:
            reason = f"a chunk's data must be followed by {CHUNK_END!r}, got {quote(end)}"
            raise Malformed(reason, at=at, rule="RS-CHUNK-1")
        self._expected = _SIZE
        return True

    def _read_trailers(self) -> bool:
        at = self._buffer.taken
        if self._buffer.peek(2) == b"\r\n":
            section = self._buffer.take(2)
        else:
            section = self._buffer.take_until(b"\r\n\r\n", limit=self._max_trailers, rule="LI-TRAILER-1")
        if section is None:
            return False
        fields: list[tuple[str, str]] = []
        for line in section.split(b"\r\n")[:-2]:
            fields.append(_decode_trailer(line, at))
            at += len(line) + len(CHUNK_END)
        self.trailers = tuple(field for field in fields if field[0] not in names.FRAMING_FIELDS)
        self._expected = _NOTHING
        return True


def _decode_trailer(line: bytes, at: int) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise Malformed(f"a trailer must be `name: value`, got {quote(line)}", at=at, rule="RS-TRAILER-1")
    value = value.strip(b" \t")
    _require_trailer(name, value, at=at)
    return name.decode("ascii").lower(), value.decode("utf-8", "surrogateescape")
