"""The log of one invocation, as its caller may ask for it: only its end is kept, however long it is."""

from __future__ import annotations

from lambda_wire import _limits as limits
from lambda_wire._types import BytesLike

__all__ = ["Log"]


class Log:
    """Takes what was written, and gives the end of it.

    Args:
        limit: How many bytes that is.
    """

    def __init__(self, limit: int = limits.MAX_LOG_TAIL) -> None:
        self._limit = limit
        self._kept = bytearray()

    def write(self, data: BytesLike) -> None:
        """Append bytes as they are."""
        self._kept += memoryview(data)[-self._limit :]
        del self._kept[: -self._limit]

    def write_line(self, line: str) -> None:
        """Append a line of its own, even if what was written before has not ended its line."""
        if self._kept and not self._kept.endswith(b"\n"):
            self.write(b"\n")
        self.write(f"{line}\n".encode("utf-8", "backslashreplace"))

    def tail(self) -> bytes:
        """Return the end."""
        return bytes(self._kept)
