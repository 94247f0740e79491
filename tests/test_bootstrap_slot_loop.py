"""What async handlers say is said by the thread that waits for them, which hears what they raise."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lambda_wire import LocalProtocolError
from lambda_wire.bootstrap import slot_loop
from lambda_wire.bootstrap.stopping import Stopped
from tests.loop_parts import ALONE, LIMITED, SLOT, Made
from tests.running_local import PATIENCE_S
from tests.slot_parts import our_threads

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(params=[SLOT, ALONE, LIMITED], ids=["slot", "alone", "limited"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """A loop that is closed afterwards, and leaves no thread: for slots, for one that is alone, and with a limit."""
    found = Made(request.param)
    yield found
    found.loop.close(PATIENCE_S)
    assert our_threads() == []


SPEAKING = pytest.mark.parametrize("made", [SLOT, LIMITED], ids=["slot", "limited"], indirect=True)


# -- what work raises


def test_work_has_the_context_variables_of_its_caller_and_keeps_its_own(made: Made) -> None:
    """What it sets is seen by nobody else."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(variable.get())
        variable.set("of the work")

    slot = made.slot()
    token = variable.set("of the caller")
    slot.run(work())
    slot.run(work())
    assert (seen, variable.get()) == (["of the caller"] * 2, "of the caller")
    variable.reset(token)


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit("x"), asyncio.CancelledError(),
        TimeoutError(),
    ],
)  # fmt: skip
def test_what_work_raises_is_raised_to_who_waits(made: Made, fault: BaseException) -> None:
    """Whatever it is, it does not end the loop: others run there."""

    async def work() -> None:
        raise fault

    slot = made.slot()
    for _ in range(2):
        with pytest.raises(type(fault)) as caught:
            slot.run(work())
        assert caught.value is fault
    assert not made.loop.closed
    assert made.ended_by == []


# -- what work says


@SPEAKING
def test_what_is_posted_is_said_by_the_thread_that_waits(made: Made) -> None:
    """In the order in which it was posted, with the context variables of that thread; the poster has what it gives."""
    said: list[object] = []

    def say(what: int) -> int:
        said.append((what, threading.get_ident(), variable.get()))
        return what * 2

    slot = made.slot()

    async def work() -> None:
        variable.set("of the work")
        for what in range(3):
            assert await slot.post(lambda what=what: say(what)) == what * 2  # type: ignore[misc]  # the default
        assert await asyncio.gather(*(slot.post(lambda what=what: say(what)) for what in (3, 4))) == [6, 8]  # type: ignore[misc]  # the same

    token = variable.set("of the slot")
    slot.run(work())
    assert said == [(what, threading.get_ident(), "of the slot") for what in range(5)]
    variable.reset(token)


@pytest.mark.parametrize("made", [ALONE], ids=["alone"], indirect=True)
def test_one_that_is_alone_says_it_in_the_loop(made: Made) -> None:
    """Nobody else waits for it."""
    said: list[int] = []
    slot = made.slot()

    async def work() -> None:
        assert await slot.post(threading.get_ident) == threading.get_ident()
        said.append(threading.get_ident())

    slot.run(work())
    assert said != [threading.get_ident()]


@pytest.mark.parametrize("made", [ALONE, LIMITED], ids=["alone", "limited"], indirect=True)
def test_who_only_speaks_gives_others_a_turn(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a time limit and a cancellation act in a handler that waits for nothing else."""
    monkeypatch.setattr(slot_loop, "_TURN_S", 0)
    slot = made.slot()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        for _ in range(1000):
            await slot.post(lambda: None)
        raise AssertionError("never had a turn")

    with pytest.raises(asyncio.CancelledError):
        slot.run(work())


@SPEAKING
def test_what_is_said_slowly_holds_up_no_time_limit(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it is cancelled in time."""
    monkeypatch.setattr(slot_loop, "_PATIENCE_S", 0.001)
    slot = made.slot()
    saying, cancelled = threading.Event(), threading.Event()

    def say() -> None:
        saying.set()
        assert cancelled.wait(PATIENCE_S)

    async def work() -> None:
        task = asyncio.create_task(slot.post(say))
        assert await asyncio.to_thread(saying.wait, PATIENCE_S)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        cancelled.set()

    slot.run(work())
    assert cancelled.is_set()


@pytest.mark.parametrize("fault", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), TimeoutError()])
def test_what_saying_raises_is_raised_to_who_posted(made: Made, fault: BaseException) -> None:
    """It may catch it and post again."""
    slot = made.slot()
    caught: list[BaseException] = []

    def fail() -> None:
        raise fault

    async def work() -> None:
        try:
            await slot.post(fail)
        except BaseException as it:  # noqa: BLE001  # all of them
            caught.append(it)
        assert await slot.post(lambda: 7) == 7

    slot.run(work())
    assert [type(it) for it in caught] == [type(fault)]


@pytest.mark.parametrize("made", [SLOT], ids=["slot"], indirect=True)
def test_what_nobody_waits_for_any_more_is_not_said(made: Made) -> None:
    """Who was cancelled before his words were said has not said them; the next one's are."""
    slot, said = made.slot(), list[str]()
    posted, cancelled = threading.Event(), threading.Event()

    def block() -> None:
        posted.set()
        assert cancelled.wait(PATIENCE_S)
        said.append("first")

    async def work() -> None:
        first = asyncio.create_task(slot.post(block))
        second = asyncio.create_task(slot.post(lambda: said.append("never")))
        await asyncio.to_thread(posted.wait)
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        cancelled.set()
        await first
        await slot.post(lambda: said.append("last"))

    slot.run(work())
    assert said == ["first", "last"]


def test_who_speaks_after_the_end_is_answered_at_once(made: Made) -> None:
    """A task that outlives its invocation says it where it runs; nobody listens any more, and nobody waits for ever."""
    slot = made.slot()
    go, done = threading.Event(), threading.Event()
    said: list[object] = []
    tasks: list[asyncio.Task[None]] = []

    def refuse() -> None:
        said.append("tried")
        raise LocalProtocolError("complete")

    async def late() -> None:
        await asyncio.to_thread(go.wait)
        try:
            await slot.post(refuse)
        except LocalProtocolError as fault:
            said.append(str(fault))
        done.set()

    async def work() -> None:
        tasks.append(asyncio.create_task(late()))

    slot.run(work())
    go.set()
    assert done.wait(PATIENCE_S)
    assert said == ["tried", "complete"]


@pytest.mark.parametrize("made", [SLOT], ids=["slot"], indirect=True)
def test_who_speaks_at_the_end_is_answered_too(made: Made) -> None:
    """What was posted while the work ended, and not heard, is refused: its poster does not wait for ever."""
    slot = made.slot()
    saying, go, done = threading.Event(), threading.Event(), threading.Event()
    refused: list[type[BaseException]] = []
    tasks: list[asyncio.Task[None]] = []

    def block() -> None:
        saying.set()
        assert go.wait(PATIENCE_S)

    async def late() -> None:
        try:
            await slot.post(lambda: None)
        except LocalProtocolError as fault:
            refused.append(type(fault))
        done.set()

    async def work() -> None:
        first = asyncio.create_task(slot.post(block))
        assert await asyncio.to_thread(saying.wait, PATIENCE_S)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: tasks.append(loop.create_task(late())))
        task.add_done_callback(lambda _: loop.call_soon(lambda: loop.call_soon(go.set)))
        tasks.append(first)

    slot.run(work())
    assert done.wait(PATIENCE_S)
    assert refused == [LocalProtocolError]


def test_who_has_a_loop_of_his_own_speaks_there(made: Made) -> None:
    """A plain handler may run one: nobody waits in ``run``."""
    slot = made.slot()
    assert asyncio.run(slot.post(threading.get_ident)) == threading.get_ident()


# -- a signal, in the main thread


class Interrupted:
    """Has the main thread interrupted by a signal, whose handler raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._before = signal.getsignal(signal.SIGUSR1)
        self.fault: BaseException = Stopped("SIGTERM was received")
        signal.signal(signal.SIGUSR1, self._raise)

    def _raise(self, *_: object) -> None:
        raise self.fault

    def now(self) -> None:
        """Interrupt it."""
        os.kill(os.getpid(), signal.SIGUSR1)

    def close(self) -> None:
        signal.signal(signal.SIGUSR1, self._before)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupted]:
    """What interrupts; cleaning up may take as long as a busy machine needs."""
    monkeypatch.setattr(slot_loop, "CLEANUP_S", PATIENCE_S)
    found = Interrupted(monkeypatch)
    yield found
    found.close()


@pytest.mark.parametrize("fault", [Stopped("SIGTERM was received"), KeyboardInterrupt(), ValueError("alarm")])
def test_a_signal_cancels_what_runs(made: Made, interrupted: Interrupted, fault: BaseException) -> None:
    """Its ``finally`` clauses have run, and may have spoken, before the signal's own exception is raised."""
    interrupted.fault = fault
    said: list[str] = []
    slot = made.slot()

    async def work() -> None:
        interrupted.now()
        try:
            await asyncio.Event().wait()
        finally:
            await slot.post(lambda: said.append("last words"))

    with pytest.raises(type(fault)) as caught:
        slot.run(work())
    assert caught.value is fault
    assert said == ["last words"]
    assert not made.loop.closed


@pytest.mark.parametrize("fault", [Stopped("SIGTERM was received"), KeyboardInterrupt()])
def test_work_that_ends_as_if_nothing_were_is_whole(made: Made, interrupted: Interrupted, fault: BaseException) -> None:
    """To stop is remembered elsewhere; anything else is raised all the same."""
    interrupted.fault = fault
    done: list[str] = []

    async def work() -> None:
        interrupted.now()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        done.append("done")

    if isinstance(fault, Stopped):
        made.slot().run(work())
    else:
        with pytest.raises(KeyboardInterrupt):
            made.slot().run(work())
    assert done == ["done"]


def test_what_work_raises_when_it_is_interrupted_is_not_hidden(made: Made, interrupted: Interrupted) -> None:
    """As when the loop is closed."""

    async def work() -> None:
        interrupted.now()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("in finally")

    with pytest.raises(LookupError, match="in finally"):
        made.slot().run(work())


def test_a_signal_waits_for_no_work_that_does_not_end(
    made: Made, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left after its time to clean up."""
    monkeypatch.setattr(slot_loop, "CLEANUP_S", 0.001)
    go = threading.Event()

    async def work() -> None:
        interrupted.now()
        assert go.wait(PATIENCE_S)

    with pytest.raises(Stopped, match="SIGTERM was received"):
        made.slot().run(work())
    go.set()
