"""Handlers of whole runtimes: ``lambda-wire run`` and ``python -m awslambdaric``.

The runtime asks and answers by itself, so the handler measures: from one call to a later one, as the client in Go does.
The job is in the environment. Calls may come from several threads at once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from bench.clients.job import Job, warm_steps

__all__ = ["JOB", "generate", "generate_async", "handle", "handle_async", "respond_http"]

#: The environment variable that holds the job.
JOB: Final = "BENCH_JOB"


class _Watch:
    """Counts calls, and ends the process when the job is done."""

    def __init__(self) -> None:
        self.job = Job(**json.loads(os.environ.get(JOB, "{}")))
        self.warm = warm_steps(self.job)
        self.calls = 0
        self.start = self.cpu = 0.0
        self.lock = threading.Lock()

    def call(self) -> None:
        """Say that an invocation begins."""
        with self.lock:
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
_CHUNK: Final = _WATCH.job.chunk


def handle(event: object, context: object) -> object:  # noqa: ARG001  # the signature is Lambda's
    """Give the event back."""
    _WATCH.call()
    return event


async def handle_async(event: object, context: object) -> object:
    """Give the event back, in the event loop."""
    return handle(event, context)


def generate(event: object, context: object) -> Iterator[bytes]:
    """Yield every chunk of the job."""
    handle(event, context)
    for _ in range(_WATCH.job.chunks):
        yield _CHUNK


async def generate_async(event: object, context: object) -> AsyncIterator[bytes]:
    """Yield every chunk of the job, in the event loop."""
    handle(event, context)
    for _ in range(_WATCH.job.chunks):
        yield _CHUNK


def respond_http(event: object, context: object) -> object:
    """Return an HTTP response whose one chunk is ready at once."""
    from lambda_wire import HttpResponse  # no other runtime has it

    handle(event, context)
    return HttpResponse(status_code=200, headers={"content-type": "text/plain"}, body=[_CHUNK])
