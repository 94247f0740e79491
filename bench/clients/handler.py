"""A handler that gives its event back, for whole runtimes: ``lambda-wire run`` and ``python -m awslambdaric``.

The runtime asks and answers by itself, so the handler measures: from one call to a later one, as the client in Go does.
The job is in the environment.
"""

from __future__ import annotations

import json
import os
import time
from typing import Final

from bench.clients.job import Job

__all__ = ["JOB", "handle"]

#: The environment variable that holds the job.
JOB: Final = "BENCH_JOB"
_WARM: Final = 20


class _Watch:
    """Counts calls, and ends the process when the job is done."""

    def __init__(self) -> None:
        self.job = Job(**json.loads(os.environ.get(JOB, "{}")))
        self.warm = _WARM if self.job.size < 100_000 else 2
        self.calls = 0
        self.start = self.cpu = 0.0

    def call(self) -> None:
        """Say that an invocation begins."""
        self.calls += 1
        now = time.perf_counter()
        if self.calls == self.warm + 1:
            self.start, self.cpu = now, time.process_time()
            return
        ops = self.calls - self.warm - 1
        if ops >= self.job.least and now - self.start >= self.job.seconds:
            cost = {"ops": ops, "wall": now - self.start, "cpu": time.process_time() - self.cpu}
            os.write(1, json.dumps(cost).encode() + b"\n")
            os._exit(0)  # from inside an invocation: there is no other way out of a runtime


_WATCH: Final = _Watch()


def handle(event: object, context: object) -> object:  # noqa: ARG001  # the signature is Lambda's
    """Give the event back."""
    _WATCH.call()
    return event
