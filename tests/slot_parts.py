"""Slots in threads of this process, and ``lambda-wire run`` in a process of its own, for a service that the test is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from lambda_wire import Accepted, BufferedResponse, ErrorReported, Invocation, NextAsked
from lambda_wire.bootstrap import Handler
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.slots import Slots
from lambda_wire.sync import Runtime, connect
from tests.bootstrap_parts import environment, invocation
from tests.driver_services import Service, accept
from tests.local_bench import Bench
from tests.running_local import PATIENCE_S

#: asyncio's debug mode says so of a round of its loop that took long, as on a busy machine.
_SLOW: Final = "Executing <"


class Enough(BaseException):
    """The test has seen what it wanted to see."""


class ServedSlots:
    """Slots that serve in a thread.

    Attributes:
        slots: They.
        ended: What ends them.
    """

    def __init__(self, handler: Handler, runtimes: Sequence[Runtime], margin_ms: int | None) -> None:
        self.slots = Slots(Invoker(handler, alone=False, margin_ms=margin_ms), runtimes)
        self.ended: Future[BaseException] = Future()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            self.slots.serve()
        except BaseException as fault:  # noqa: BLE001  # seen by the test
            self.ended.set_result(fault)

    def end(self) -> BaseException:
        """End them, unless something has; return what did."""
        self.slots.end(Enough())
        return self.ended.result(PATIENCE_S)


def our_threads() -> list[str]:
    """Return the names of the threads that serve here."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lambda-wire")]


@contextmanager
def slots_of(handler: Handler, *runtimes: Runtime, margin_ms: int | None = None) -> Generator[ServedSlots, None, None]:
    """Serve with these runtimes; afterwards no thread may be left."""
    before = our_threads()
    served = ServedSlots(handler, runtimes, margin_ms)
    served.thread.start()
    try:
        yield served
    finally:
        served.end()
        served.thread.join(PATIENCE_S)
        for runtime in runtimes:
            runtime.close()
    assert our_threads() == before


@contextmanager
def slots_at(
    address: str, count: int, handler: Handler, *, margin_ms: int | None = None
) -> Generator[ServedSlots, None, None]:
    """Serve the Runtime API at ``address`` in so many slots."""
    with slots_of(handler, *(connect(address) for _ in range(count)), margin_ms=margin_ms) as served:
        yield served


@contextmanager
def bench_of(count: int) -> Generator[Bench, None, None]:
    """An embedded Lambda that runs so many invocations at once; its caller and its runtime are the test's."""
    bench = Bench(concurrency=count)
    try:
        yield bench
    finally:
        bench.close()


@contextmanager
def service_of() -> Generator[tuple[str, socket.socket], None, None]:
    """A Runtime API whose every word the test says: its address, and where runtimes dial."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def polls_of(listener: socket.socket, count: int, stack: ExitStack) -> list[Service]:
    """Take so many connections, each with a poll on it."""
    held = [accept(listener) for _ in range(count)]
    for one in held:
        stack.enter_context(one.wire)
        assert one.hear() == NextAsked()
    return held


def told(held: Service, event: object, **fields: Any) -> Invocation:
    """Answer a poll with that event."""
    said = invocation(event, **fields)
    held.say(said)
    return said


def answer_of(held: Service) -> bytes:
    """Take the response, or the report of an error, to the invocation that was told."""
    answer = held.hear()
    assert isinstance(answer, (BufferedResponse, ErrorReported)), answer
    held.say(Accepted())
    return answer.payload


def _without_slow(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if _SLOW not in line)


class Child:
    """``lambda-wire run`` in a process of its own.

    Attributes:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self.process.stdout is not None
        while _SLOW in (line := self.process.stdout.readline()):
            pass
        return line

    def send(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit code, and what else it wrote to stdout and to stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, _without_slow(out), _without_slow(err)


@contextmanager
def running_child(
    address: str, source: str, directory: Path, *options: str, handler: str = "app.handler"
) -> Generator[Child, None, None]:
    """Run ``lambda-wire run`` for a handler with that source, with warnings as errors, as a group of its own."""
    (directory / "app.py").write_text(source, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-bb", "-m", "lambda_wire", "run", *options, handler],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(AWS_LAMBDA_RUNTIME_API=address, PYTHONWARNINGS="error", PYTHONDEVMODE="1"),
        cwd=directory,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
