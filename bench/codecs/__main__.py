"""Does one codec's work: the job's ``work`` and ``size``; its ``loop`` names the column."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from bench.clients.job import Step, given, run

_ROOMS: Final = {
    "receive": "receiving",
    "open-stream": "opening",
    "prelude": "prelude",
    "trailers": "trailers",
    "events": "event_stream",
}


def steps_of(work: str) -> dict[str, Callable[[int], Step]]:
    """Return the columns of a work."""
    room = next(room for prefix, room in _ROOMS.items() if work.startswith(prefix))
    found: dict[str, Callable[[int], Step]] = importlib.import_module(f"bench.codecs.{room}").STEPS[work]
    return found


if __name__ == "__main__":
    told = given()
    step = steps_of(told.work)[told.loop](told.size)
    run(told, lambda _: step)
