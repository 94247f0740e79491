"""What ``next_event()`` answers when it has no event."""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

__all__ = ["NEED_DATA", "PAUSED", "Role", "Signal"]


class Signal(Enum):
    """The two answers that are not events. Compare with ``is``: the type narrows."""

    NEED_DATA = "NEED_DATA"
    """Nothing more can be said before ``receive_data`` is given more bytes."""

    PAUSED = "PAUSED"
    """Nothing more is read before this exchange is finished: say what is still to be said."""


class Role(Enum):
    """Which end of one HTTP/1.1 connection we are."""

    CLIENT = "CLIENT"
    """We send requests and read responses (a runtime, a caller)."""

    SERVER = "SERVER"
    """We read requests and send responses (the service)."""


NEED_DATA: Final[Literal[Signal.NEED_DATA]] = Signal.NEED_DATA
PAUSED: Final[Literal[Signal.PAUSED]] = Signal.PAUSED
