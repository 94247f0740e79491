"""Does one codec's work: the job's ``work`` and ``size``; its ``loop`` names the column."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from bench.clients.job import Step, given, run, run_prepared

_ROOMS: Final = {
    "receive": "receiving",
    "open-stream": "opening",
    "frame": "opening",
    "whole-stream": "opening",
    "prelude": "prelude",
    "trailers": "trailers",
    "events": "event_stream",
}


def main() -> None:
    """Do the job."""
    told = given()
    room = importlib.import_module(
        f"bench.codecs.{next(room for prefix, room in _ROOMS.items() if told.work.startswith(prefix))}"
    )
    if told.work in getattr(room, "PREPARED", {}):
        prepare: Callable[[], Step] = room.PREPARED[told.work][told.loop]
        run_prepared(told, prepare)
        return
    step: Step = room.STEPS[told.work][told.loop](told.size)
    run(told, lambda _: step)


if __name__ == "__main__":
    main()
