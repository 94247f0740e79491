"""Ctrl-C and SIGTERM, in every phase of a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lambda_wire import Accepted, BufferedResponse, ConnectionClosed, ErrorReported, Invocation, NextAsked
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire.bootstrap import serve, stopping
from lambda_wire.bootstrap.stopping import Stop, Stopped, stopped_by_signals
from lambda_wire.sync import Runtime
from tests.bootstrap_parts import ScriptedService, invocation
from tests.driver_services import accept
from tests.driver_services import service as script_service
from tests.running_local import PATIENCE_S
from tests.slot_parts import answer_of, polls_of, running_child, service_of, told
from tests.test_local_concurrency import meeting_of

STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
ECHO = "def handler(event, context): return event\n"


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What was asked to end ignores signals for good: not so the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, taken in before.items():
        signal.signal(number, taken)


def ask(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def wait_for_ever() -> None:
    assert threading.Event().wait(PATIENCE_S)


def ask_and_wait_for_ever(number: signal.Signals) -> None:
    """On a busy machine the grace time may be over while this still asks."""
    ask(number)
    wait_for_ever()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grace time that is over soon."""
    monkeypatch.setattr(stopping, "GRACE_S", 0.001)


# -- phases


@STOPS
def test_while_it_loads_it_is_interrupted_once(number: signal.Signals) -> None:
    """Whoever swallows that is left alone; it is not forgotten."""
    with stopped_by_signals() as stop:
        with pytest.raises(Stopped, match=f"{number.name} was received"):
            ask(number)
        ask(number)
        assert stop.asked


@STOPS
def test_while_it_polls_the_poll_is_ended_and_nothing_raised(number: signal.Signals) -> None:
    """Each time that it is asked: what has come with the poll is not lost."""
    ended: list[str] = []
    with stopped_by_signals() as stop:
        stop.end_polls(lambda: ended.append("poll"))
        assert not stop.asked
        ask(number)
        ask(number)
        assert (stop.asked, ended) == (True, ["poll"] * 2)


@STOPS
@pytest.mark.usefixtures("no_grace")
def test_what_runs_is_interrupted_when_its_grace_time_is_over(number: signal.Signals) -> None:
    """Whatever it waits for; once, however often it is asked, and whatever it does with it."""
    with stopped_by_signals() as stop:
        with stop.delayed():
            with pytest.raises(Stopped, match=f"{number.name} was received"):
                ask_and_wait_for_ever(number)
            ask(number)
        with stop.delayed():
            ask(number)


def test_what_runs_is_left_alone_in_its_grace_time() -> None:
    """Two signals are as one; when it has ended nothing comes after it."""
    with stopped_by_signals() as stop:
        stop.end_polls(lambda: None)
        with stop.delayed():
            ask()
            timer = stop._timer
            ask(signal.SIGINT)
            assert stop._timer is timer is not None
            assert not timer.finished.is_set()
        assert timer.finished.is_set()
        stop._interrupt_now(signal.SIGTERM)


@pytest.mark.usefixtures("no_grace")
def test_a_signal_that_came_with_the_invocation_gives_it_its_grace_time_too() -> None:
    """It ended the poll, but an invocation had come."""
    with stopped_by_signals() as stop:
        stop.end_polls(lambda: None)
        ask()
        with pytest.raises(Stopped, match="SIGTERM was received"), stop.delayed():
            wait_for_ever()


def test_whoever_ends_meanwhile_is_not_interrupted_after_it() -> None:
    """A handler that calls ``sys.exit`` in its grace time leaves the block for good, and ``atexit`` has its time."""
    with stopped_by_signals() as stop:
        block = stop.delayed()
        block.__enter__()
        ask()
        timer = stop._timer
        assert timer is not None
    assert timer.finished.is_set()
    ask()
    timer.function(*timer.args)
    assert not block.__exit__(SystemExit, SystemExit(3), None)


def test_signals_are_given_back_unless_one_has_come() -> None:
    """A second one must not cut short what the process does to end."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopped_by_signals():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with stopped_by_signals() as stop:
        stop.end_polls(lambda: None)
        ask()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == [signal.SIG_IGN] * 2
    ask()


# -- the process


@contextmanager
def app(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Generator[str, None, None]:
    (tmp_path / "lw_stop.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    try:
        yield "lw_stop.handler"
    finally:
        sys.modules.pop("lw_stop", None)


@STOPS
def test_an_invocation_that_came_with_the_signal_is_answered(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between the end of the poll and the beginning of the handler is no hole."""
    poll = Runtime.next_invocation

    def interrupted(runtime: Runtime, *, timeout: float | None = None) -> Invocation:
        found = poll(runtime, timeout=timeout)
        ask(number)
        return found

    monkeypatch.setattr(Runtime, "next_invocation", interrupted)
    with app(tmp_path, ECHO, monkeypatch) as name, ScriptedService(invocation(1), invocation(2)) as service:
        assert serve(name, service.address) == 0
    assert service.asked == [NextAsked(), BufferedResponse(request_id="id-1", payload=b"1")]


def test_a_signal_that_loading_swallowed_ends_it_before_the_first_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked for that would not be answered."""
    swallows = "import os, signal\ntry: os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: pass\n"
    with app(tmp_path, swallows + ECHO, monkeypatch) as name, ScriptedService(invocation(1)) as service:
        assert serve(name, service.address) == 0
    assert service.asked == []


def test_a_signal_while_loading_that_is_swallowed_by_a_child(tmp_path: Path) -> None:
    """The same in a process of its own, with a real signal while it imports."""
    source = "import signal\ntry:\n    print('importing')\n    signal.pause()\nexcept BaseException: pass\n" + ECHO
    with ScriptedService(invocation(1)) as service, running_child(service.address, source, tmp_path) as child:
        assert child.line() == "importing\n"
        child.send()
        assert child.end() == (0, "", "")
    assert service.asked == []


def test_a_signal_after_the_first_poll_was_sent_loses_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the rooms of an invocation are loaded: what has come with the poll is answered, and it is the last."""
    sent, there = threading.Event(), threading.Event()
    poll = Runtime.next_invocation

    def interrupted(runtime: Runtime, *, timeout: float | None = None) -> Invocation:
        try:
            return poll(runtime, timeout=timeout)
        except TimeoutError:
            sent.set()
            assert there.wait(PATIENCE_S)
            ask()
            raise

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        with ExitStack() as stack:
            held = accept(listener, lifecycle)
            stack.enter_context(held.wire)
            assert held.hear() == NextAsked()
            assert sent.wait(PATIENCE_S)
            told(held, 1)
            there.set()
            heard = held.hear()
            if isinstance(heard, ConnectionClosed):  # who polls no more may answer on a new connection
                held = accept(listener, lifecycle)
                stack.enter_context(held.wire)
                heard = held.hear()
            assert heard == BufferedResponse(request_id="id-1", payload=b"1")
            held.say(Accepted())
            assert isinstance(held.hear(), ConnectionClosed)

    monkeypatch.setattr(Runtime, "next_invocation", interrupted)
    with app(tmp_path, ECHO, monkeypatch) as name, script_service(script) as address:
        assert serve(name, address) == 0


LEFT = """
import asyncio, atexit
atexit.register(print, "atexit ran")
left = set()  # an event loop holds its tasks weakly

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def handler(event, context):
    left.add(asyncio.create_task(stubborn(), name="left"))
    await asyncio.sleep(0)
"""


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_a_task_that_does_not_end_holds_up_no_end(concurrency: str, tmp_path: Path) -> None:
    """It is left when it had its time; what was registered with ``atexit`` runs."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, LEFT, tmp_path, "--concurrency", concurrency))
        held, *_ = polls_of(listener, int(concurrency), stack)
        told(held, None)
        assert answer_of(held) == b"null"
        assert held.hear() == NextAsked()
        child.send()
        assert child.end()[:2] == (0, "atexit ran\n")


EXITS_LATER = """
import asyncio, sys
async def handler(event, context):
    asyncio.get_running_loop().call_later(0.01, sys.exit, 3)
"""


def test_a_task_that_ends_the_process_while_it_polls_ends_it(tmp_path: Path) -> None:
    """With its code; the poll is ended."""
    with service_of() as (address, listener), ExitStack() as stack:
        child = stack.enter_context(running_child(address, EXITS_LATER, tmp_path))
        (held,) = polls_of(listener, 1, stack)
        told(held, None)
        assert answer_of(held) == b"null"
        assert child.end()[:2] == (3, "")


SLEEPS = """
import threading
def handler(event, context):
    print("running")
    try:
        threading.Event().wait()
    finally:
        print("finally")
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_two_signals_are_as_one(first: signal.Signals, second: signal.Signals, tmp_path: Path) -> None:
    """As a group and a parent that forwards give them: the invocation is reported, and the code is 0."""
    with ScriptedService(invocation()) as service, running_child(service.address, SLEEPS, tmp_path) as child:
        assert child.line() == "running\n"
        for number in (first, second, first):
            child.send(number)
        assert child.line() == "finally\n"
        child.send(second)
        code, out, err = child.end()
    assert (code, out, err.count("[ERROR]")) == (0, "", 1)
    assert [type(it) for it in service.asked] == [NextAsked, ErrorReported]
    assert service.error()["errorType"] == "Runtime.ExitError"


ASKED_AGAIN_LATE = """
import os, signal

class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT):
        kill(me, number)
        print("late")

late = Late()

def handler(event, context):
    print("running")
    signal.pause()
"""


def test_a_second_signal_while_the_interpreter_ends_changes_nothing(tmp_path: Path) -> None:
    """Python has then given up its handlers: the code would be that of a process that was killed."""
    with ScriptedService(invocation()) as service, running_child(service.address, ASKED_AGAIN_LATE, tmp_path) as child:
        assert child.line() == "running\n"
        child.send()
        assert child.end()[:2] == (0, "late\n")


ENDS_IN_TIME = """
import signal
signals = []
def handler(event, context):
    before = signal.getsignal(signal.SIGTERM)
    def tell(number, frame):
        before(number, frame)
        signals.append(number)
    signal.signal(signal.SIGTERM, tell)
    print("running")
    while not signals:
        signal.pause()
    return "in time"
"""


def test_what_ends_in_its_grace_time_is_answered_and_is_the_last(tmp_path: Path) -> None:
    """The process polls no more."""
    service = ScriptedService(invocation(), invocation())
    with service, running_child(service.address, ENDS_IN_TIME, tmp_path) as child:
        assert child.line() == "running\n"
        child.send()
        assert child.end() == (0, "", "")
    assert service.asked == [NextAsked(), BufferedResponse(request_id="id-1", payload=b'"in time"')]


AWAITS_A_THREAD = """
import asyncio, socket
def wait(port):
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.recv(1)
async def handler(event, context):
    await asyncio.to_thread(wait, event)
"""


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_an_async_handler_that_waits_for_a_thread_is_reported_at_once(concurrency: str, tmp_path: Path) -> None:
    """After its grace time, although the thread still runs: that can only hold up the end of the process."""
    with service_of() as (address, listener), ExitStack() as stack, meeting_of(1) as (port, gather, part):
        options = ("--concurrency", concurrency)
        child = stack.enter_context(running_child(address, AWAITS_A_THREAD, tmp_path, *options))
        held, *_ = polls_of(listener, int(concurrency), stack)
        told(held, port)
        gather()
        child.send()
        assert json.loads(answer_of(held))["errorType"] == "Runtime.ExitError"
        part()
        code, out, _ = child.end()
    assert (code, out) == (0, "")


def test_a_stop_that_nobody_asked_for_does_nothing() -> None:
    """Outside of signals, as ``serve_handler`` uses it."""
    stop = Stop()
    with stop.delayed():
        assert not stop.asked
    stop.rest()
    assert stop._timer is None
