"""What a conversation may want of its driver: four things, closed and dumb.

A driver that can dial, write, read and hang up can run every conversation of this package.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from lambda_wire._record import field, record
from lambda_wire._types import BytesLike

__all__ = ["Dial", "Exchange", "Hangup", "Read", "Want", "Write"]

_T = TypeVar("_T")


@record
class Dial:
    """Open a new connection to the Runtime API, with ``TCP_NODELAY``. Answer ``b""``.

    Throw ``ConnectionLost`` when it cannot be opened.
    """


@record
class Write:
    """Write the buffers, in order. Answer ``b""`` when they are written.

    When ``listening``, look first whether the peer has spoken, and go on looking while the write would block: if it
    has, stop there and answer with the bytes it sent; what was not yet written is then never written. Without buffers
    this is only a look.

    Throw ``ConnectionLost`` when the connection has ended.
    """

    buffers: tuple[BytesLike, ...] = field(repr=False)
    listening: bool = False


@record
class Read:
    """Wait for bytes. Answer with them, at most ``max_bytes``; with ``b""`` when the peer has ended or reset."""

    max_bytes: int = 65_536


@record
class Hangup:
    """Close the connection, if there is one. Answer ``b""``."""


Want: TypeAlias = Dial | Write | Read | Hangup

Exchange: TypeAlias = Generator[Want, bytes, _T]
"""A conversation: it yields wants, is sent their answers, and returns what it was held for."""
