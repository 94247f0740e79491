"""A runtime that was started, told of calls: what is seen of it, when its time has passed, and what it is told then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import pytest

from lambda_wire import _limits as limits
from lambda_wire._errors import StreamInterrupted
from lambda_wire._events import Accepted, Refused
from lambda_wire._lifecycle import TOO_LATE
from lambda_wire.asyncio import ResponseStream, connect
from lambda_wire.local import launched
from lambda_wire.local.call import _PIECES_AHEAD, Call, Failure
from lambda_wire.local.handover import Handover
from lambda_wire.local.launched import LaunchedRuntime, Seen
from lambda_wire.local.modes import ManagedMode, Mode, StandardMode
from lambda_wire.local.runtime_api import _Conversation
from tests.local_bench import PATIENCE_S, PREFIX, Idle

T = TypeVar("T")
Test: TypeAlias = "Callable[[Room], Awaitable[None]]"

ARN = "arn:aws:lambda:us-east-1:1:function:f"
MODES = pytest.mark.parametrize("mode", [StandardMode, ManagedMode])


class Clocked(LaunchedRuntime):
    """One whose deadlines pass when the test says so."""

    late: asyncio.Event

    async def watch(self, what: asyncio.Future[T], seconds: float) -> Seen:
        passed = asyncio.ensure_future(self.late.wait())
        watching = asyncio.ensure_future(super().watch(what, PATIENCE_S))
        try:
            done, _ = await asyncio.wait({passed, watching}, return_when=asyncio.FIRST_COMPLETED)
            return watching.result() if watching in done else await super().watch(what, 0)
        finally:
            passed.cancel()
            watching.cancel()


class Room:
    """A runtime in a mode, and calls for it.

    Attributes:
        runtime: What is tried.
    """

    def __init__(self, runtime: Clocked) -> None:
        self.runtime = runtime

    @property
    def address(self) -> str:
        return self.runtime.api.address

    def run(
        self, request_id: str = "a", *, timeout_s: float = PATIENCE_S, max_stream: int = 100
    ) -> tuple[Call, asyncio.Task[Seen]]:
        """Give it a call of its own."""
        call = Call(b"{}", request_id=request_id, max_stream=max_stream)
        return call, self.give(call, timeout_s=timeout_s)

    def give(self, call: Call, *, timeout_s: float = PATIENCE_S) -> asyncio.Task[Seen]:
        """Give it a call."""
        invocation = call.invocation(function_arn=ARN, invocation_id=self.runtime.fresh_invocation_id())
        handover = Handover(call, invocation, timeout_s=timeout_s)
        return asyncio.ensure_future(self.runtime.run(handover, timeout_s))

    async def pass_deadlines(self, seen: asyncio.Task[Seen]) -> Seen:
        """Let those pass that are under way; return what is seen by that."""
        self.runtime.late.set()
        verdict = await seen
        self.runtime.late.clear()
        return verdict


async def launch(address: str, hear: Callable[[bytes], None]) -> Idle:
    """Start nothing: the test is the runtime."""
    return Idle()


def try_on(mode: Callable[[], Mode], test: Test) -> None:
    """Run a test; nothing that serves the runtime may fail meanwhile."""
    faults: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        runtime = await Clocked.start(mode(), launch, lambda _: None)
        runtime.late = asyncio.Event()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await test(Room(runtime))
        finally:
            await runtime.end()
        gc.collect()

    asyncio.run(main())
    assert faults == []


# -- what is seen


@MODES
def test_done_when_the_environment_is(mode: Callable[[], Mode]) -> None:
    """With the answer in managed mode, with the next poll in standard mode (RT-MANAGED-4, RT-STATE-1)."""

    async def test(room: Room) -> None:
        async with connect(room.address) as runtime:
            call, seen = room.run()
            assert await runtime.respond(await runtime.next_invocation(), b"1") == Accepted()
            room.run("b")
            await runtime.next_invocation()
            assert await seen is Seen.DONE
            assert (call.ended, call.failure, await call.rest()) == (True, None, b"1")

    try_on(mode, test)


@MODES
def test_nothing_when_no_poll_comes(mode: Callable[[], Mode]) -> None:
    """The call is taken back: the poll that comes has the next one."""

    async def test(room: Room) -> None:
        assert await room.pass_deadlines(room.run("a")[1]) is Seen.NOTHING
        async with connect(room.address) as runtime:
            room.run("b")
            assert (await runtime.next_invocation()).request_id == "b"

    try_on(mode, test)


@MODES
def test_ended_when_the_worker_is(mode: Callable[[], Mode]) -> None:
    """Before it was told of the call, and while it answers that."""

    async def test(room: Room) -> None:
        call, seen = room.run()
        async with connect(room.address) as runtime:
            await runtime.stream(await runtime.next_invocation(), b"half")
            assert await call.next_piece() == b"half"
            await room.runtime.worker.kill()
        assert await seen is Seen.ENDED
        assert await room.run("b")[1] is Seen.ENDED

    try_on(mode, test)


@MODES
def test_the_last_words_of_a_worker_that_has_ended_count(mode: Callable[[], Mode]) -> None:
    """They may still be on their way when it has."""

    async def test(room: Room) -> None:
        call, seen = room.run()
        async with connect(room.address) as runtime:
            response = await runtime.stream(await runtime.next_invocation(), b"half")
            assert await call.next_piece() == b"half"
            await room.runtime.worker.kill()
            await response.finish()
        assert await seen is (Seen.DONE if room.runtime.outlives_deadlines else Seen.ENDED)
        assert (call.ended, call.failure) == (True, None)

    try_on(mode, test)


@pytest.mark.parametrize(("mode", "verdict"), [(StandardMode, Seen.NOTHING), (ManagedMode, Seen.ENDED)])
def test_nobody_waits_for_ever_for_last_words(
    monkeypatch: pytest.MonkeyPatch, mode: Callable[[], Mode], verdict: Seen
) -> None:
    """A process that the worker has left behind may hold its connection: until the deadline, or for a while."""
    monkeypatch.setattr(launched, "LAST_WORDS_S", 0.01)

    async def test(room: Room) -> None:
        call, seen = room.run(timeout_s=0.01)
        async with connect(room.address) as runtime:
            await runtime.stream(await runtime.next_invocation(), b"half")
            assert await call.next_piece() == b"half"
            await room.runtime.worker.kill()
            assert await seen is verdict

    try_on(mode, test)


@MODES
def test_an_answer_that_was_lost_is_the_end_of_the_worker_or_is_not(
    monkeypatch: pytest.MonkeyPatch, mode: Callable[[], Mode]
) -> None:
    """Whether the connection was closed by its end is known soon after (RS-END-6)."""
    monkeypatch.setattr(launched, "LAST_WORDS_S", 0.01)

    async def test(room: Room) -> None:
        call, seen = room.run()
        async with connect(room.address) as runtime:
            await runtime.stream(await runtime.next_invocation(), b"half")
        async with connect(room.address) as runtime:
            room.run("b")
            await runtime.next_invocation()
            assert (await seen, call.ended) == (Seen.DONE, False)

    try_on(mode, test)


def test_what_cannot_be_started_leaves_no_port() -> None:
    """Its Runtime API is closed again."""

    async def fail(address: str, hear: Callable[[bytes], None]) -> Idle:
        addresses.append(address)
        raise FileNotFoundError("no such command")

    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await LaunchedRuntime.start(StandardMode(), fail, lambda _: None)
        host, _, port = addresses[0].partition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

    addresses: list[str] = []
    asyncio.run(main())


# -- deadlines midway


def test_in_standard_mode_nothing_is_said() -> None:
    """The runtime is about to be killed (ER-EXIT-6)."""

    async def test(room: Room) -> None:
        async with connect(room.address) as runtime:
            call, seen = room.run()
            response = await runtime.stream(await runtime.next_invocation(), b"half")
            assert await call.next_piece() == b"half"
            assert await room.pass_deadlines(seen) is Seen.NOTHING
            await response.write(b"more")
            assert await call.next_piece() == b"more"

    try_on(StandardMode, test)


def answer_head(request_id: str, what: str) -> bytes:
    """Return the head of an answer of five bytes."""
    path = f"{PREFIX}/invocation/{request_id}/{what}"
    return f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()


async def until_asked_for(reader: asyncio.StreamReader) -> None:
    """Wait until an answer that was begun is heard."""
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"


@contextmanager
def refused_late() -> Generator[None, None, None]:
    """The stream is refused, and its writer knows why."""
    with pytest.raises(StreamInterrupted) as caught:
        yield
    assert caught.value.answer == TOO_LATE


async def write_on(response: ResponseStream) -> None:
    while True:
        await response.write(bytes(65_536))


def test_a_managed_stream_is_refused() -> None:
    """Its caller has what came in time; the slot polls on, and another's stream is not touched (RS-END-7)."""

    async def test(room: Room) -> None:
        async with connect(room.address) as slot, connect(room.address) as other:
            call, seen = room.run("a")
            response = await slot.stream(await slot.next_invocation(), b"half")
            assert await call.next_piece() == b"half"
            assert await room.pass_deadlines(seen) is Seen.NOTHING
            assert not call.ended  # the environment says why
            untouched, seen_too = room.run("b")
            going_on = await other.stream(await other.next_invocation(), b"half")
            with refused_late():
                await write_on(response)
            again, seen_again = room.run("a")
            assert await slot.respond(await slot.next_invocation(), b"1") == Accepted()
            await going_on.write(b" and half")
            assert await going_on.finish() == Accepted()
            assert {await seen_again, await seen_too} == {Seen.DONE}
            assert (await again.rest(), await untouched.rest()) == (b"1", b"half and half")

    try_on(ManagedMode, test)


def test_a_managed_stream_whose_caller_does_not_read_is_refused() -> None:
    """It is his own time that runs."""

    async def test(room: Room) -> None:
        async with connect(room.address) as slot:
            call, seen = room.run(max_stream=limits.MAX_STREAM)
            response = await slot.stream(await slot.next_invocation())
            writing = asyncio.ensure_future(write_on(response))
            while len(call._pieces) < _PIECES_AHEAD:
                await asyncio.sleep(0)
            assert await room.pass_deadlines(seen) is Seen.NOTHING
            with refused_late():
                await writing

    try_on(ManagedMode, test)


@pytest.mark.parametrize("what", ["response", "error"])
def test_a_managed_answer_that_is_not_whole_is_refused(what: str) -> None:
    """And its connection ended: 410, as to one that begins too late (RT-MANAGED-6, RS-EARLY-1)."""

    async def test(room: Room) -> None:
        _, seen = room.run("a")
        async with connect(room.address) as slot:
            invocation = await slot.next_invocation()
            reader, writer = await asyncio.open_connection(*room.address.split(":"))
            writer.write(answer_head("a", what) + b"wh")
            await until_asked_for(reader)
            assert await room.pass_deadlines(seen) is Seen.NOTHING
            refusal = await reader.read()
            writer.close()
            assert refusal.startswith(b"HTTP/1.1 410 Gone\r\n")
            assert b"\r\nConnection: close\r\n" in refusal
            again = await slot.respond(invocation, b"1")
            assert isinstance(again, Refused)
            assert (again.status, again.error_type) == (400, "InvalidRequestID")

    try_on(ManagedMode, test)


def test_a_managed_answer_that_has_not_begun_is_late() -> None:
    """The runtime hears of it when it answers (RT-MANAGED-6)."""

    async def test(room: Room) -> None:
        async with connect(room.address) as slot:
            _, seen = room.run()
            invocation = await slot.next_invocation()
            assert await room.pass_deadlines(seen) is Seen.NOTHING
            assert await slot.respond(invocation, b"1") == TOO_LATE

    try_on(ManagedMode, test)


def test_a_managed_stream_that_has_ended_before_keeps_its_end() -> None:
    """One that is too large has ended for its caller, although the runtime has not heard of that yet (LI-STREAM-1)."""

    async def test(room: Room) -> None:
        async with connect(room.address) as slot:
            call, seen = room.run(max_stream=2)
            await slot.stream(await slot.next_invocation(), b"four")
            assert await call.rest() == b"fou"
            assert await room.pass_deadlines(seen) is Seen.DONE
            assert call.failure is not None
            assert call.failure.error_type == "Function.ResponseSizeTooLarge"

    try_on(ManagedMode, test)


def test_a_managed_answer_that_ends_as_the_deadline_passes_is_accepted() -> None:
    """Only its connection ends, and not a word more is said there."""

    class Raced(Call):
        def end(self, failure: Failure | None = None) -> None:
            super().end(failure)
            for conversation in conversations:
                conversation.expire("a")

    conversations: list[_Conversation] = []

    async def test(room: Room) -> None:
        async with connect(room.address) as slot:
            seen = room.give(Raced(b"{}", request_id="a"))
            await slot.next_invocation()
            reader, writer = await asyncio.open_connection(*room.address.split(":"))
            writer.write(answer_head("a", "response") + b"wh")
            await until_asked_for(reader)
            conversations.extend(room.runtime.api._conversations)
            writer.write(b"ole")
            said = await reader.read()
            writer.close()
            assert said.startswith(b"HTTP/1.1 202 Accepted\r\n")
            assert said.count(b"HTTP/1.1 ") == 1
            assert await seen is Seen.DONE

    try_on(ManagedMode, test)
