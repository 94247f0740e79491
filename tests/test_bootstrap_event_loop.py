"""The loop of async handlers: it is made when it is needed, survives what runs there, and ends in time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from lambda_wire.bootstrap.event_loop import Work
from lambda_wire.bootstrap.stopping import Stopped
from tests.bootstrap_parts import environment
from tests.loop_parts import ALONE, LIMITED, SLOT, Made
from tests.running_local import PATIENCE_S
from tests.slot_parts import our_threads


@pytest.fixture(params=[SLOT, ALONE, LIMITED], ids=["slot", "alone", "limited"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """A loop that is closed afterwards, and leaves no thread: for slots, for one that is alone, and with a limit."""
    found = Made(request.param)
    yield found
    found.loop.close(PATIENCE_S)
    assert our_threads() == []


# -- the loop


def test_a_loop_that_nobody_needs_is_never_made(made: Made) -> None:
    """Plain handlers pay for no thread, and for no asyncio."""
    made.slot()
    assert our_threads() == []
    made.loop.close(PATIENCE_S)
    made.loop.close(PATIENCE_S)
    assert made.loop.closed
    code = (
        "import sys; from lambda_wire.bootstrap.slot_loop import *; from lambda_wire.bootstrap.event_loop import *;"
        "loop = EventLoop(print); SlotLoop(loop); loop.close(0);"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert "lambda_wire.bootstrap.slot_loop" in done.stdout.split()
    assert {"asyncio", "concurrent.futures"}.isdisjoint(done.stdout.split())


def test_all_share_one_loop_in_one_thread(made: Made) -> None:
    """Whoever needs it first; all at once, too."""
    seen: set[tuple[asyncio.AbstractEventLoop, int]] = set()
    together = threading.Barrier(8)

    async def work() -> None:
        seen.add((asyncio.get_running_loop(), threading.get_ident()))

    def slot() -> None:
        together.wait(PATIENCE_S)
        made.slot().run(work())

    with concurrent.futures.ThreadPoolExecutor(8) as slots:
        for done in [slots.submit(slot) for _ in range(8)]:
            done.result(PATIENCE_S)
    assert len(seen) == 1
    assert threading.get_ident() not in {ident for _, ident in seen}
    assert our_threads() == ["lambda-wire-loop"]


def test_it_is_kept_until_it_is_closed(made: Made) -> None:
    """What a handler leaves running goes on after it; closing cancels it."""
    ended: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    turns = threading.Semaphore(0)

    async def background() -> None:
        try:
            while True:
                turns.release()
                await asyncio.sleep(0)
        finally:
            ended.append("finally")

    async def work() -> None:
        tasks.append(asyncio.create_task(background()))

    made.slot().run(work())
    for _ in range(3):
        assert turns.acquire(timeout=PATIENCE_S)
    assert ended == []
    made.loop.close(PATIENCE_S)
    assert ended == ["finally"]


@pytest.mark.parametrize("fault", [OSError(24, "Too many open files"), RuntimeError("no policy"), SystemExit(3)])
def test_a_loop_that_cannot_be_made_is_a_failure_of_who_needs_it(
    made: Made, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each of them, and nobody waits for ever; the next one tries again."""
    ran: list[str] = []

    async def work() -> None:
        ran.append("work")

    def fail() -> asyncio.AbstractEventLoop:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", fail)
        patch.setattr(asyncio.events, "new_event_loop", fail)
        for _ in range(2):
            with pytest.raises(type(fault)) as caught:
                made.slot().run(work())
            assert caught.value is fault
    made.slot().run(work())
    assert ran == ["work"]


def test_a_thread_that_cannot_be_made_is_a_failure_too(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever needs it hears why."""

    async def work() -> None:
        raise AssertionError("never")

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            made.slot().run(work())


def test_a_loop_that_a_handler_stops_is_replaced(made: Made) -> None:
    """What ran there is cancelled; the next one has another."""
    seen: list[asyncio.AbstractEventLoop] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        seen.append(loop)
        if len(seen) == 1:
            loop.stop()
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        made.slot().run(work())
    made.slot().run(work())
    assert seen[0] is not seen[1]


def test_a_task_factory_that_fails_is_a_failure(made: Made) -> None:
    """A handler may have set any; nobody waits for ever."""

    def refuse(loop: asyncio.AbstractEventLoop, *_: object, **__: object) -> Any:
        loop.set_task_factory(None)
        raise LookupError("no tasks here")

    async def work() -> None:
        asyncio.get_running_loop().set_task_factory(refuse)

    made.slot().run(work())
    with pytest.raises(LookupError, match="no tasks here"):
        made.slot().run(work())


# -- the end


def waiting(begun: threading.Event, ended: list[str]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("finally")

    return work


def test_closing_cancels_what_runs_and_says_why(made: Made) -> None:
    """``finally`` clauses run; who waits is told that the runtime has ended, and nothing runs any more."""
    begun, ended = threading.Event(), list[str]()
    slot = made.slot()
    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(slot.run, waiting(begun, ended)())
        assert begun.wait(PATIENCE_S)
        made.loop.close(PATIENCE_S)
        with pytest.raises(Stopped, match="the runtime has ended") as caught:
            running.result(PATIENCE_S)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ended == ["finally"]
    assert our_threads() == []
    with pytest.raises(Stopped, match="the runtime has ended"):
        slot.run(waiting(begun, ended)())
    assert ended == ["finally"]


def test_closing_leaves_a_failure_what_it_is(made: Made) -> None:
    """What the handler raises while it cleans up is not hidden."""
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("in finally")

    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(made.slot().run, work())
        assert begun.wait(PATIENCE_S)
        made.loop.close(PATIENCE_S)
        with pytest.raises(LookupError, match="in finally"):
            running.result(PATIENCE_S)


def test_work_may_speak_while_it_is_cancelled(made: Made) -> None:
    """Whoever waits listens until it has ended."""
    begun, said = threading.Event(), list[str]()
    slot = made.slot()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await slot.post(lambda: said.append("last words"))

    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(slot.run, work())
        assert begun.wait(PATIENCE_S)
        made.loop.close(PATIENCE_S)
        with pytest.raises(Stopped):
            running.result(PATIENCE_S)
    assert said == ["last words"]


def test_closing_waits_no_longer_than_it_is_told(made: Made) -> None:
    """A loop that does not come to its end is left."""
    begun, go = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        assert go.wait(PATIENCE_S)

    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(made.slot().run, work())
        assert begun.wait(PATIENCE_S)
        made.loop.close(0)
        assert our_threads() == ["lambda-wire-loop"]
        go.set()
        running.result(PATIENCE_S)


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_that_nobody_waits_for_may_end_the_process(made: Made, fault: BaseException) -> None:
    """What else runs is cancelled; whoever made the loop is told."""
    begun, ended = threading.Event(), list[str]()

    def leave() -> None:
        raise fault

    async def work() -> None:
        asyncio.get_running_loop().call_soon(leave)
        await waiting(begun, ended)()

    with pytest.raises(Stopped):
        made.slot().run(work())
    assert made.told.wait(PATIENCE_S)
    assert made.ended_by == [fault]
    assert made.loop.closed
    assert ended == ["finally"]


def test_work_that_came_just_before_that_is_cancelled_too(made: Made) -> None:
    """It is let in, and not begun: it is not forgotten, which would leave who waits for it waiting for ever."""
    reached, go, ended = threading.Event(), threading.Event(), threading.Event()
    ran: list[str] = []

    def leave() -> None:
        reached.set()
        assert go.wait(PATIENCE_S)
        sys.exit(3)

    async def leaves() -> None:
        asyncio.get_running_loop().call_soon(leave)
        await asyncio.Event().wait()

    async def late() -> None:
        ran.append("begun")
        await asyncio.Event().wait()

    with concurrent.futures.ThreadPoolExecutor() as slots:
        first = slots.submit(made.slot().run, leaves())
        assert reached.wait(PATIENCE_S)
        work = Work(late(), ended.set)
        made.loop.start(work)
        go.set()
        with pytest.raises(Stopped):
            first.result(PATIENCE_S)
        assert ended.wait(PATIENCE_S)
    assert [type(fault) for fault in work.faults] == [asyncio.CancelledError]
    assert ran == ["begun"]
    made.loop.close(PATIENCE_S)
    assert work.cancel()


def test_work_that_is_cancelled_before_it_has_begun_never_begins(made: Made) -> None:
    """And whoever waits for it hears of its end."""
    reached, go, ended = threading.Event(), threading.Event(), threading.Event()

    async def blocks() -> None:
        reached.set()
        assert go.wait(PATIENCE_S)

    async def never() -> None:
        raise AssertionError("never")

    with concurrent.futures.ThreadPoolExecutor() as slots:
        first = slots.submit(made.slot().run, blocks())
        assert reached.wait(PATIENCE_S)
        work = Work(never(), ended.set)
        made.loop.start(work)
        assert work.cancel()
        go.set()
        first.result(PATIENCE_S)
        assert ended.wait(PATIENCE_S)
    assert [type(fault) for fault in work.faults] == [asyncio.CancelledError]
