"""What a client is asked to do, and how it measures itself while it does it."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.clients import counting

__all__ = [
    "AsyncStep",
    "Cost",
    "Job",
    "Step",
    "given",
    "peak_rss",
    "run",
    "run_async",
    "run_prepared",
    "say",
    "warm_steps",
]

Step = Callable[[], object]
AsyncStep = Callable[[], Awaitable[object]]
Cost = dict[str, float]

#: Invocations before the measured ones: the connection is made, caches and specialised bytecode are warm.
_WARM: Final = 20
#: How many steps are taken between two looks at the clock, at most.
_MOST_BETWEEN_LOOKS: Final = 64
#: From how many bytes on a step is large, and how many chunks make a short stream.
_LARGE: Final = 100_000
_SHORT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do, over and over.

    Attributes:
        address: ``host:port`` of the Runtime API.
        work: ``echo`` answers an event with itself; ``stream`` answers with ``chunks`` writes, each sent at once;
            ``together`` with as many that are ready together; ``joined`` likewise, where the floor sends them at once;
            ``first`` with one chunk that is ready with the head. What whole runtimes do: see ``bench.columns``.
        size: Bytes of the event (``echo``), or of each chunk.
        chunks: Chunks of a stream.
        json: Whether the event is parsed and the answer dumped.
        busy: For how many seconds the handler computes before it answers.
        seconds: How long to go on; 0 does ``least`` steps and no more.
        least: Least number of steps.
        measure: ``time``; ``calls``, what the sockets are asked for; ``traced``, the peak of what one step allocates
            in Python; ``resident``, how much one step adds to the most memory that the process ever had.
        loop: Which event loop, for clients that have several.
    """

    address: str = ""
    work: str = "echo"
    size: int = 0
    chunks: int = 0
    json: bool = False
    busy: float = 0.0
    seconds: float = 0.1
    least: int = 1
    measure: str = "time"
    loop: str = ""

    @property
    def host(self) -> tuple[str, int]:
        """The address as sockets want it."""
        name, _, port = self.address.rpartition(":")
        return name, int(port)

    @property
    def chunk(self) -> bytes:
        """What every chunk holds."""
        return b"x" * self.size

    def turn(self, event: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """Return the answer to an event: itself, or what is left of it after JSON both ways."""
        if self.busy:
            until = time.perf_counter() + self.busy
            while time.perf_counter() < until:
                pass
        if not self.json:
            return event
        value = json.loads(event if not isinstance(event, memoryview) else bytes(event))
        return json.dumps(value, separators=(",", ":")).encode()


def given() -> Job:
    """Return the job that this process was given."""
    job = Job(**json.loads(sys.argv[-1]))
    if job.measure == "calls":
        counting.install()
    return job


def say(cost: Cost) -> None:
    """Tell the bench what the job cost."""
    sys.stdout.write(json.dumps(cost) + "\n")


def peak_rss() -> float:
    """Return the most memory that this process ever had, in bytes. Source: ``VmHWM`` of proc(5), else getrusage."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else most * 1024)


def run(job: Job, make: Callable[[Job], Step]) -> None:
    """Take steps, and tell the bench what they cost.

    Args:
        job: What to measure.
        make: Makes the step that does a job, on a connection that all its steps share.
    """
    warm, step = make(_small(job)), make(job)
    for _ in range(warm_steps(job)):
        warm()
    if job.measure != "time":
        before = _begin(job)
        for _ in range(job.least):
            step()
        say(_end(job, before))
        return
    ops, batch = 0, 1 if job.seconds else job.least
    cpu, start = time.process_time(), time.perf_counter()
    while True:
        for _ in range(batch):
            step()
        ops += batch
        wall = time.perf_counter() - start
        if wall >= job.seconds and ops >= job.least:
            break
        batch = min(2 * batch, _MOST_BETWEEN_LOOKS)
    say({"ops": ops, "wall": wall, "cpu": time.process_time() - cpu})


async def run_async(job: Job, make: Callable[[Job], AsyncStep]) -> None:
    """Do the same with steps that are awaited."""
    warm, step = make(_small(job)), make(job)
    for _ in range(warm_steps(job)):
        await warm()
    if job.measure != "time":
        before = _begin(job)
        for _ in range(job.least):
            await step()
        say(_end(job, before))
        return
    ops, batch = 0, 1 if job.seconds else job.least
    cpu, start = time.process_time(), time.perf_counter()
    while True:
        for _ in range(batch):
            await step()
        ops += batch
        wall = time.perf_counter() - start
        if wall >= job.seconds and ops >= job.least:
            break
        batch = min(2 * batch, _MOST_BETWEEN_LOOKS)
    say({"ops": ops, "wall": wall, "cpu": time.process_time() - cpu})


def run_prepared(job: Job, prepare: Callable[[], Step]) -> None:
    """Do the same with steps that can be taken once: the clock stands while ``prepare`` makes the next one."""
    for _ in range(_WARM):
        prepare()()
    ops, wall, cpu = 0, 0.0, 0.0
    end = time.perf_counter() + job.seconds
    while ops < job.least or time.perf_counter() < end:
        step = prepare()
        spent, start = time.process_time(), time.perf_counter()
        step()
        wall += time.perf_counter() - start
        cpu += time.process_time() - spent
        ops += 1
    say({"ops": ops, "wall": wall, "cpu": cpu})


def warm_steps(job: Job) -> int:
    """Return how many steps come before the measured ones: large ones need no warming beyond the first."""
    return _WARM if job.size * max(1, job.chunks) < _LARGE else 2


def _small(job: Job) -> Job:
    """What warms for this job: where memory is at stake, a short stream instead of a long one."""
    return job if job.measure == "time" else replace(job, chunks=min(job.chunks, _SHORT))


def _begin(job: Job) -> float:
    if job.measure == "calls":
        counting.counts.update(calls=0.0, sends=0.0)
        return 0.0
    if job.measure == "resident":
        return peak_rss()
    tracemalloc.start()
    return float(tracemalloc.get_traced_memory()[0])


def _end(job: Job, before: float) -> Cost:
    if job.measure == "calls":
        return {name: count / job.least for name, count in counting.counts.items()}
    if job.measure == "resident":
        return {"peak": peak_rss(), "growth": peak_rss() - before}
    return {"peak": tracemalloc.get_traced_memory()[1] - before}
