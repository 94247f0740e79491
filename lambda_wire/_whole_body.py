"""A body that is wanted whole, and never copied twice.

What is large and of announced size gets memory of its own. A driver may receive straight into it; what came before goes
there, too. ``BytesIO`` holds ``bytes`` inside, lends them as a writable buffer, and gives them away without a copy: so
the body is ``bytes``, really ``bytes``, and its memory is all that it takes.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from lambda_wire._malformed import Malformed
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["WholeBody"]

#: From how many bytes on a piece gets memory of its own: more than comes in one read.
_LARGE: Final = 65_536
#: Up to how many: a size beyond that is a claim, whatever the limit, and memory grows with what comes.
_LARGEST: Final = 1 << 30


class _Memory(BytesIO):
    """Memory of which views are lent. The garbage collector may close it before them, which Python 3.13 reports."""

    def close(self) -> None:
        """Close it, unless a view still stands: then it goes with that."""
        with suppress(BufferError):
            super().close()


class WholeBody:
    """Collects one body.

    Args:
        limit: Largest body in bytes.
        what: What it is the body of, in messages.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.size: int = 0
        """How many bytes of it came."""
        self._pieces: list[bytes] = []
        self._memory: _Memory | None = None
        """What is being filled, or small pieces one after the other: none of them has a price of its own."""
        self._rest = memoryview(b"")
        """What of ``_memory`` is lent, for it is not filled."""

    def __del__(self) -> None:
        """Take back what was lent before the collector clears it with its memory, which crashes CPython 3.12.1."""
        self._rest.release()

    def announce(self, size: int) -> None:
        """Take note that so many bytes belong to it beyond those that it has.

        Raises:
            Malformed: They would be too many.
        """
        if self.size + size > self._limit:
            raise Malformed(f"expected {self._what} of at most {self._limit} bytes, got more")

    def add(self, piece: bytes, left: int = 0) -> None:
        """Add what came, ``left`` bytes before the end of something whose size was announced."""
        self.size += len(piece)
        if _LARGE <= left <= _LARGEST:
            self._close_memory()
            self._memory = _Memory(bytes(len(piece) + left))
            self._rest = self._memory.getbuffer()
            self._fill(piece)
        elif self._memory is None:
            self._memory = _Memory(piece)
            self._memory.seek(len(piece))
        else:
            self._memory.write(piece)

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next bytes belong; ``None`` when they are to be looked at first."""
        return self._rest if len(self._rest) else None

    def receive(self, data: BytesLike) -> BytesLike:
        """Put what belongs there into ``receive_buffer``, unless it was received there; return the rest.

        ``data``, if it was lent, and the view that it is part of are released: they are not to be used again.
        """
        if isinstance(data, memoryview) and (data.format != "B" or data.ndim != 1):
            data = data.tobytes()  # its length may be of wider items
        count = min(len(data), len(self._rest))
        self.size += count
        left_over: BytesLike = b""
        if isinstance(data, memoryview) and data.obj is self._rest.obj:
            self._advance(count)
            data.release()
        else:
            left_over = memoryview(data)[count:]
            self._fill(memoryview(data)[:count])
        if not len(self._rest):
            self._close_memory()
        return left_over

    def take(self) -> bytes:
        """Return all of it."""
        self._close_memory()
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)  # of one it is that one

    def drop(self) -> None:
        """Let its memory go, and take back what was lent."""
        self._rest.release()
        self._rest = memoryview(b"")
        self._memory = None

    def _fill(self, data: BytesLike) -> None:
        self._rest[: len(data)] = data
        self._advance(len(data))

    def _advance(self, count: int) -> None:
        filled, self._rest = self._rest, self._rest[count:]
        filled.release()  # whoever was lent it may hold it still: then the memory would have to be copied

    def _close_memory(self) -> None:
        if self._memory is not None:
            self._rest.release()
            self._rest = memoryview(b"")
            self._pieces.append(self._memory.getvalue())
            self._memory = None
