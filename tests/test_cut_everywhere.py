"""Services that cut, split, stall and refuse at every byte of every conversation, through each of the drivers.

Every offset is tried, none is sampled: through the conversations alone, which need no socket, and through sockets.
"""

from __future__ import annotations

import functools
import inspect
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pytest

from lambda_wire import sync
from lambda_wire._errors import (
    CallRefused,
    ConnectionLost,
    LocalProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import Accepted, Invocation, NextAsked, Refused, RestoreAsked
from lambda_wire._invoke_events import InvokeAnswered, InvokeAsked
from lambda_wire._prelude import Prelude, encode_prelude
from tests.cut_services import (
    PIECES,
    CutLambda,
    CutRuntimeApi,
    CutService,
    Plan,
    Socketless,
    Trouble,
    call_refused,
    refused,
)
from tests.driver_parts import DRIVERS, Driver, LoopDriver
from tests.driver_services import RESET
from tests.running_local import PATIENCE_S
from tests.test_drivers_parity import documented

#: How long a wait lasts that is meant to be given up. Nothing depends on what has come until then.
SOON_S: Final = 0.001
STATUSES: Final = (413, 410, 400)
PRELUDE: Final = encode_prelude(Prelude(status_code=200, headers=(), cookies=()))
#: What may follow ``InvokeComplete`` unheard: the end of its chunk, and of the body.
TAIL: Final = len(b"\r\n0\r\n\r\n")
POLLS: Final = (NextAsked, RestoreAsked)
#: What a conversation may come to; that a method raises no other is looked at where it raises.
ENDS: Final = (ConnectionLost, StreamInterrupted, RequestRefused, CallRefused)


# -- conversations


async def poll(runtime: Any) -> object:
    return await runtime.next_invocation()


async def poll_again(runtime: Any) -> object:
    await respond(runtime)
    return await runtime.next_invocation()


async def restore(runtime: Any) -> object:
    return await runtime.next_restore()


async def respond(runtime: Any) -> object:
    return await runtime.respond(await runtime.next_invocation(), b"1")


async def stream(runtime: Any) -> object:
    response = await runtime.stream(await runtime.next_invocation(), PRELUDE, content_type="a/b")
    await response.write(*PIECES)
    return await response.finish()


async def fail(runtime: Any) -> object:
    response = await runtime.stream(await runtime.next_invocation())
    return await response.fail(error_type="E", error_body=b"{}")


async def report_error(runtime: Any) -> object:
    return await runtime.report_error(await runtime.next_invocation(), error_type="E", payload=b"{}")


async def report_init_error(runtime: Any) -> object:
    return await runtime.report_init_error(error_type="E", payload=b"{}")


async def report_restore_error(runtime: Any) -> object:
    await runtime.next_restore()
    return await runtime.report_restore_error(error_type="E", payload=b"{}")


async def invoke(caller: Any) -> object:
    answered: InvokeAnswered = await caller.invoke("f", b"1")
    return answered.payload


async def invoke_stream(caller: Any) -> object:
    answer = await caller.invoke_with_response_stream("f", b"1")
    return [chunk async for chunk in answer]


class Talk(NamedTuple):
    """A conversation that gets into trouble with one of its requests."""

    act: Callable[[Any], Awaitable[object]]
    request: int
    """Which: the first of a connection is 0."""
    good: object
    """What comes of it when all is well."""
    lost: str
    """What is said of a connection that was lost."""
    ends_all: bool = False
    """Whether nothing can be said after it."""

    @property
    def calls(self) -> bool:
        return self.act in (invoke, invoke_stream)

    @property
    def polls(self) -> bool:
        return self.act in (poll, poll_again, restore)

    @property
    def service(self) -> type[CutService]:
        return CutLambda if self.calls else CutRuntimeApi


UNKNOWN: Final = "whether it took the report is unknown"
CLOSED: Final = "closed a new connection instead of answering"
MAY_HAVE_RUN: Final = "the function may have run"
TALKS: Final = (
    Talk(poll, 0, Invocation, CLOSED),
    Talk(poll_again, 2, Invocation, CLOSED),
    Talk(restore, 0, None, CLOSED),
    Talk(respond, 1, Accepted(), UNKNOWN),
    Talk(stream, 1, Accepted(), UNKNOWN),
    Talk(fail, 1, Accepted(), UNKNOWN),
    Talk(report_error, 1, Accepted(), UNKNOWN),
    Talk(report_init_error, 0, Accepted(), UNKNOWN, ends_all=True),
    Talk(report_restore_error, 1, Accepted(), UNKNOWN, ends_all=True),
    Talk(invoke, 0, b"1", MAY_HAVE_RUN),
    Talk(invoke_stream, 0, [*PIECES], MAY_HAVE_RUN),
)


class Documented:
    """A user of a driver, or what it gave: no exception leaves it that its docstring does not name."""

    GIVES: Final[dict[str, type]] = {"stream": sync.ResponseStream, "invoke_with_response_stream": sync.StreamedAnswer}

    def __init__(self, real: Any, holder: type) -> None:
        self._real, self._holder = real, holder

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name, getattr(self._real, name))

    def __aiter__(self) -> Documented:
        return self

    async def __anext__(self) -> object:
        return await self._call("__next__", self._real.__anext__)

    async def _call(self, name: str, method: Any, *arguments: object, **options: object) -> object:
        try:
            result = await method(*arguments, **options)
        except Exception as fault:
            if type(fault).__name__ in raises(self._holder, name):
                raise
            raise AssertionError(f"{name} raised what it does not document") from fault
        return Documented(result, self.GIVES[name]) if name in self.GIVES else result


@functools.cache
def raises(holder: type, name: str) -> set[str]:
    """Return the exceptions that a method documents."""
    method = getattr(holder, name)
    waits = "TimeoutError:" in (inspect.getdoc(method) or "")
    return documented(method, "Raises") | ({"TimeoutError"} if waits else set())


# -- services on sockets


class Stage:
    """One address, and one thread behind it, for one service after the other.

    Attributes:
        service: Who serves each connection that is made now.
        stalled: Whether a service holds something back.
        go_on: Tells it to say that.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Final = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.service: CutService | None = None
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self._last: object = None
        """Who dials last, of those that dial for the service."""
        self._over = threading.Event()
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self.service = None
        self.wait()
        self._thread.join(PATIENCE_S)
        self._listener.close()
        assert not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until every connection that was made has ended, and with them the service has heard everything."""
        self._over.clear()
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()
            last.connect(self._listener.getsockname())
            assert self._over.wait(PATIENCE_S)
        if self._faults:
            raise self._faults.pop()

    def _run(self) -> None:
        while self._accept():
            pass

    def _accept(self) -> bool:
        """Serve one connection; say whether there may be another."""
        wire, peer = self._listener.accept()
        with wire:
            if peer == self._last:
                over = self.service is None
                self._over.set()
                return not over
            if self.service is not None:
                wire.settimeout(PATIENCE_S)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    self._serve(wire, self.service)
                except BaseException as fault:  # noqa: BLE001  # raised again in ``wait``
                    self._faults.append(fault)
        return True

    def _serve(self, wire: socket.socket, service: CutService) -> None:
        said = service.dialled()
        with suppress(ConnectionError):
            while True:
                for piece in said:
                    wire.sendall(piece)
                if service.held_back:
                    self.stalled.set()
                    assert self.go_on.wait(PATIENCE_S)
                    said, service.held_back = [service.held_back], b""
                    continue
                if service.ends:
                    self._end(wire, reset=service.plan.trouble.resets)
                    break
                if not (data := wire.recv(service.room())):
                    break
                said = service.hear(data)
        service.gone()

    def _end(self, wire: socket.socket, *, reset: bool) -> None:
        if reset:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        with suppress(OSError):  # the other end has reset it meanwhile
            wire.shutdown(socket.SHUT_WR)
        while wire.recv(65_536):
            pass  # whatever is still said is thrown away


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


# -- what must come of it


SOCKETLESS: Final = (Socketless("attentive", slow=True), Socketless("hasty", slow=False))
ON_SOCKETS: Final = tuple(driver for driver in DRIVERS if driver.name != "uvloop")
on_each_driver: Final = pytest.mark.parametrize("driver", [*SOCKETLESS, *ON_SOCKETS], ids=lambda driver: driver.name)
on_each_talk: Final = pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.act.__name__)


class Case:
    """One conversation with one trouble, through one driver."""

    def __init__(self, driver: Driver, stage: Stage, talk: Talk, plan: Plan, sizes: tuple[int, int] = (0, 0)) -> None:
        self.driver, self.stage, self.talk, self.plan = driver, stage, talk, plan
        self.request_size, self.answer_size = sizes
        self.service = talk.service(plan)

    async def run(self, act: Callable[[Any], Awaitable[None]]) -> None:
        """Connect, do as told, and see that the service has heard nothing that it may not hear."""
        if isinstance(self.driver, Socketless):
            self.driver.service = self.service
        else:
            self.stage.service = self.service
            self.stage.stalled.clear()
            self.stage.go_on.clear()
        if self.talk.calls:
            async with self.driver.connect_caller(f"http://{self.stage.address}", user_agent="t") as caller:
                await act(Documented(caller, sync.Caller))
        else:
            async with self.driver.connect(self.stage.address, user_agent="t") as runtime:
                await act(Documented(runtime, sync.Runtime))
        if not isinstance(self.driver, Socketless):
            self.stage.wait()
        assert self.service.violations == []

    async def hold(self, user: Any) -> None:
        """Hold the conversation, see that it comes to what it may, and go on."""
        try:
            outcome = await self.talk.act(user)
        except ENDS as fault:
            outcome = fault
        assert self.may_come_to(outcome), f"{self.plan}: {outcome!r}"
        again = self.service.connections > 1
        assert not again or (self.talk.request and (self.talk.polls or self.plan.at == 0)), f"{self.plan}: said twice"
        await self.go_on(user, outcome)

    def may_come_to(self, outcome: object) -> bool:
        trouble, at = self.plan.trouble, self.plan.at
        good = outcome == self.talk.good or (self.talk.good is Invocation and isinstance(outcome, Invocation))
        kept = self.talk.request > 0
        if trouble is Trouble.REFUSAL:
            return self.is_refused(outcome) or (good and kept and at == 0)
        if trouble.in_request:
            return (good and kept and (self.talk.polls or at == 0)) or (self.is_lost(outcome) and not self.is_kept_poll)
        whole = at >= self.answer_size - (TAIL if self.talk.act is invoke_stream else 0)
        if trouble is Trouble.SPLIT or (trouble is Trouble.ANSWER_FIN and whole) or self.is_kept_poll:
            return good
        return self.is_lost(outcome) or (whole and good)

    @property
    def is_kept_poll(self) -> bool:
        """Whether it is a poll that is asked again when its connection ends: it was kept from before (RT-NEXT-25)."""
        return self.talk.polls and self.talk.request > 0

    def is_refused(self, outcome: object) -> bool:
        ours = refused(self.plan.status)
        match outcome:
            case Refused():
                return outcome == ours and not self.talk.polls
            case StreamInterrupted():
                return outcome.answer == ours and self.talk.act in (stream, fail)
            case RequestRefused():
                return outcome.refusal == ours and self.talk.polls
            case CallRefused():
                return outcome.refusal == call_refused(self.plan.status)
            case _:
                return False

    def is_lost(self, outcome: object) -> bool:
        if isinstance(outcome, StreamInterrupted):
            return outcome.answer is None and self.talk.act in (stream, fail)
        if isinstance(outcome, ConnectionLost) and outcome.nothing_sent:  # a reset that came while it was dialled
            return self.plan.trouble is Trouble.REQUEST_RST and self.plan.at == self.talk.request == 0
        return isinstance(outcome, ConnectionLost) and self.talk.lost in str(outcome)

    async def go_on(self, user: Any, outcome: object) -> None:
        """See that the next thing works, that nothing was taken twice, and nothing lost that nobody was told of."""
        if self.talk.calls:
            if self.plan.trouble in (Trouble.ANSWER_FIN, Trouble.ANSWER_RST):
                with suppress(ConnectionLost):  # of an answer that was whole: who calls next may be too early to see it
                    await user.invoke("f", b"0")
            assert (await user.invoke("f", b"2")).payload == b"2"
            calls = [event.payload for event in self.service.heard if isinstance(event, InvokeAsked)]
            assert calls.count(b"1") <= 1
            assert calls.count(b"2") == 1
            return
        if isinstance(outcome, ConnectionLost) and outcome.nothing_sent:
            outcome = await self.talk.act(user)
        if self.talk.ends_all:
            for say in (self.talk.act, poll):
                with pytest.raises(LocalProtocolError):
                    await say(user)
            assert self.service.accepted[""] <= 1
            return
        held = await user.next_invocation()
        assert await user.respond(held, b"2") == Accepted()
        accepted = self.service.accepted
        assert max(accepted.values()) == 1
        told = isinstance(outcome, (*ENDS, Refused))
        assert set(accepted) >= set(self.service.given[1:] if told else self.service.given)
        assert accepted[held.request_id] == 1

    # -- stalls

    async def stall(self, user: Any) -> None:
        """Give up in the middle of the answer: a poll stays open and is resumed, a call is given up."""
        timed = {} if isinstance(self.driver, LoopDriver) else {"timeout": SOON_S}
        if self.talk.act is invoke:
            await self.gives_up(functools.partial(user.invoke, "f", b"1", **timed))
            self.stage.go_on.set()
            await self.go_on(user, None)
            return
        if self.talk.act is poll_again:
            await respond(user)
        wait = user.next_restore if self.talk.act is restore else user.next_invocation
        for _ in range(1 if isinstance(self.driver, Socketless) else 2):
            await self.gives_up(functools.partial(wait, **timed))
            assert isinstance(self.driver, Socketless) or self.stage.stalled.wait(PATIENCE_S)
        self.stage.go_on.set()
        outcome = await wait()
        assert self.service.connections == 1
        assert len([event for event in self.service.heard if isinstance(event, POLLS)]) == 1 + (self.talk.request > 0)
        await self.go_on(user, outcome)

    async def stall_stream(self, user: Any) -> None:
        """Give up in the middle of a streamed answer: one that has begun is read on, every chunk once."""
        timed = {} if isinstance(self.driver, LoopDriver) else {"timeout": SOON_S}
        opened: list[Any] = []
        chunks: list[bytes] = []
        whole: list[bool] = []

        async def read() -> None:
            if not opened:
                opened.append(await user.invoke_with_response_stream("f", b"1", **timed))
            async for chunk in opened[0]:
                chunks.append(chunk)  # noqa: PERF401  # what came before it was given up counts
            whole.append(True)

        await self.gives_up(read)
        self.stage.go_on.set()
        while opened and not whole:
            with suppress(TimeoutError):
                await read()
        assert chunks == ([*PIECES] if opened else [])
        await self.go_on(user, None)

    async def gives_up(self, act: Callable[[], Awaitable[object]]) -> None:
        if isinstance(self.driver, LoopDriver):
            assert await self.driver.cancelled_when(act, self.until_stalled) == []
        else:
            with pytest.raises(TimeoutError):
                await act()

    async def until_stalled(self) -> None:
        """Wait until the beginning of the answer was sent, and give it some rounds to be read."""
        assert isinstance(self.driver, LoopDriver)
        while not self.stage.stalled.is_set():
            await self.driver.pause()
        for _ in range(5):
            await self.driver.pause()


def measure(talk: Talk, address: str) -> tuple[int, int]:
    """Return how many bytes the request in question has, and its answer."""
    driver = SOCKETLESS[0]
    driver.service = talk.service(Plan())

    async def hold() -> object:
        if talk.calls:
            async with driver.connect_caller(f"http://{address}", user_agent="t") as caller:
                return await talk.act(caller)
        async with driver.connect(address, user_agent="t") as runtime:
            return await talk.act(runtime)

    driver.run(hold)
    return driver.service.sizes[talk.request]


def plans(talk: Talk, sizes: tuple[int, int]) -> Iterator[Plan]:
    """Yield every trouble at every byte; statuses in turn."""
    for trouble in Trouble:
        if trouble not in (Trouble.NONE, Trouble.STALL):
            for at in range(sizes[not trouble.in_request] + 1):
                yield Plan(trouble, talk.request, at, STATUSES[at % len(STATUSES)])


@on_each_talk
@on_each_driver
def test_trouble_at_every_byte(driver: Driver, talk: Talk, stage: Stage) -> None:
    """Cut, reset, split or refused anywhere: what was lost is told, never repeated, and the next thing works.

    RT-CONN-18 and RT-RESP-15 of reports, RT-NEXT-25 of polls, RS-EARLY-3 of streams.
    """
    driver.need()
    sizes = measure(talk, stage.address)

    async def hold() -> None:
        for plan in plans(talk, sizes):
            case = Case(driver, stage, talk, plan, sizes)
            await case.run(case.hold)

    driver.run(hold)


@pytest.mark.parametrize(
    "talk", [talk for talk in TALKS if talk.polls or talk.calls], ids=lambda talk: talk.act.__name__
)
@on_each_driver
def test_a_stall_at_every_byte(driver: Driver, talk: Talk, stage: Stage) -> None:
    """Half an answer, and nothing more until the service is told to go on: who gave up loses nothing (RT-NEXT-2)."""
    driver.need()
    sizes = measure(talk, stage.address)
    end = sizes[1] - (TAIL if talk.act is invoke_stream else 0)

    async def hold() -> None:
        for at in range(end):
            case = Case(driver, stage, talk, Plan(Trouble.STALL, talk.request, at), sizes)
            await case.run(case.stall_stream if talk.act is invoke_stream else case.stall)

    driver.run(hold)
