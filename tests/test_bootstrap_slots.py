"""Many invocations at once in one process: none disturbs another, and the end is orderly."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    ConnectionLost,
    ErrorReported,
    Invocation,
    NextAsked,
    Refused,
    RemoteProtocolError,
    RequestRefused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    StreamingResponse,
)
from lambda_wire._lifecycle import ManagedLifecycle
from lambda_wire._types import BytesLike
from lambda_wire.bootstrap import serve, serve_handler
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.failures import Unanswerable
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.logs import current_request_id
from lambda_wire.bootstrap.slots import Slots
from lambda_wire.bootstrap.stopping import Stopped
from tests.bootstrap_parts import RecordingRuntime, Said, ScriptedService, invocation
from tests.driver_services import accept
from tests.driver_services import service as script_service
from tests.running_local import PATIENCE_S, running_local
from tests.slot_parts import (
    Enough,
    answer_of,
    bench_of,
    our_threads,
    polls_of,
    running_child,
    service_of,
    slots_at,
    slots_of,
    told,
)
from tests.test_local_concurrency import meeting_of

MIXED = """
import asyncio, logging, socket, sys, time
from lambda_wire import HttpResponse, StreamingResponse
logging.getLogger().setLevel("INFO")

def say(event, context):
    logging.info("question %d", event["question"])
    return b"<%d %s>" % (event["question"], context.aws_request_id.encode())

def plain(event, context):
    time.sleep(event["nap"])
    if event.get("meet"):
        with socket.create_connection(("127.0.0.1", event["meet"])) as meeting:
            meeting.recv(1)
    return say(event, context)

async def awaited(event, context):
    await asyncio.sleep(event["nap"])
    if event.get("meet"):
        reader, writer = await asyncio.open_connection("127.0.0.1", event["meet"])
        await reader.read(1)
        writer.close()
        await writer.wait_closed()
    return say(event, context)

def generated(event, context):
    yield b"<"
    time.sleep(event["nap"])
    yield say(event, context)[1:]

async def async_generated(event, context):
    yield b"<"
    await asyncio.sleep(event["nap"])
    yield say(event, context)[1:]

async def streamed(event, context):
    await asyncio.sleep(event["nap"])
    return StreamingResponse(generated(event, context))

def written(event, context):
    with context.response_writer() as response:
        response.write("<")
        time.sleep(event["nap"])
        response.write(say(event, context)[1:])

async def async_written(event, context):
    async with context.response_writer() as response:
        await response.write("<")
        await asyncio.sleep(event["nap"])
        await response.write(say(event, context)[1:])

def handler(event, context):
    return globals()[event["kind"]](event, context)
"""
KINDS = ("plain", "awaited", "generated", "async_generated", "streamed", "written", "async_written")
DEV = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}


def test_every_answer_carries_its_question(tmp_path: Path) -> None:
    """Whatever kind of handler answers, four at once; and each line of the log has the id of its own invocation."""
    (tmp_path / "app.py").write_text(MIXED, encoding="ascii")
    dice = random.Random(7)
    asked = [(dice.choice(KINDS), dice.choice((0, 0.001, 0.005))) for _ in range(150)]
    with (
        running_local("app.handler", cwd=tmp_path, options=["--concurrency", "4"], env=DEV) as local,
        concurrent.futures.ThreadPoolExecutor(12) as callers,
        meeting_of(4) as (port, gather, part),
    ):

        def ask(number: int, kind: str, nap: float, meet: int = 0) -> bytes:
            payload = json.dumps({"question": number, "kind": kind, "nap": nap, "meet": meet}).encode()
            status, headers, body = local.invoke(payload, {"X-Amzn-RequestId": f"r{number}"})
            assert (status, headers["x-amz-function-error"]) == (200, None), body
            return body

        meeting = [callers.submit(ask, 150 + place, ("plain", "awaited")[place % 2], 0, port) for place in range(4)]
        gather()
        part()
        answers = [callers.submit(ask, number, kind, nap) for number, (kind, nap) in enumerate(asked)]
        for number, answer in enumerate(answers + meeting):
            assert answer.result(PATIENCE_S) == b"<%d r%d>" % (number, number)
    logged = re.findall(r"\[INFO\]\t[-T:.\dZ]+\tr(\d+)\tquestion (\d+)\n", local.output)
    assert sorted(map(int, dict(logged))) == list(range(154))
    assert all(name == question for name, question in logged)
    for word in ("START", "END", "REPORT"):
        assert sum(line.startswith(f"{word} RequestId: r") for line in local.output.splitlines()) == 154


@pytest.mark.parametrize("count", [1, 4])
def test_each_slot_polls_on_a_connection_of_its_own(count: int) -> None:
    """All at once, before anything was answered, and each again after its answer (RT-MANAGED-2)."""
    echo = lambda event, context: event  # noqa: E731
    with service_of() as (address, listener), ExitStack() as stack, slots_at(address, count, echo):
        held = polls_of(listener, count, stack)
        for number, one in enumerate(reversed(held)):
            told(one, number)
            assert answer_of(one) == str(number).encode()
            assert one.hear() == NextAsked()


class Hanging:
    """Handlers that wait until the test lets them go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def plain(self, event: object, context: object) -> object:
        if event == "hang":
            self.begun.release()
            assert self.go.wait(PATIENCE_S)
        return event

    async def awaited(self, event: object, context: object) -> object:
        if event == "hang":
            self.begun.release()
            assert await asyncio.to_thread(self.go.wait, PATIENCE_S)
        return event

    def either(self, event: object, context: object) -> object:
        return self.awaited("hang", context) if event == "hang" else self.plain(event, context)


@pytest.mark.parametrize("kind", ["plain", "awaited", "either"])
def test_a_handler_that_waits_holds_up_no_other(kind: str) -> None:
    """The slots that are left serve on, however many invocations come."""
    hanging = Hanging()
    with bench_of(3) as bench, ExitStack() as stack:
        waiting = [bench.call('"hang"', request_id=f"hang{number}") for number in range(2)]
        stack.enter_context(slots_at(bench.address(), 3, getattr(hanging, kind)))
        for _ in waiting:
            assert hanging.begun.acquire(timeout=PATIENCE_S)
        for number in range(10):
            assert bench.call(str(number), request_id=f"r{number}").result(PATIENCE_S)[1] == str(number).encode()
        assert not any(called.done() for called in waiting)
        hanging.go.set()
        assert [called.result(PATIENCE_S)[1] for called in waiting] == [b'"hang"'] * 2


class Endless(RecordingRuntime):
    """A runtime whose polls stay open when its invocations are used up, until it is told to poll no more."""

    def __init__(self, *invocations: Invocation, **faults: Any) -> None:
        super().__init__(*invocations, **faults)
        self.idle = threading.Event()
        self.stopped = threading.Event()

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        if not self.waiting:
            self.idle.set()
            assert self.stopped.wait(PATIENCE_S)
        return super().next_invocation(timeout=timeout)

    def stop_polling(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        """There is nothing to close."""


class Slow(Endless):
    """A service that takes nothing until the test lets it."""

    def __init__(self, *invocations: Invocation) -> None:
        super().__init__(*invocations)
        self.reached = threading.Event()
        self.go = threading.Event()

    def part(self, *said: Said | BytesLike) -> None:
        self.reached.set()
        assert self.go.wait(PATIENCE_S)
        super().part(*said)


async def streaming(event: object, context: LambdaContext) -> object:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    return StreamingResponse(pieces()) if event == "slow" else event


async def writing(event: object, context: LambdaContext) -> object:
    if event != "slow":
        return event
    async with context.response_writer() as response:
        await response.write("a")
    return None


async def handing_over(event: object, context: LambdaContext) -> object:
    def pieces() -> Iterator[bytes]:
        yield b"a"

    return pieces() if event == "slow" else event


@pytest.mark.parametrize("handler", [streaming, writing, handing_over])
def test_a_slow_reader_holds_up_no_other_async_handler(handler: Callable[..., Any]) -> None:
    """Although all async handlers share one loop: what blocks is the thread of the slot, not the loop."""
    slow, fast = Slow(invocation("slow")), Endless(*(invocation(number) for number in range(5)))
    with slots_of(handler, slow, fast):
        assert slow.reached.wait(PATIENCE_S)
        assert fast.idle.wait(PATIENCE_S)
        assert fast.kinds == ["BufferedResponse"] * 5
        assert slow.said == []
        slow.go.set()
        assert slow.idle.wait(PATIENCE_S)
    assert slow.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFinished"]


def test_a_slow_reader_of_a_real_connection_holds_up_no_other() -> None:
    """Nobody reads the stream, so that every buffer fills; meanwhile the other slot serves on."""
    closed = threading.Event()

    async def handler(event: object, context: object) -> object:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                for _ in range(1_000):
                    yield b"x" * 1_000_000
            finally:
                closed.set()

        return StreamingResponse(pieces()) if event == "slow" else event

    with service_of() as (address, listener), ExitStack() as stack, slots_at(address, 2, handler):
        slow, fast = polls_of(listener, 2, stack)
        told(slow, "slow")
        assert isinstance(slow.hear(), ResponseStarted)
        for number in range(20):
            told(fast, number)
            assert answer_of(fast) == str(number).encode()
            assert fast.hear() == NextAsked()
        slow.wire.close()
        assert closed.wait(PATIENCE_S)
        slow = polls_of(listener, 1, stack)[0]


# -- handlers that end the process

EXITS = """
import asyncio, sys, threading
waiting, left = threading.Event(), threading.Event()

def plain(): sys.exit(3)
async def awaited(): sys.exit(3)
async def background():
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.Event().wait()

def handler(event, context):
    if event == "wait":
        waiting.set()
        left.wait(0.05)
        return "waited"
    waiting.wait()
    return globals()[event]()
"""


@pytest.mark.parametrize("kind", ["plain", "awaited", "background"])
def test_sys_exit_ends_the_process_with_its_code_after_its_report(kind: str, tmp_path: Path) -> None:
    """Wherever it is called; what runs beside it still has its grace time, and is answered."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, EXITS, tmp_path, "--concurrency", "3"))
        exits, waits, _ = polls_of(listener, 3, stack)
        told(exits, kind)
        told(waits, "wait")
        assert json.loads(answer_of(exits))["errorType"] == "Runtime.ExitError"
        assert answer_of(waits) == b'"waited"'
        code, out, err = child.end()
    assert (code, out) == (3, "")
    assert "still runs" not in err
    assert err.count("[ERROR]") == 1


def test_sys_exit_beside_async_handlers_that_go_on() -> None:
    """The loop that they share is not ended by it: they have their grace time, too."""
    reached = threading.Event()

    async def handler(event: object, context: object) -> object:
        if event == "exit":
            await asyncio.to_thread(reached.wait)
            sys.exit(3)
        reached.set()
        await asyncio.sleep(0.05)
        return event

    exits, waits = Endless(invocation("exit")), Endless(invocation("wait"))
    with slots_of(handler, exits, waits) as served:
        fault = served.ended.result(PATIENCE_S)
        assert isinstance(fault, SystemExit)
        assert fault.code == 3
    assert exits.error["errorType"] == "Runtime.ExitError"
    assert waits.kinds == ["BufferedResponse"]


def test_the_first_that_ends_the_process_decides() -> None:
    """Its code, not that of one that ends it meanwhile."""
    both = threading.Barrier(2)

    def handler(event: int, context: object) -> None:
        both.wait(PATIENCE_S)
        sys.exit(event)

    runtimes = [Endless(invocation(code)) for code in (3, 4)]
    with slots_of(handler, *runtimes) as served:
        first = served.ended.result(PATIENCE_S)
        assert isinstance(first, SystemExit)
        assert first.code in (3, 4)
        assert served.end() is first
    assert [runtime.kinds for runtime in runtimes] == [["ErrorReported"]] * 2


# -- answers that are refused, polls that fail


def test_an_answer_that_came_too_late_is_logged_and_survived(capsys: pytest.CaptureFixture[str]) -> None:
    """The emulator says 410 after the deadline; the slot polls again (RT-MANAGED-8)."""
    echo = lambda event, context: event  # noqa: E731
    with service_of() as (address, listener), ExitStack() as stack, slots_at(address, 2, echo):
        held, _ = polls_of(listener, 2, stack)
        told(held, 1)
        assert isinstance(held.hear(), BufferedResponse)
        held.say(Refused(status=410, error_type="InvokeTimeout", error_message="late"))
        assert held.hear() == NextAsked()
    assert capsys.readouterr().err == ("lambda-wire: the answer to id-1 was refused with 410 InvokeTimeout: late\n")


@pytest.mark.parametrize("cut", [True, False])
def test_a_slot_whose_poll_fails_tries_again_while_others_go_on(cut: bool) -> None:
    """Cut, or refused with 500, three times; the next try serves. Nobody else has noticed."""
    echo = lambda event, context: event  # noqa: E731
    with service_of() as (address, listener), ExitStack() as stack, slots_at(address, 2, echo):
        bad, good = polls_of(listener, 2, stack)
        for number in range(3):
            if cut:
                bad.wire.close()
                (bad,) = polls_of(listener, 1, stack)
            else:
                bad.say(Refused(status=500))
                assert bad.hear() == NextAsked()
            told(good, number)
            assert answer_of(good) == str(number).encode()
            assert good.hear() == NextAsked()
        told(bad, "at last")
        assert answer_of(bad) == b'"at last"'


class Failing(Endless):
    """A runtime whose polls fail as often as is said, then serve, then fail for ever, or stay open."""

    def __init__(self, *faults: Exception, then: tuple[Invocation, ...] = (), stays: bool = False) -> None:
        super().__init__(*then)
        self.faults = list(faults)
        self.stays = stays
        self.polls = 0

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        self.polls += 1
        if self.faults:
            raise self.faults.pop(0)
        if self.waiting or self.stays:
            return super().next_invocation()
        raise ConnectionLost("gone")


BACKOFF = [0.05, 0.1, 0.2, 0.4, 0.8]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long slots have waited between their tries; they do not really wait."""
    found: list[float | None] = []

    class Recorded(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            found.append(timeout)
            return super().wait(0)

    monkeypatch.setattr("lambda_wire.bootstrap.slots.Event", Recorded)
    return found


def test_the_tries_are_bounded_and_counted_anew_after_one_that_served(waits: list[float | None]) -> None:
    """Later and later; five of them in a row. The last slot that gives up ends the process."""
    runtime = Failing(*[ConnectionLost("gone")] * 3, then=(invocation(1),))
    with slots_of(lambda event, context: event, runtime) as served:
        assert str(served.ended.result(PATIENCE_S)) == "gone"
    assert (runtime.polls, runtime.kinds, waits) == (3 + 1 + 6, ["BufferedResponse"], BACKOFF[:3] + BACKOFF)


def test_an_outage_costs_no_slot(waits: list[float | None]) -> None:
    """While another slot is busy through it, one that has failed too often tries on, as late as ever, and serves."""
    begun, go = threading.Event(), threading.Event()

    def handler(event: object, context: object) -> object:
        if event == "busy":
            begun.set()
            assert go.wait(PATIENCE_S)
        return event

    busy = Endless(invocation("busy"))
    out = Failing(*[ConnectionLost("gone")] * 9, then=(invocation("back"),), stays=True)
    with slots_of(handler, busy, out) as served:
        assert out.idle.wait(PATIENCE_S)
        assert not served.ended.done()
        go.set()
        assert busy.idle.wait(PATIENCE_S)
    assert out.kinds == busy.kinds == ["BufferedResponse"]
    assert waits == BACKOFF + [0.8] * 4


@pytest.mark.usefixtures("waits")
def test_a_slot_that_cannot_poll_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The same reason once, however many slots have it."""
    good = Endless()
    reasons = [RemoteProtocolError("odd"), RemoteProtocolError("odd"), RequestRefused(Refused(status=500))]
    bad = [Failing(*[reason] * 7, stays=True) for reason in reasons]
    with slots_of(lambda event, context: event, good, *bad) as served:
        assert all(runtime.idle.wait(PATIENCE_S) for runtime in bad)
        assert not served.ended.done()
        assert isinstance(served.end(), Enough)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("lambda-wire: a slot cannot poll, others go on: ") for line in lines)


@pytest.mark.usefixtures("waits")
def test_a_slot_that_cannot_poll_again_is_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    """What was over is news when it comes again."""
    gone = [ConnectionLost("gone")] * 6

    class Twice(Failing):
        def respond(self, invocation: Invocation, payload: BytesLike, *, content_type: str = "") -> Accepted | Refused:
            self.faults += [] if self.said else gone
            return super().respond(invocation, payload)

    bad = Twice(*gone, then=(invocation(1), invocation(2)), stays=True)
    with slots_of(lambda event, context: event, Endless(), bad):
        assert bad.idle.wait(PATIENCE_S)
    assert bad.kinds == ["BufferedResponse"] * 2
    assert capsys.readouterr().err == "lambda-wire: a slot cannot poll, others go on: gone\n" * 2


@pytest.mark.usefixtures("waits")
def test_slots_that_all_fail_together_are_one_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Who is out while the others fail, too, says nothing: the last of them does, for all."""
    together = threading.Barrier(3)

    class Together(Failing):
        def next_invocation(self, *, timeout: float | None = None) -> Invocation:
            if self.polls < 6:
                together.wait(PATIENCE_S)
                return super().next_invocation()
            assert self.stopped.wait(PATIENCE_S)
            raise ConnectionLost("ended")

    with slots_of(lambda event, context: event, *(Together() for _ in range(3))) as served:
        assert str(served.ended.result(PATIENCE_S)) == "gone"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("returns", [True, False])
def test_a_service_that_nobody_reaches_for_a_while(returns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer waits for it; one that has waited too long costs no other invocation (RT-RESP-1, RT-MANAGED-15)."""
    begun, go, back, tries = threading.Event(), threading.Event(), threading.Event(), 0

    def handler(event: object, context: object) -> object:
        begun.set()
        assert go.wait(PATIENCE_S)
        return event

    def sleep(seconds: float) -> None:
        nonlocal tries
        tries += 1
        if returns:
            come_back()

    def come_back(seconds: float | None = None) -> bool:
        listener.listen()
        back.set()
        return False

    with ExitStack() as stack:
        address, first = stack.enter_context(service_of())
        monkeypatch.setattr("lambda_wire.bootstrap.answering.sleep", sleep)
        served = stack.enter_context(slots_at(address, 1, handler))
        monkeypatch.setattr(served.slots.stopping, "wait", come_back)
        (held,) = polls_of(first, 1, stack)
        told(held, 1)
        assert begun.wait(PATIENCE_S)
        held.wire.close()
        first.close()
        listener = stack.enter_context(socket.socket())  # nobody listens there, for now
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        listener.settimeout(PATIENCE_S)
        go.set()
        assert back.wait(PATIENCE_S)
        held = accept(listener, managed := ManagedLifecycle())
        stack.enter_context(held.wire)
        if returns:
            managed.invoked(invocation(1))
            assert answer_of(held) == b"1"
        assert tries == (1 if returns else 5)
        assert held.hear() == NextAsked()
        told(held, 2, request_id="id-2")
        assert answer_of(held) == b"2"


def test_an_invocation_that_cannot_be_answered_costs_its_slot() -> None:
    """The service gives it again and again; the handler runs once."""
    ran: list[object] = []
    refused = Refused(status=400, error_type="InvalidRequestID")
    runtime = Endless(*[invocation(1)] * 3, ends=refused)
    with slots_of(lambda event, context: ran.append(event), runtime) as served:
        assert isinstance(served.ended.result(PATIENCE_S), Unanswerable)
    assert ran == [1]


def test_a_service_that_vanishes_is_one_line_and_1(tmp_path: Path) -> None:
    """Whatever number of slots finds it."""
    with ExitStack() as stack:
        with service_of() as (address, listener):
            source = "def handler(event, context): return event\n"
            child = stack.enter_context(running_child(address, source, tmp_path, "--concurrency", "4"))
            held = polls_of(listener, 4, stack)
        for one in held:
            one.wire.close()
        code, out, err = child.end()
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"lambda-wire: cannot poll the Runtime API at {address}: nothing was sent")


def test_a_service_that_refuses_every_poll_is_one_line_and_1(
    app: Path, capsys: pytest.CaptureFixture[str], waits: list[float | None]
) -> None:
    """In this process, where it is quicker to look at."""
    (app / "lw_slots.py").write_text("def handler(event, context): return event\n", encoding="ascii")
    with ScriptedService(verdict=Refused(status=500, error_message="no")) as service:
        assert serve("lw_slots.handler", service.address, concurrency=1) == 1

    def script(listener: socket.socket) -> None:
        with ExitStack() as stack:
            held = polls_of(listener, 2, stack)
            for _ in range(6):
                for one in held:
                    one.say(Refused(status=500, error_message="no"))
                for one in held:
                    event = one.hear()
                    assert isinstance(event, (NextAsked, ConnectionClosed))

    capsys.readouterr()
    with script_service(script) as address:
        assert serve("lw_slots.handler", address, concurrency=2) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"lambda-wire: the Runtime API at {address} refused the poll with 500 no"
    assert len(lines) <= 2


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a handler is found."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, taken in before.items():
        signal.signal(number, taken)
    for name in ("lw_slots", "lw_slots_exit"):
        sys.modules.pop(name, None)


# -- stopping

STOPPING = """
import asyncio, sys, threading

class Kinds:
    def idle(self): return None
    def plain(self):
        print("running", flush=True)
        sys.stdin.read()
        return "in time"
    async def awaited(self):
        try:
            print("running", flush=True)
            await asyncio.Event().wait()
        finally:
            print("finally", flush=True)
    async def streamed(self):
        try:
            yield "half"
            print("running", flush=True)
            await asyncio.Event().wait()
        finally:
            print("finally", flush=True)
    def deaf(self):
        print("running", flush=True)
        threading.Event().wait()
    def half(self):
        yield "half"
        self.deaf()
    def answered(self):
        context.response_writer().write_and_finish("whole")
        self.deaf()

def handler(event, given):
    global context
    context = given
    return getattr(Kinds(), event)()
"""
STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@STOPS
def test_a_signal_ends_idle_slots_at_once_and_with_0(number: signal.Signals, tmp_path: Path) -> None:
    """No poll is left open, nothing is said."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, STOPPING, tmp_path, "--concurrency", "3"))
        held = polls_of(listener, 3, stack)
        told(held[0], "idle")
        assert answer_of(held[0]) == b"null"
        assert held[0].hear() == NextAsked()
        child.send(number)
        assert child.end() == (0, "", "")
        assert [type(one.hear()).__name__ for one in held] == ["ConnectionClosed"] * 3


def test_what_ends_in_its_grace_time_is_answered() -> None:
    """After a signal, too; and its slot polls no more."""
    hanging = Hanging()
    for kind in (hanging.plain, hanging.awaited):
        hanging.go.clear()
        runtime, idle = Endless(invocation("hang"), invocation("never")), Endless()
        with slots_of(kind, runtime, idle) as served:
            assert hanging.begun.acquire(timeout=PATIENCE_S)
            served.slots.end(Enough())
            assert runtime.stopped.wait(PATIENCE_S)
            hanging.go.set()
            assert isinstance(served.ended.result(PATIENCE_S), Enough)
        assert [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] == [b'"hang"']
        assert len(runtime.waiting) == 1


@STOPS
def test_an_async_handler_is_cancelled_after_its_grace_time(number: signal.Signals, tmp_path: Path) -> None:
    """Its ``finally`` runs, and its caller is told: by a report, or in trailers."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, STOPPING, tmp_path, "--concurrency", "3"))
        reported, streamed, _ = polls_of(listener, 3, stack)
        told(reported, "awaited")
        told(streamed, "streamed")
        assert [child.line(), child.line()] == ["running\n"] * 2
        child.send(number)
        assert json.loads(answer_of(reported))["errorType"] == "Runtime.ExitError"
        assert isinstance(streamed.hear(), ResponseStarted)
        assert streamed.hear() == ResponseChunk(data=b"half")
        failed = streamed.hear()
        assert isinstance(failed, ResponseFailed)
        assert failed.error_type == "Runtime.ExitError"
        streamed.say(Accepted())
        code, out, err = child.end()
    assert (code, out) == (0, "finally\n" * 2)
    assert err.count("[ERROR] Runtime.ExitError: the runtime process ends: Stopped: the runtime has ended") == 2
    assert "lambda-wire:" not in err


@pytest.mark.parametrize("kind", ["deaf", "half"])
def test_a_plain_handler_that_does_not_end_is_reported_and_left(kind: str, tmp_path: Path) -> None:
    """It cannot be interrupted: its caller is told without it, by a report, or in trailers."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, STOPPING, tmp_path, "--concurrency", "2"))
        held, _ = polls_of(listener, 2, stack)
        told(held, kind, request_id="r7")
        assert child.line() == "running\n"
        child.send()
        child.send()
        if kind == "deaf":
            assert json.loads(answer_of(held))["errorType"] == "Runtime.ExitError"
        else:
            assert isinstance(held.hear(), ResponseStarted)
            assert held.hear() == ResponseChunk(data=b"half")
            failed = held.hear()
            assert isinstance(failed, ResponseFailed)
            assert failed.error_type == "Runtime.ExitError"
            held.say(Accepted())
        code, out, err = child.end()
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "[ERROR] Runtime.ExitError: the runtime process ends: Stopped: the runtime has ended",
        "lambda-wire: invocation r7 still runs: it ends with the process",
    ]


def test_a_plain_handler_that_does_not_end_is_left_by_a_service_that_does_not_answer(tmp_path: Path) -> None:
    """Nobody waits for it longer than the process has time."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, STOPPING, tmp_path, "--concurrency", "2"))
        held, _ = polls_of(listener, 2, stack)
        told(held, "deaf")
        assert child.line() == "running\n"
        child.send()
        assert isinstance(held.hear(), ErrorReported)
        assert child.end()[0] == 0


def test_what_a_handler_returns_after_it_was_reported_is_not_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its caller has the report; nothing is added to it."""
    monkeypatch.setattr("lambda_wire.bootstrap.slots.GRACE_S", 0.001)
    begun, reported, returned = threading.Event(), threading.Event(), threading.Event()

    class Reporting(Endless):
        def end(self, said: Said) -> Accepted | Refused:
            verdict = super().end(said)
            reported.set()
            return verdict

    def handler(event: object, context: object) -> object:
        begun.set()
        assert reported.wait(PATIENCE_S)
        returned.set()
        return "late"

    runtime = Reporting(invocation(1))
    with slots_of(handler, runtime) as served:
        assert begun.wait(PATIENCE_S)
        served.slots.end(Enough())
        assert returned.wait(PATIENCE_S)
    assert runtime.kinds == ["ErrorReported"]
    assert "is not sent" not in capsys.readouterr().err


def test_a_handler_whose_response_has_ended_is_left_with_a_line(tmp_path: Path) -> None:
    """Its caller has the whole response: there is nothing to report."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, STOPPING, tmp_path, "--concurrency", "2"))
        held, _ = polls_of(listener, 2, stack)
        told(held, "answered")
        assert isinstance(held.hear(), ResponseStarted)
        assert held.hear() == ResponseChunk(data=b"whole")
        assert isinstance(held.hear(), ResponseFinished)
        held.say(Accepted())
        assert child.line() == "running\n"
        child.send()
        assert child.end() == (0, "", "lambda-wire: invocation id-1 still runs: it ends with the process\n")


SWALLOWS = """
import os, signal
try: os.kill(os.getpid(), signal.SIGTERM)
except BaseException: pass
def handler(event, context): return event
"""


def test_a_signal_that_loading_swallowed_ends_slots_before_the_first_poll(tmp_path: Path) -> None:
    """As it does one that is alone: nothing is asked for, and the process ends."""
    service = ScriptedService(invocation(1))
    with service, running_child(service.address, SWALLOWS, tmp_path, "--concurrency", "2") as child:
        assert child.end() == (0, "", "")
    assert service.asked == []


SWALLOWS_LATER = SWALLOWS.replace("os.kill(os.getpid(), signal.SIGTERM)", 'print("importing"); signal.pause()')


def test_a_second_signal_after_one_that_was_swallowed_ends_slots_too(tmp_path: Path) -> None:
    """However many come, and whenever."""
    service = ScriptedService()
    with service, running_child(service.address, SWALLOWS_LATER, tmp_path, "--concurrency", "2") as child:
        assert child.line() == "importing\n"
        child.send()
        child.send()
        assert child.end() == (0, "", "")


def test_a_signal_before_all_slots_have_begun_ends_those_that_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their polls are ended, not cut; nothing waits for those that never began."""
    runtimes = [Endless() for _ in range(3)]
    slots = Slots(Invoker(print, alone=False), runtimes)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise Stopped("SIGTERM was received")

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(Stopped):
        slots.serve()
    monkeypatch.undo()
    assert all(runtime.stopped.is_set() for runtime in runtimes)
    assert our_threads() == []


def kill_this_thread(number: int) -> None:
    """Give a signal to this thread, as the system may, and not to the main one."""
    signal.pthread_kill(threading.get_ident(), number)


@pytest.mark.parametrize("kill", [partial(os.kill, os.getpid()), kill_this_thread])
@STOPS
def test_a_signal_in_this_process(
    kill: Callable[[int], None], app: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """``serve`` leaves no thread. It feels a signal, whichever thread took it."""
    (app / "lw_slots.py").write_text("def handler(event, context): return event\n", encoding="ascii")

    def script(listener: socket.socket) -> None:
        with ExitStack() as stack:
            held = polls_of(listener, 2, stack)
            for one in held:
                told(one, 1)
                assert answer_of(one) == b"1"
            assert [one.hear() for one in held] == [NextAsked()] * 2
            kill(number)
            for one in held:
                assert isinstance(one.hear(), ConnectionClosed)

    with script_service(script) as address:
        assert serve("lw_slots.handler", address, concurrency=2) == 0
    os.kill(os.getpid(), number)  # a second one is ignored
    assert our_threads() == []
    assert capsys.readouterr().err == ""


def test_sys_exit_in_this_process(app: Path) -> None:
    """``serve`` lets it through, after its report; the slot that called it no longer runs anything."""
    (app / "lw_slots_exit.py").write_text("def handler(event, context): raise SystemExit(event)\n", encoding="ascii")

    def script(listener: socket.socket) -> None:
        with ExitStack() as stack:
            held, _ = polls_of(listener, 2, stack)
            told(held, 5)
            assert json.loads(answer_of(held))["errorType"] == "Runtime.ExitError"

    with script_service(script) as address, pytest.raises(SystemExit) as caught:
        serve("lw_slots_exit.handler", address, concurrency=2)
    assert caught.value.code == 5
    assert our_threads() == []


# -- what an invocation sees


def test_the_trace_id_is_never_in_the_environment_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be another's. The context has it. What the environment held before is left alone (RT-MANAGED-9)."""

    def handler(event: object, context: LambdaContext) -> object:
        return [context.trace_id, os.environ.get("_X_AMZN_TRACE_ID")]

    for before in ("stale", None):
        with monkeypatch.context() as patch:
            patch.setenv("_X_AMZN_TRACE_ID", before) if before else patch.delenv("_X_AMZN_TRACE_ID", raising=False)
            runtimes = [Endless(invocation(1, trace_id=f"Root={number}")) for number in range(2)]
            with slots_of(handler, *runtimes):
                for number, runtime in enumerate(runtimes):
                    assert runtime.idle.wait(PATIENCE_S)
                    (said,) = runtime.said
                    assert isinstance(said, BufferedResponse)
                    assert json.loads(said.payload) == [f"Root={number}", before]
                assert os.environ.get("_X_AMZN_TRACE_ID") == before


mine: contextvars.ContextVar[object] = contextvars.ContextVar("mine", default="unset")


def sees(event: object, context: LambdaContext) -> object:
    seen = mine.get()
    mine.set(event)
    return [seen, current_request_id.get()]


async def sees_async(event: object, context: LambdaContext) -> object:
    await asyncio.sleep(0)
    return sees(event, context)


def sees_streaming(event: object, context: LambdaContext) -> Iterator[str]:
    yield json.dumps(sees(event, context))


async def sees_streaming_async(event: object, context: LambdaContext) -> AsyncIterator[str]:
    yield json.dumps(sees(event, context))


@pytest.mark.parametrize("handler", [sees, sees_async, sees_streaming, sees_streaming_async])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_context_variables_are_each_invocations_own(handler: Callable[..., Any], count: int) -> None:
    """What one has set no other sees; the request id is that of the invocation. Alone (0), in one slot and in many."""
    runtimes = [
        Endless(*(invocation(number, request_id=f"{place}-{number}") for number in range(4)))
        for place in range(count or 1)
    ]
    if count:
        with slots_of(handler, *runtimes):
            assert all(runtime.idle.wait(PATIENCE_S) for runtime in runtimes)
    else:
        runtimes[0].stopped.set()
        serve_handler(handler, runtimes[0])
    for place, runtime in enumerate(runtimes):
        bodies = [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] or runtime.body
        assert [json.loads(body) for body in bodies] == [["unset", f"{place}-{number}"] for number in range(4)]
    assert (mine.get(), current_request_id.get()) == ("unset", "")


# -- memory


class Held:
    """What a handler holds while it fails."""


HELD: list[weakref.ref[Held]] = []


def fails(event: object, context: LambdaContext) -> None:
    held = Held()
    HELD.append(weakref.ref(held))
    raise ValueError("no")


async def fails_async(event: object, context: LambdaContext) -> None:
    fails(event, context)


def fails_streaming(event: object, context: LambdaContext) -> Iterator[bytes]:
    yield b"half"
    fails(event, context)


async def fails_streaming_async(event: object, context: LambdaContext) -> AsyncIterator[bytes]:
    yield b"half"
    fails(event, context)


async def hands_over_what_fails(event: object, context: LambdaContext) -> object:
    return fails_streaming(event, context)


@pytest.mark.parametrize("handler", [fails, fails_async, fails_streaming, fails_streaming_async, hands_over_what_fails])
@pytest.mark.parametrize("count", [0, 2])
def test_a_failure_is_let_go_of_when_it_was_reported(handler: Callable[..., Any], count: int) -> None:
    """With all that the handler held, the event above all; the garbage collector is not needed. Alone (0), in slots."""
    HELD.clear()
    runtimes = [Endless(*(invocation(number) for number in range(3))) for _ in range(count or 1)]
    gc.collect()
    gc.disable()
    try:
        if count:
            with slots_of(handler, *runtimes):
                assert all(runtime.idle.wait(PATIENCE_S) for runtime in runtimes)
                alive = [held() for held in HELD]
        else:
            runtimes[0].stopped.set()
            serve_handler(handler, runtimes[0])
            alive = [held() for held in HELD]
    finally:
        gc.enable()
    assert alive == [None] * 3 * (count or 1)
