"""One invocation at a time: what ends that, and what is left then."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from lambda_wire import BufferedResponse, ConnectionLost, ErrorReported, Invocation
from lambda_wire.bootstrap.alone import serve_alone
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.loading import Handler
from lambda_wire.bootstrap.stopping import Stop
from tests.bootstrap_parts import RecordingRuntime, invocation
from tests.running_local import PATIENCE_S
from tests.slot_parts import our_threads


class Open(RecordingRuntime):
    """A runtime whose poll stays open when its invocations are used up, until it is told to poll no more."""

    def __init__(self, *invocations: Invocation) -> None:
        super().__init__(*invocations)
        self.polling = threading.Event()
        self.stopped = threading.Event()

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        if not self.waiting:
            self.polling.set()
            assert self.stopped.wait(PATIENCE_S)
        return super().next_invocation(timeout=timeout)

    def stop_polling(self) -> None:
        self.stopped.set()


def serve(handler: Handler, runtime: Open, *come: Invocation, stop: Stop | None = None) -> None:
    serve_alone(Invoker(handler, alone=True), runtime, list(come), stop or Stop())


def test_what_came_with_the_first_poll_is_answered_first() -> None:
    """Then what is polled for, until the service goes away; no thread is left."""
    runtime = Open(invocation(2))
    runtime.stopped.set()
    with pytest.raises(ConnectionLost, match="gone"):
        serve(lambda event, context: event, runtime, invocation(1))
    assert [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] == [b"1", b"2"]
    assert our_threads() == []


def test_who_was_asked_to_stop_hears_out_the_poll_that_is_open() -> None:
    """And no other."""
    runtime, stop = Open(invocation(1), invocation(2)), Stop()
    stop.asked = True
    serve(lambda event, context: event, runtime, stop=stop)
    assert [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] == [b"1"]


def test_a_task_that_ends_the_process_while_it_polls_ends_the_poll() -> None:
    """It is raised here, as if the handler had."""
    runtime = Open(invocation(1))

    async def leave() -> None:
        assert await asyncio.to_thread(runtime.polling.wait, PATIENCE_S)
        asyncio.get_running_loop().call_soon(sys.exit, 3)

    async def handler(event: object, context: object) -> object:
        tasks.append(asyncio.create_task(leave()))
        return event

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(SystemExit) as caught:
        serve(handler, runtime)
    assert caught.value.code == 3
    assert runtime.kinds == ["BufferedResponse"]


def test_a_task_that_ends_the_process_while_a_handler_runs_cancels_that() -> None:
    """Its invocation is reported, and what the task raised is raised here."""
    runtime = Open(invocation(1))

    async def handler(event: object, context: object) -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.Event().wait()

    with pytest.raises(SystemExit) as caught:
        serve(handler, runtime)
    assert caught.value.code == 3
    (said,) = runtime.said
    assert isinstance(said, ErrorReported)
    assert said.error_type == "Runtime.ExitError"
