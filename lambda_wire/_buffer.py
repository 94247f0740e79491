"""A receive buffer whose every read has a limit.

Bytes go in at the end and out at the front. A search resumes where the last one stopped, so a peer that sends one
byte at a time costs no more than one that sends the message whole.
"""

from __future__ import annotations

from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import BytesLike

__all__ = ["Buffer"]


class Buffer:
    """A ``bytearray`` that answers bounded reads; each returns ``None`` while bytes are missing."""

    __slots__ = ("_data", "_searched", "_separators", "taken")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0
        self._separators: tuple[bytes, ...] = ()
        """What is not among the first ``_searched`` bytes."""
        self.taken: int = 0
        """Bytes taken since the buffer was made: the offset that error messages name."""

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: BytesLike) -> None:
        """Append ``data``."""
        self._data += data

    def peek(self, count: int) -> bytes:
        """Return up to ``count`` bytes without taking them."""
        return bytes(self._data[:count])

    def take(self, count: int) -> bytes | None:
        """Take exactly ``count`` bytes."""
        return self._cut(count) if len(self._data) >= count else None

    def take_up_to(self, count: int) -> bytes:
        """Take what is there, at most ``count`` bytes; ``b""`` when nothing is."""
        return self._cut(min(count, len(self._data)))

    def take_until(self, *separators: bytes, limit: int) -> bytes | None:
        """Take everything through the earliest separator.

        Raises:
            Malformed: No separator ends within ``limit`` bytes.
        """
        if separators != self._separators:
            self._separators, self._searched = separators, 0
        end = limit + 1
        for separator in separators:
            found = self._data.find(separator, max(0, self._searched - len(separator) + 1), end - 1)
            if found >= 0:
                end = found + len(separator)
        if end <= limit:
            return self._cut(end)
        self._searched = min(len(self._data), limit)
        if self._searched >= limit:
            reason = f"expected {separators[0]!r} within {limit} bytes, got {quote(self._data[:limit])}"
            raise Malformed(reason, at=self.taken + limit)
        return None

    def _cut(self, count: int) -> bytes:
        with memoryview(self._data) as view:
            taken = bytes(view[:count])
        del self._data[:count]
        self._searched = 0
        self.taken += count
        return taken
