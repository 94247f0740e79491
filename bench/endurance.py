"""Whether anything grows: a million invocations and 50 GB streamed, through one runtime of one driver.

``python -m bench.endurance sync`` (or ``asyncio``) prints what the process holds at a hundred moments of each part, and
exits with 1 when it held more at the end than at the beginning. ``--invocations`` and ``--gigabytes`` make it shorter.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.clients import ours, ours_async
from bench.clients.job import Job
from bench.tools import Tools
from lambda_wire import asyncio as on_asyncio
from lambda_wire import sync

_LOOKS: Final = 100
_EVENT_BYTES: Final = 100
_CHUNK_BYTES: Final = 65_536
#: AWS's limit for a streamed response. Source: AWS docs "Lambda quotas".
_LONGEST_STREAM: Final = 200 * 1024 * 1024
#: What the end may hold beyond the beginning: the interpreter's own caches fill late.
_SLACK_BYTES: Final = 512 * 1024
_SLACK_OBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at one moment: bytes of memory, open file descriptors, objects of Python."""

    resident: int
    descriptors: int
    objects: int

    @staticmethod
    def now() -> Held:
        """Look, when what nobody holds is gone. Source of the first: proc(5), ``statm``."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return Held(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), len(gc.get_objects()))


class Watch:
    """What was held while one part went on.

    Args:
        part: What is done, in words.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self._looks: list[Held] = []
        self._begun = time.perf_counter()

    def look(self) -> None:
        """Look once."""
        self._looks.append(Held.now())

    def grew(self) -> bool:
        """Tell what was held; return whether it was more in the last quarter than in the first; its start left out."""
        seconds = time.perf_counter() - self._begun
        quarter = len(self._looks) // 4
        first, last = self._looks[1 : quarter + 1], self._looks[-quarter:]
        more = False
        sys.stdout.write(f"{self._part}, {seconds:.0f} s\n")
        for name, slack in (("resident", _SLACK_BYTES), ("descriptors", 0), ("objects", _SLACK_OBJECTS)):
            held = [getattr(look, name) for look in self._looks]
            before, after = (statistics.median(getattr(look, name) for look in looks) for looks in (first, last))
            grew = after > before + slack
            more = more or grew
            sys.stdout.write(
                f"  {name:12} first quarter {before:,.0f}, last {after:,.0f}, least {min(held):,}, most {max(held):,}"
                f"{'  GROWS' if grew else ''}\n"
            )
        sys.stdout.flush()
        return more


def _parts(options: argparse.Namespace, address: str) -> Iterator[tuple[Job, int, Watch]]:
    """Yield each part: its job, how often it is done between two looks, who watches."""
    echo = Job(address=address, work="echo", size=_EVENT_BYTES)
    yield echo, math.ceil(options.invocations / _LOOKS), Watch(f"{options.invocations:,} invocations")
    streamed = options.gigabytes * 1e9 / _LOOKS
    streams = math.ceil(streamed / _LONGEST_STREAM)
    stream = Job(address=address, work="stream", size=_CHUNK_BYTES, chunks=math.ceil(streamed / streams / _CHUNK_BYTES))
    yield stream, streams, Watch(f"{options.gigabytes:g} GB streamed")


def _sync(options: argparse.Namespace, address: str) -> bool:
    grew = False
    with sync.connect(address) as runtime:
        for job, times, watch in _parts(options, address):
            step = ours.step_of(runtime, job)
            for _ in range(_LOOKS):
                for _ in range(times):
                    step()
                watch.look()
            grew |= watch.grew()
    return grew


async def _asyncio(options: argparse.Namespace, address: str) -> bool:
    grew = False
    async with on_asyncio.connect(address) as runtime:
        for job, times, watch in _parts(options, address):
            step = ours_async.step_of(runtime, job)
            for _ in range(_LOOKS):
                for _ in range(times):
                    await step()
                watch.look()
            grew |= watch.grew()
    return grew


def main(arguments: Sequence[str]) -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("driver", choices=["sync", "asyncio"])
    parser.add_argument("--invocations", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--gigabytes", type=float, default=50.0, metavar="N")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as room, Tools(Path(room)).serving(_EVENT_BYTES, "counted") as address:
        grew = _sync(options, address) if options.driver == "sync" else asyncio.run(_asyncio(options, address))
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
