"""The loop of a runtime that runs one invocation at a time."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys

import pytest

from lambda_wire.bootstrap.loops import EventLoop
from tests.bootstrap_parts import environment

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_loop_that_nobody_needs_is_never_made() -> None:
    """Plain handlers pay for no asyncio."""
    code = "import sys; from lambda_wire.bootstrap.loops import EventLoop; EventLoop().close(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert "lambda_wire.bootstrap.loops" in done.stdout.split()
    assert "asyncio" not in done.stdout.split()


def test_it_is_kept_until_it_is_closed() -> None:
    """What a handler leaves running goes on with the next; closing cancels it. Then there may be another."""
    loops: list[asyncio.AbstractEventLoop] = []
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("finally")

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 1:
            tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    loop = EventLoop()
    loop.run(work())
    loop.run(work())
    assert (loops[0] is loops[1], ended) == (True, [])
    loop.close()
    assert ended == ["finally"]
    loop.close()
    loop.run(work())
    assert loops[2] is not loops[0]
    loop.close()


def test_work_has_the_context_variables_of_its_caller_and_keeps_its_own() -> None:
    """What it sets is seen by nobody else."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(variable.get())
        variable.set("of the work")

    loop = EventLoop()
    token = variable.set("of the caller")
    loop.run(work())
    loop.run(work())
    assert (seen, variable.get()) == (["of the caller"] * 2, "of the caller")
    variable.reset(token)
    loop.close()


def test_what_is_posted_is_said_here_and_now() -> None:
    """Nobody else waits."""
    said: list[int] = []
    loop = EventLoop()

    async def work() -> None:
        said.append(await loop.post(lambda: 7))
        with pytest.raises(LookupError):
            await loop.post(lambda: [][0])

    loop.run(work())
    loop.close()
    assert said == [7]


@pytest.mark.parametrize("fault", [ValueError("x"), asyncio.CancelledError("x"), GeneratorExit("x")])
def test_what_work_raises_is_raised(fault: BaseException) -> None:
    """The loop goes on, and so does what else runs in it."""

    async def work(raised: BaseException | None) -> None:
        if raised is not None:
            raise raised

    loop = EventLoop()
    with pytest.raises(type(fault)) as caught:
        loop.run(work(fault))
    assert caught.value is fault
    loop.run(work(None))
    loop.close()


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["handler", "loop"])
def test_what_ends_the_process_lets_everything_clean_up(fault: BaseException, where: str) -> None:
    """Before it is raised, wherever it came from: the handler, or, as a signal does, the loop itself."""
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("background")

    def leave() -> None:
        raise fault

    async def work() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        try:
            if where == "handler":
                leave()
            asyncio.get_running_loop().call_soon(leave)
            await task
        finally:
            ended.append("handler")

    loop = EventLoop()
    with pytest.raises(type(fault)):
        loop.run(work())
    assert sorted(ended) == ["background", "handler"]
    loop.close()
