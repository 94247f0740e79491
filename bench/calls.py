"""How many system calls one invocation takes, counted by strace: exact, whatever else the machine does.

A client is run for so many invocations, and for twice as many; the difference belongs to the invocations alone.
Without strace the calls on the sockets of Python clients are counted (``bench.clients.counting``). ``sends`` are those
calls that hand bytes to the kernel: about one packet each, since every client sets ``TCP_NODELAY``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import columns
from bench.clients.job import Job
from bench.results import Absent
from bench.tools import Tools, cost_of

__all__ = ["calls_of"]

_SMALL: Final = 200
_LARGE: Final = 40
_SENDS: Final = frozenset(("sendto", "sendmsg", "sendmmsg", "write", "writev", "pwritev2"))


def calls_of(job: Job, column: str, tools: Tools) -> dict[str, float]:
    """Return calls and sends of one invocation.

    Raises:
        Absent: The client is not on this machine, or there is no strace for one that is not Python.
    """
    least = _SMALL if job.size < 100_000 and not job.busy else _LARGE
    strace = shutil.which("strace")
    if strace is None:
        if column in columns.NOT_PYTHON:
            raise Absent("there is no strace on this machine, and only a Python client can be counted without it")
        return cost_of(columns.command(column, replace(job, measure="calls", least=least), tools))
    short, long = (_counted(strace, replace(job, seconds=0.0, least=n), column, tools) for n in (least, 2 * least))
    return {name: (long[name] - short[name]) / least for name in short}


def _counted(strace: str, job: Job, column: str, tools: Tools) -> dict[str, float]:
    with tempfile.NamedTemporaryFile() as kept:
        summary = [strace, "-f", "-qq", "-c", "-U", "calls,name", "-o", kept.name]
        cost_of([*summary, *columns.command(column, job, tools)])
        counts = re.findall(r"^\s*(\d+)\s+(\w+)$", Path(kept.name).read_text(encoding="utf-8"), re.MULTILINE)
    by_name = {name: int(count) for count, name in counts if name != "total"}
    return {
        "calls": float(sum(by_name.values())),
        "sends": float(sum(count for name, count in by_name.items() if name in _SENDS)),
    }
