"""What a conversation may want of its driver: four things, closed.

A driver that can dial, write, read and hang up can run every conversation of this package.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lambda_wire._record import field, record
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeAlias, TypeVar
else:
    from lambda_wire._typing import Protocol, TypeVar

__all__ = ["Closable", "Dial", "Exchange", "Hangup", "Read", "Want", "Write"]

_T = TypeVar("_T")


@record
class Dial:
    """Open a new connection to the service, with ``TCP_NODELAY``. Answer ``b""``.

    Throw ``ConnectionLost`` when it cannot be opened.
    """


class Write:
    """Write what is left of the buffers, and tell it so with ``advance``. Answer ``b""`` when it is ``done``.

    When the peer speaks while the write would block, stop and answer with the bytes it sent. When ``look_first``, do
    so even before the first byte is written; without buffers, this is only a look. The conversation knows what is left,
    and may want it written later.

    Throw ``ConnectionLost`` when the connection has ended.

    Args:
        buffers: What is to be written, in order.
        look_first: Whether to look first what the peer said.

    Attributes:
        look_first: The same.
        done: Whether all is written.
    """

    __slots__ = ("_buffers", "_first", "_offset", "done", "look_first")

    def __init__(self, buffers: Sequence[BytesLike] = (), *, look_first: bool = False) -> None:
        self._buffers = buffers if all(buffers) else [buffer for buffer in buffers if buffer]
        self._first: int = 0
        self._offset: int = 0
        self.done: bool = not self._buffers
        self.look_first: bool = look_first

    def __repr__(self) -> str:
        """Show no payload."""
        return f"Write(done={self.done}, look_first={self.look_first})"

    def next_buffers(self, most: int) -> Sequence[BytesLike]:
        """Return what is to be written next, as at most ``most`` buffers."""
        if not self._first and not self._offset and len(self._buffers) <= most:
            return self._buffers
        buffers = list(self._buffers[self._first : self._first + most])
        if self._offset:
            buffers[0] = memoryview(buffers[0])[self._offset :]
        return buffers

    def advance(self, written: int) -> None:
        """Say that so many bytes more have been written."""
        buffers, first = self._buffers, self._first
        written += self._offset
        while first < len(buffers) and written >= len(buffers[first]):
            written -= len(buffers[first])
            first += 1
        self._first, self._offset, self.done = first, written, first == len(buffers)


@record
class Read:
    """Wait for bytes. Answer with them, at most ``max_bytes``; with ``b""`` when the peer has ended.

    Who can receive into memory may do so when there is some: answer then with the part of ``into`` that was filled,
    from its start. It is a large body's, which is not copied again.

    Throw ``ConnectionLost`` when the connection was reset: what came before need not be all.
    """

    max_bytes: int = 65_536
    into: memoryview | None = field(default=None, repr=False)


@record
class Hangup:
    """Close the connection, if there is one. Answer ``b""``.

    When ``half``, close only our half of it: the peer hears that no more comes, and what it says is still read.
    """

    half: bool = False


Want: TypeAlias = Dial | Write | Read | Hangup

if TYPE_CHECKING:
    Exchange: TypeAlias = Generator[Want, BytesLike, _T]
else:
    Exchange = Generator  # which takes parameters, too
"""A conversation: it yields wants, is sent their answers, and returns what it was held for."""


class Closable(Protocol):
    """What a driver knows of a session: whether it was closed. And what it tells a session that it alone knows."""

    closed: bool
    lingers: bool
    """Whether a connection that was given up is still to be read to its end: its driver closes only our half of it."""
    quiet_s: float
    """Seconds since the driver last read or looked, when a conversation begins. A driver without a clock leaves it."""

    def require_open(self) -> None:
        """Raise ``ConnectionLost`` when ``closed`` was set, or a connection that is dialled is not wanted any more."""

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it: it cannot be relied on."""
