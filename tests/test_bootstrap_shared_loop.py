"""The loop that slots share: it runs their work, and what their work says is said by their threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from lambda_wire.bootstrap.shared_loop import SharedLoop, SlotLoop
from lambda_wire.bootstrap.stopping import Stopped
from tests.running_local import PATIENCE_S
from tests.slot_parts import our_threads


class Made:
    """A shared loop, and what has ended it."""

    def __init__(self) -> None:
        self.ended_by: list[BaseException] = []
        self.told = threading.Event()
        self.shared = SharedLoop(self._take)

    def _take(self, fault: BaseException) -> None:
        self.ended_by.append(fault)
        self.told.set()


@pytest.fixture
def made() -> Iterator[Made]:
    """A loop that is closed afterwards, and leaves no thread."""
    found = Made()
    yield found
    found.shared.close(PATIENCE_S)
    assert our_threads() == []


def test_a_loop_that_nobody_needs_is_never_made(made: Made) -> None:
    """Plain handlers pay for no thread."""
    SlotLoop(made.shared)
    assert our_threads() == []
    made.shared.close(PATIENCE_S)
    made.shared.close(PATIENCE_S)
    assert made.shared.closed


def test_slots_share_one_loop_in_one_thread(made: Made) -> None:
    """Whoever needs it first; all at once, too."""
    seen: set[tuple[asyncio.AbstractEventLoop, int]] = set()
    together = threading.Barrier(8)

    async def work() -> None:
        seen.add((asyncio.get_running_loop(), threading.get_ident()))

    def slot() -> None:
        together.wait(PATIENCE_S)
        SlotLoop(made.shared).run(work())

    with concurrent.futures.ThreadPoolExecutor(8) as slots:
        for done in [slots.submit(slot) for _ in range(8)]:
            done.result(PATIENCE_S)
    assert len(seen) == 1
    assert threading.get_ident() not in {ident for _, ident in seen}
    assert our_threads() == ["lambda-wire-loop"]


@pytest.mark.parametrize(
    "fault", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), TimeoutError()]
)
def test_what_work_raises_is_raised_to_its_slot(made: Made, fault: BaseException) -> None:
    """Whatever it is, it does not end the loop: others run there."""

    async def work() -> None:
        raise fault

    slot = SlotLoop(made.shared)
    for _ in range(2):
        with pytest.raises(type(fault)) as caught:
            slot.run(work())
        assert caught.value is fault
    assert not made.shared.closed
    assert made.ended_by == []


def test_what_is_posted_is_said_by_the_thread_of_the_slot(made: Made) -> None:
    """In the order in which it was posted, with the context variables of the slot; the poster has what it gives."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the slot")
    said: list[object] = []

    def say(what: int) -> int:
        said.append((what, threading.get_ident(), variable.get()))
        return what * 2

    slot = SlotLoop(made.shared)

    async def work() -> None:
        variable.set("of the work")
        for what in range(3):
            assert await slot.post(lambda what=what: say(what)) == what * 2  # type: ignore[misc]  # the default
        assert await asyncio.gather(*(slot.post(lambda what=what: say(what)) for what in (3, 4))) == [6, 8]  # type: ignore[misc]  # the same

    slot.run(work())
    assert said == [(what, threading.get_ident(), "of the slot") for what in range(5)]
    assert variable.get() == "of the slot"


@pytest.mark.parametrize("fault", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), TimeoutError()])
def test_what_saying_raises_is_raised_to_who_posted(made: Made, fault: BaseException) -> None:
    """It may catch it and post again."""
    slot = SlotLoop(made.shared)
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


def test_what_nobody_waits_for_any_more_is_not_said(made: Made) -> None:
    """Who was cancelled before his words were said has not said them; the next one's are."""
    slot, said = SlotLoop(made.shared), list[str]()
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


def waiting(begun: threading.Event, ended: list[str]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("finally")

    return work


def test_closing_cancels_what_runs_and_says_why(made: Made) -> None:
    """``finally`` clauses run; the slot is told that the runtime has ended, and nothing runs any more."""
    begun, ended = threading.Event(), list[str]()
    slot = SlotLoop(made.shared)
    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(slot.run, waiting(begun, ended)())
        assert begun.wait(PATIENCE_S)
        made.shared.close(PATIENCE_S)
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
        running = slots.submit(SlotLoop(made.shared).run, work())
        assert begun.wait(PATIENCE_S)
        made.shared.close(PATIENCE_S)
        with pytest.raises(LookupError, match="in finally"):
            running.result(PATIENCE_S)


def test_work_may_speak_while_it_is_cancelled(made: Made) -> None:
    """Its slot listens until it has ended."""
    begun, said = threading.Event(), list[str]()
    slot = SlotLoop(made.shared)

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await slot.post(lambda: said.append("last words"))

    with concurrent.futures.ThreadPoolExecutor() as slots:
        running = slots.submit(slot.run, work())
        assert begun.wait(PATIENCE_S)
        made.shared.close(PATIENCE_S)
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
        running = slots.submit(SlotLoop(made.shared).run, work())
        assert begun.wait(PATIENCE_S)
        made.shared.close(0)
        assert our_threads() == ["lambda-wire-loop"]
        go.set()
        running.result(PATIENCE_S)


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_that_no_slot_waits_for_may_end_the_process(made: Made, fault: BaseException) -> None:
    """What else runs is cancelled; the slots are told."""
    begun, ended = threading.Event(), list[str]()

    def leave() -> None:
        raise fault

    async def work() -> None:
        asyncio.get_running_loop().call_soon(leave)
        await waiting(begun, ended)()

    with pytest.raises(Stopped):
        SlotLoop(made.shared).run(work())
    assert made.told.wait(PATIENCE_S)
    assert made.ended_by == [fault]
    assert made.shared.closed
    assert ended == ["finally"]


def test_work_that_came_just_before_that_is_cancelled_too(made: Made) -> None:
    """It is let in, and not begun: it is not forgotten, which would leave its slot waiting for ever."""
    reached, go, ran = threading.Event(), threading.Event(), list[str]()

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
        first = slots.submit(SlotLoop(made.shared).run, leaves())
        assert reached.wait(PATIENCE_S)
        faults: list[BaseException] = []
        second = made.shared.start(late(), faults)
        go.set()
        with pytest.raises(Stopped):
            first.result(PATIENCE_S)
        second.result(PATIENCE_S)
    assert [type(fault) for fault in faults] == [asyncio.CancelledError]
    assert ran == ["begun"]
