"""An event loop, and who uses it in which way."""

from __future__ import annotations

import threading
from typing import Final

from lambda_wire.bootstrap.event_loop import EventLoop
from lambda_wire.bootstrap.slot_loop import SlotLoop

SLOT: Final[dict[str, bool]] = {}
ALONE: Final = {"alone": True}
LIMITED: Final = {"alone": True, "limited": True}


class Made:
    """A loop, who uses it, and what has ended it."""

    def __init__(self, kind: dict[str, bool]) -> None:
        self.ended_by: list[BaseException] = []
        self.told = threading.Event()
        self.loop = EventLoop(self._take)
        self.kind = kind

    def slot(self) -> SlotLoop:
        """One who uses it."""
        return SlotLoop(self.loop, **self.kind)

    def _take(self, fault: BaseException) -> None:
        self.ended_by.append(fault)
        self.told.set()
