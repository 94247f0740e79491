"""A receive buffer whose every read has a limit.

Bytes go in at the end and out at the front. A search resumes where the last one stopped, so a peer that sends one
byte at a time costs no more than one that sends the message whole.

Theory of operation. What was received as ``bytes`` is kept as it came, and copied once, on its way out. ``_data`` is
read first, from ``_at`` on, and ``_later`` after it: small pieces are appended to a ``bytearray``, of which only the
last can be one that grows. Who must see what lies across an edge joins it (``_join``), at a price that doubles only
when the input does: into new ``bytes`` when that at least doubles what is copied again, else at the end of what grows.
"""

from __future__ import annotations

from collections import deque

from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["Buffer"]

_KEPT: Final = 1024  # a piece of that size is kept as it came: what it is made of weighs little beside it
_SHOWN: Final = 64  # more of it is not quoted


class Buffer:
    """Answers bounded reads; each returns ``None`` while bytes are missing."""

    __slots__ = ("_at", "_data", "_later", "_searched", "_separators", "size", "taken")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._at = 0
        """Where in ``_data`` the next byte is. ``_data`` is at its end only when nothing is there."""
        self._later: deque[bytes | bytearray] = deque()
        self.size: int = 0
        """Bytes that are here."""
        self._searched = 0
        self._separators: tuple[bytes, ...] = ()
        """What is not among the first ``_searched`` bytes."""
        self.taken: int = 0
        """Bytes taken since the buffer was made: the offset that error messages name."""

    def __len__(self) -> int:
        return self.size

    def feed(self, data: BytesLike) -> None:
        """Append ``data``."""
        if type(data) is not bytes or (self.size and len(data) < _KEPT):
            last = self._later[-1] if self._later else self._data
            if isinstance(last, bytearray):
                self._extend(last, data)
                return
            data = bytearray(data)
        if self.size:
            self._later.append(data)
        else:
            self._data, self._at = data, 0
        self.size += len(data)

    def _extend(self, last: bytearray, data: BytesLike) -> None:
        if self._at and not self._later:
            del last[: self._at]
            self._at = 0
        before = len(last)
        last += data
        self.size += len(last) - before

    def peek(self, count: int) -> bytes:
        """Return up to ``count`` bytes without taking them."""
        if self._later:
            self._join(count)
        return bytes(self._data[self._at : self._at + count])

    def window_with(self, mark: bytes, within: int, count: int) -> tuple[bytes, int] | None:
        """Return ``window(count)`` if ``mark`` is among its first ``within`` bytes, and not at once."""
        if self._later:
            self._join(within)
        if self._data.find(mark, self._at + 1, self._at + within) < 0:
            return None
        return self.window(count)

    def window(self, count: int) -> tuple[bytes, int]:
        """Return bytes, and where in them those begin that come next: ``count`` of them at least, or all there are."""
        if self._later:
            self._join(count)
        if type(self._data) is not bytes:
            self._data, self._at = bytes(self._data[self._at :]), 0  # once, however many looks follow
        return self._data, self._at

    def piece(self) -> tuple[bytes, int] | None:
        """Return bytes, and where in them those begin that come next, if all there are came together."""
        return (self._data, self._at) if type(self._data) is bytes and not self._later else None

    def take(self, count: int) -> bytes | None:
        """Take exactly ``count`` bytes."""
        return self._cut(count) if self.size >= count else None

    def take_up_to(self, count: int) -> bytes:
        """Take what is there, at most ``count`` bytes; ``b""`` when nothing is."""
        return self._cut(min(count, self.size))

    def skip(self, count: int) -> None:
        """Throw ``count`` bytes away. All of them are there."""
        if count == self.size and not self._later:
            self._data, self._at = b"", 0
        elif count < len(self._data) - self._at:
            self._at += count
        else:
            self._cut(count)
            return
        self.size -= count
        self._searched, self.taken = 0, self.taken + count

    def take_until(self, *separators: bytes, limit: int, rule: str = "") -> bytes | None:
        """Take everything through the earliest separator.

        Raises:
            Malformed: No separator ends within ``limit`` bytes, which breaks ``rule``.
        """
        self._join(limit)
        if separators != self._separators:
            self._separators, self._searched = separators, 0
        at = self._at
        end = at + limit + 1
        for separator in separators:
            found = self._data.find(separator, at + max(0, self._searched - len(separator) + 1), end - 1)
            if found >= 0:
                end = found + len(separator)
        if end <= at + limit:
            return self._cut(end - at)
        self._searched = min(self.size, limit)
        if self._searched >= limit:
            reason = f"expected {separators[0]!r} within {limit} bytes, got {quote(self.peek(min(limit, _SHOWN)))}"
            raise Malformed(reason, at=self.taken + limit, rule=rule)
        return None

    def _join(self, count: int) -> None:
        """See to it that ``count`` bytes, or all there are, lie in ``_data``."""
        if len(self._data) - self._at >= count or not self._later:
            return
        held = len(self._data) - self._at
        pieces: list[bytes | bytearray] = []
        added = 0
        while self._later and held + added < count:
            pieces.append(self._later.popleft())
            added += len(pieces[-1])
        if added >= held:
            self._data = b"".join([self._data[self._at :], *pieces])
        else:
            if not isinstance(self._data, bytearray):
                self._data = bytearray(self._data)
            self._data += b"".join(pieces)
            del self._data[: self._at]
        self._at = 0

    def _cut(self, count: int) -> bytes:
        """Take ``count`` bytes. All of them are there."""
        data, at = self._data, self._at
        end = at + count
        self.size -= count
        self._searched = 0
        self.taken += count
        if end > len(data):
            return self._cut_across(count)
        if type(data) is bytes:
            taken = data[at:end]
        else:
            with memoryview(data) as view:
                taken = bytes(view[at:end])
        self._at = end
        if end == len(data):
            self._data, self._at = self._later.popleft() if self._later else b"", 0
        return taken

    def _cut_across(self, count: int) -> bytes:
        """Take more than lies in ``_data``: each byte is copied once."""
        later = self._later
        pieces: list[BytesLike] = [memoryview(self._data)[self._at :]]
        missing = count - len(pieces[0])
        while later and missing >= len(later[0]):
            piece = later.popleft()
            pieces.append(piece)
            missing -= len(piece)
        self._data, self._at = later.popleft() if later else b"", missing
        pieces.append(memoryview(self._data)[:missing])
        return b"".join(pieces)
