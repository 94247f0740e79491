"""Cancellation is exact, on asyncio, uvloop and trio: at chosen moments, and at ten thousand random ones."""

from __future__ import annotations

import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from types import NoneType
from typing import Any, Final, TypeVar

import pytest

from lambda_wire._errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    ErrorReported,
    Invocation,
    NextAsked,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreReady,
)
from lambda_wire._facade import Caller, ResponseStream, Runtime
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._line import Waits
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._state import State
from lambda_wire._transport import AsyncWire
from tests.driver_parts import LOOPS, LoopDriver, WatchedLoop, is_hung_up, on_every_loop, wire_of
from tests.driver_services import (
    HUGE,
    INVOCATION,
    Peer,
    Way,
    accept,
    assert_nobody_dials,
    runtime_of,
    service,
    until_heard,
)
from tests.running_local import PATIENCE_S

T = TypeVar("T")
#: Of each loop, in parts that can fail alone.
SEEDS: Final = range(10)
CANCELLATIONS: Final = 1_000


def when_it_waits(driver: LoopDriver, user: Runtime | Caller, wait: str) -> Callable[[], Awaitable[object]]:
    """Return what returns when ``user`` begins to wait so from now on."""
    reached: list[str] = []
    WatchedLoop.of(user, reached.append)

    async def until() -> None:
        while wait not in reached:
            await driver.pause()

    return until


# -- at chosen moments


@on_every_loop
async def test_a_cancelled_poll_is_resumed_and_never_asked_twice(driver: LoopDriver) -> None:
    """Who comes back for it asks nothing; no other report takes its place, and the loop forgets the socket."""
    resumed = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            assert resumed.wait(PATIENCE_S)
            held.say(INVOCATION)
            assert held.hear() == BufferedResponse(request_id="id-1", payload=b"1")
            held.say(Accepted())
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        for _ in range(3):
            assert not await driver.cancelled_when(runtime.next_invocation, when_it_waits(driver, runtime, "readable"))
            assert not driver.watches(wire_of(runtime))
        with pytest.raises(LocalProtocolError, match="AWAITING"):
            await runtime.report_init_error(error_type="Runtime.X", payload=b"{}")
        resumed.set()
        assert await runtime.respond(await runtime.next_invocation(), b"1") == Accepted()


@on_every_loop
async def test_a_cancelled_restore_poll_is_resumed_and_never_asked_twice(driver: LoopDriver) -> None:
    """As a poll for an invocation is; and that does not take its place."""
    resumed = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, StandardLifecycle(snap_start=True))).wire:
            assert held.hear() == RestoreAsked()
            assert resumed.wait(PATIENCE_S)
            held.say(RestoreReady())
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        for _ in range(3):
            assert not await driver.cancelled_when(runtime.next_restore, when_it_waits(driver, runtime, "readable"))
            assert not driver.watches(wire_of(runtime))
        with pytest.raises(LocalProtocolError, match="AWAITING"):
            await runtime.next_invocation()
        resumed.set()
        await runtime.next_restore()
        assert await runtime.next_invocation() == INVOCATION


@on_every_loop
async def test_an_answer_that_was_not_waited_for_is_heard_by_the_next(driver: LoopDriver) -> None:
    """A response that went out whole is not sent twice, nor is its connection given up."""
    cancelled = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert held.hear() == BufferedResponse(request_id="id-1", payload=b"1")
            assert cancelled.wait(PATIENCE_S)
            held.say(Accepted())
            assert held.hear() == NextAsked()
            held.say(INVOCATION)

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        until = when_it_waits(driver, runtime, "readable")
        assert not await driver.cancelled_when(lambda: runtime.respond(invocation, b"1"), until)
        cancelled.set()
        with pytest.raises(LocalProtocolError):
            await runtime.report_error(invocation, error_type="Function.X", payload=b"{}")
        assert await runtime.next_invocation() == INVOCATION


@pytest.mark.parametrize("streamed", [False, True])
@on_every_loop
async def test_a_cancelled_write_breaks_its_connection(driver: LoopDriver, streamed: bool) -> None:
    """The generator that feeds it is closed, nothing follows on that connection, and the next call dials anew."""
    broken, closed = threading.Event(), []

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert broken.wait(PATIENCE_S)
            heard: list[object] = [None]
            with suppress(RemoteProtocolError):  # the end comes in the middle
                while isinstance(heard[-1], (ResponseStarted, ResponseChunk, NoneType)):
                    heard.append(held.hear())
            assert {type(event) for event in heard[1:]} <= {ResponseStarted, ResponseChunk}
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)

    def body() -> Generator[bytes, None, None]:
        try:
            while True:
                yield bytes(65_536)
        finally:
            closed.append("closed")

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        until = when_it_waits(driver, runtime, "readable_or_writable")
        streams: list[Any] = []

        async def answer() -> None:
            if not streamed:
                await runtime.respond(invocation, bytes(HUGE))
                return
            streams.append(await runtime.stream(invocation))
            with closing(body()) as pieces:
                for piece in pieces:
                    await streams[0].write(piece)

        assert not await driver.cancelled_when(answer, until)
        assert not driver.watches(wire_of(runtime))
        assert closed == ["closed"] * streamed
        broken.set()
        for stream in streams:
            for call in (lambda s=stream: s.write(b"x"), stream.finish):
                with pytest.raises(LocalProtocolError, match="the stream has ended"):
                    await call()
        with pytest.raises(LocalProtocolError):  # the wire knows of one answer to each invocation
            await runtime.report_error(invocation, error_type="Function.X", payload=b"{}")
        assert await runtime.next_invocation() == INVOCATION


@on_every_loop
async def test_a_cancelled_stream_of_a_caller(driver: LoopDriver) -> None:
    """The next chunk is had by who comes back for it; a whole answer that was not waited for is given up."""
    resumed = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"))
            assert resumed.wait(PATIENCE_S)
            held.say(PayloadChunk(payload=b"b"), InvokeComplete())
            assert held.hear() == InvokeAsked(function_name="f", payload=b"1")
            assert held.receive() == b""
        with (held := Peer(listener.accept()[0])).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=b"2")
            held.say(InvokeAnswered(payload=b"2"))

    async with Way().caller_of(driver, script) as caller:
        answer = await caller.invoke_with_response_stream("f")
        assert await anext(answer) == b"a"
        assert not await driver.cancelled_when(answer.__anext__, when_it_waits(driver, caller, "readable"))
        resumed.set()
        assert [chunk async for chunk in answer] == [b"b"]
        until = when_it_waits(driver, caller, "readable")
        assert not await driver.cancelled_when(lambda: caller.invoke("f", b"1"), until)
        assert not driver.watches(wire_of(caller))
        assert (await caller.invoke("f", b"2")).payload == b"2"


@on_every_loop
async def test_closing_is_done_even_when_cancelled(driver: LoopDriver) -> None:
    """The end of ``async with`` runs in the scope that was cancelled."""

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            held.hear()
            held.say(InvokeAccepted())
            assert held.wire.recv(1) == b""

    async with Way().caller_of(driver, script) as caller:

        async def read() -> None:
            async with await caller.invoke_with_response_stream("f") as answer:
                until.append(when_it_waits(driver, caller, "readable"))
                async for _ in answer:
                    pass

        until: list[Callable[[], Awaitable[object]]] = []

        async def waits() -> None:
            while not until:
                await driver.pause()
            await until[0]()

        assert not await driver.cancelled_when(read, waits)
        assert is_hung_up(caller)


# -- inside a dial


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that answers nothing: its queue of connections is full."""
    if sys.platform != "linux":
        pytest.skip("only Linux is known to drop what finds the queue full")
    filling: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        try:
            while True:
                filling.append(socket.socket())
                filling[-1].setblocking(False)
                filling[-1].connect_ex(listener.getsockname())
                try:
                    filling[-1].getpeername()
                except OSError:  # it waits, and so will whoever comes after it
                    break
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for wire in filling:
                wire.close()


@on_every_loop
async def test_a_dial_into_a_black_hole(driver: LoopDriver) -> None:
    """The caller's own timeout ends it, or a cancellation; nothing is left open, and nothing was sent."""
    with black_hole() as address:
        async with driver.connect(address) as runtime:
            assert not await driver.within(0.01, runtime.next_invocation)
            assert is_hung_up(runtime)
            assert not await driver.cancelled_when(runtime.next_invocation, when_it_waits(driver, runtime, "writable"))
            assert is_hung_up(runtime)


@pytest.mark.parametrize("scheme", ["http", "https"])
@on_every_loop
async def test_closing_ends_a_dial(driver: LoopDriver, scheme: str) -> None:
    """Whoever dials into a black hole is woken, and told why."""
    with black_hole() as address:
        caller = driver.connect_caller(f"{scheme}://{address}")
        until = when_it_waits(driver, caller, "writable")

        async def first() -> None:
            with pytest.raises(ConnectionLost, match="this caller was closed"):
                await caller.invoke("f")
            assert is_hung_up(caller)

        async def second() -> None:
            await until()
            await caller.close()

        await driver.at_once(first, second)


@on_every_loop
async def test_an_invocation_whose_answer_could_not_be_dialled_can_be_reported(driver: LoopDriver) -> None:
    """Nothing was sent of a response whose dial was cancelled: ``/error`` is still open."""
    environment = StandardLifecycle()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, environment)).wire:
            held.hear()
            held.say(INVOCATION)
        with (held := accept(listener, environment)).wire:
            assert held.hear() == ErrorReported(request_id="id-1", error_type="Function.X", payload=b"{}")
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        there = runtime._wire._service
        runtime._session.fresh_s = 0.0  # so that it looks, and finds that it has to dial
        with black_hole() as address, pytest.MonkeyPatch.context() as patch:
            until_heard(wire_of(runtime))
            patch.setattr(runtime._wire, "_service", driver.connect(address)._wire._service)
            until = when_it_waits(driver, runtime, "writable")
            assert not await driver.cancelled_when(lambda: runtime.respond(invocation, b"1"), until)
        assert runtime._wire._service is there
        assert await runtime.report_error(invocation, error_type="Function.X", payload=b"{}") == Accepted()


@on_every_loop
async def test_a_cancelled_handshake(driver: LoopDriver) -> None:
    """A service that accepts and says nothing: the socket is closed, and the caller can try again."""

    def script(listener: socket.socket) -> None:
        for _ in range(2):
            with listener.accept()[0] as wire:
                wire.settimeout(PATIENCE_S)
                while wire.recv(65_536):
                    pass

    with service(script) as address:
        async with driver.connect_caller(f"https://{address}") as caller:
            for _ in range(2):
                until = when_it_waits(driver, caller, "readable")
                assert not await driver.cancelled_when(lambda: caller.invoke("f"), until)
                assert is_hung_up(caller)


@on_every_loop
async def test_a_cancelled_lookup(driver: LoopDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is open, and who closes meanwhile has the dial given up before it begins."""
    waiting = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    async def addresses(self: object, host: str, port: int) -> list[Any]:
        assert (host, port) == ("name.test", 80)
        while not waiting.is_set():
            await driver.pause()
        return [(socket.AF_INET, listener.getsockname())]

    monkeypatch.setattr(type(driver.loop), "addresses", addresses)
    with listener:
        async with driver.connect_caller("http://name.test") as caller:
            until = when_it_waits(driver, caller, "addresses")
            assert not await driver.cancelled_when(lambda: caller.invoke("f"), until)
            assert is_hung_up(caller)

            async def first() -> None:
                with pytest.raises(ConnectionLost, match="this caller was closed"):
                    await caller.invoke("f")

            async def second() -> None:
                await driver.pause()
                await driver.pause()
                await caller.close()
                waiting.set()

            await driver.at_once(first, second)
        assert_nobody_dials(listener)


@pytest.mark.parametrize("driver", LOOPS, ids=lambda driver: driver.name)
def test_every_address_of_a_name_is_tried(driver: LoopDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the resolver's order, until one takes us; an address is never looked up."""
    driver.need()
    resolve, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == "name.test" and not options.get("flags"):
            looked_up.append(name)
            both = [resolve(address, port, type=socket.SOCK_STREAM) for address in ("127.0.0.2", "127.0.0.1")]
            return [*both[0], *both[1]]
        return resolve(host, port, *arguments, **options)

    async def through_python(self: object, host: str, port: int) -> list[Any]:
        return [(family, address) for family, _, _, _, address in getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    def script(listener: socket.socket) -> None:
        for _ in range(2):
            with (held := Peer(listener.accept()[0])).wire:
                held.hear()
                held.say(InvokeAnswered(payload=b"1"))

    async def call() -> None:
        with service(script) as address:
            for host in ("name.test", "127.0.0.1"):
                async with driver.connect_caller(f"http://{host}:{address.rpartition(':')[2]}") as caller:
                    assert (await caller.invoke("f")).payload == b"1"

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    if driver.name == "uvloop":  # which does not ask Python
        monkeypatch.setattr(type(driver.loop), "addresses", through_python)
    driver.run(call)
    assert len(looked_up) == 1


@on_every_loop
async def test_a_loop_looks_an_address_up(driver: LoopDriver) -> None:
    """Family and address, as a socket of that family takes them."""
    assert (socket.AF_INET, ("127.0.0.1", 80)) in await driver.loop.addresses("127.0.0.1", 80)


# -- trio's own law


def test_every_method_is_a_checkpoint() -> None:
    """Also where nothing had to wait, as trio's users expect."""
    driver = LOOPS[-1]
    driver.need()
    from trio.testing import assert_checkpoints

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            for answer in (INVOCATION, Accepted()) * 4:
                while isinstance(held.hear(), (ResponseStarted, ResponseChunk)):
                    pass
                held.say(answer)
        with (held := accept(listener)).wire:
            held.hear()
            held.say(Accepted())

    def answer_calls(listener: socket.socket) -> None:
        with (peer := Peer(listener.accept()[0])).wire:
            peer.hear()
            peer.say(InvokeAnswered(payload=b"1"))
            peer.hear()
            peer.say(InvokeAccepted(), PayloadChunk(payload=b"a"), InvokeComplete())
            assert peer.receive() == b""

    async def converse() -> None:
        async def checked(act: Callable[[], Awaitable[Any]]) -> Any:
            with assert_checkpoints():
                return await act()

        with service(script) as address:
            runtime = driver.connect(address)
            await checked(runtime.next_invocation)
            await checked(lambda: runtime.respond(INVOCATION, b"1"))
            await checked(runtime.next_invocation)
            await checked(lambda: runtime.report_error(INVOCATION, error_type="Function.X", payload=b"{}"))
            await checked(runtime.next_invocation)
            stream = await checked(lambda: runtime.stream(INVOCATION, b"1"))
            await checked(lambda: stream.write(b"2"))
            await checked(stream.write)
            await checked(stream.finish)
            await checked(runtime.next_invocation)
            failing = await checked(lambda: runtime.stream(INVOCATION))
            await checked(lambda: failing.fail(error_type="Function.X", error_body=b"{}"))
            await checked(runtime.close)
            await checked(runtime.close)
            runtime = driver.connect(address)
            await checked(lambda: runtime.report_init_error(error_type="Runtime.X", payload=b"{}"))
            await checked(lambda: runtime.__aexit__(None, None, None))
        with service(answer_calls) as address:
            caller = driver.connect_caller(f"http://{address}")
            await checked(lambda: caller.invoke("f"))
            answer = await checked(lambda: caller.invoke_with_response_stream("f"))
            assert await checked(answer.__anext__) == b"a"
            for _ in range(2):
                with assert_checkpoints(), pytest.raises(StopAsyncIteration):
                    await answer.__anext__()
            await checked(answer.close)
            await checked(caller.close)

    driver.run(converse)


# -- at random moments


class Peers:
    """Connections accepted one after the other, in the same event loop, each served to its end.

    Args:
        driver: Whose waits are used.
        dice: How long things take, in rounds of the loop.
    """

    def __init__(self, driver: LoopDriver, dice: random.Random) -> None:
        self.driver = driver
        self.dice = dice
        self.loop = driver.loop
        self.done = False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    async def serve(self) -> None:
        """Serve until ``done``, and a last connection was made to say so."""
        with self.listener:
            while not self.done:
                await self.loop.readable(self.listener)
                wire = self.listener.accept()[0]
                wire.setblocking(False)
                with wire:
                    await self.serve_one(wire)

    async def serve_one(self, wire: socket.socket) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        self.done = True
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port))):
            pass

    async def receive(self, wire: socket.socket) -> bytes:
        while True:
            with suppress(ConnectionResetError):
                try:
                    return wire.recv(65_536)
                except BlockingIOError:
                    await self.loop.readable(wire)
                    continue
            return b""

    async def take_time(self) -> None:
        for _ in range(self.dice.choice((0, 0, 1, 2, 5, 9))):
            await self.driver.pause()


class CountingService(Peers):
    """A Runtime API that hands each invocation out until it is answered, and counts.

    Attributes:
        handed: How often each was handed out.
        answered: How often each was answered.
        broken: How often the connection broke while each was being answered.
    """

    def __init__(self, driver: LoopDriver, dice: random.Random) -> None:
        super().__init__(driver, dice)
        self.handed: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self._lifecycle = StandardLifecycle()
        self._open = ""

    async def serve_one(self, wire: socket.socket) -> None:
        connection = ServiceConnection(self._lifecycle)
        with suppress(RemoteProtocolError):  # the end came in the middle
            while not isinstance(event := connection.next_event(), ConnectionClosed):
                if isinstance(event, Signal):
                    connection.receive_data(await self.receive(wire))
                elif not isinstance(event, (ResponseStarted, ResponseChunk)):
                    answer = await self.answer_to(event)
                    with suppress(ConnectionError):
                        wire.sendall(connection.send(answer))
        if self._open and self._lifecycle.state is State.RESPONSE_SENT:
            self.broken[self._open] += 1
            self._open = ""

    async def answer_to(self, event: object) -> Invocation | Accepted:
        if isinstance(event, NextAsked):
            await self.take_time()
            self._open = self._open or f"id-{len(self.handed)}"
            self.handed[self._open] += 1
            return Invocation(request_id=self._open, payload=self._open.encode())
        assert isinstance(event, (BufferedResponse, ErrorReported, ResponseFinished, ResponseFailed)), event
        if isinstance(event, BufferedResponse):
            assert event.payload.startswith(self._open.encode() + b" ")  # each answer carries its question
        self.answered[self._open] += 1
        self._open = ""
        await self.take_time()
        return Accepted()


class Handled:
    """An invocation, answered as handlers do: briefly, at length, in a stream, or with an error."""

    def __init__(self, runtime: Runtime, invocation: Invocation, dice: random.Random) -> None:
        self._runtime = runtime
        self._invocation = invocation
        self._kind = dice.choice(("error", "stream", "whole", "whole"))
        self._large = b" " + bytes(dice.choice((1, 1, 20_000, 100_000)))
        self._stream: ResponseStream | None = None

    async def answer(self) -> object:
        if self._kind == "error":
            return await self.fail()
        if self._kind == "whole":
            return await self._runtime.respond(self._invocation, self._invocation.payload + self._large)
        self._stream = await self._runtime.stream(self._invocation, b"begun")
        for _ in range(3):
            await self._stream.write(self._large)
        return await self._stream.finish()

    async def fail(self) -> object:
        """Say that it was cancelled, in whichever way is left."""
        if self._stream is not None:
            return await self._stream.fail(error_type="Function.X", error_body=b"{}")
        return await self._runtime.report_error(self._invocation, error_type="Function.X", payload=b"{}")


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writes wait: a socket holds a few kilobytes only."""
    connect = AsyncWire._connect_to

    async def connect_to(self: AsyncWire, made: socket.socket, address: tuple[object, ...], waits: Waits) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await connect(self, made, address, waits)

    monkeypatch.setattr(AsyncWire, "_connect_to", connect_to)


@pytest.mark.parametrize(
    ("driver", "seed"),
    [(driver, seed) for driver in LOOPS for seed in SEEDS[: 2 if driver.name == "uvloop" else None]],
    ids=lambda value: getattr(value, "name", value),
)
def test_no_invocation_is_lost_or_doubled(driver: LoopDriver, seed: int, small_buffers: None) -> None:
    """Each is handed out once, and answered once or its connection broke meanwhile: the two agree on which."""
    driver.need()
    driver.run(lambda: cancel_at_random_moments(driver, seed))


async def cancel_at_random_moments(driver: LoopDriver, seed: int) -> None:
    dice = random.Random(seed)
    api = CountingService(driver, dice)
    told: Counter[str] = Counter()
    cancellations = 0

    async def patiently(act: Callable[[], Awaitable[T]], cancels: float) -> list[T]:
        nonlocal cancellations
        if cancels < dice.random():
            return [await act()]
        results = await driver.cancelled_after(dice.choice((0, 1, 1, 2, 2, 3, 4, 6, 8, 13, 40)), act)
        cancellations += not results
        return results

    async def use() -> None:
        async with driver.connect(api.address) as runtime:
            while cancellations < CANCELLATIONS or runtime._session.connection.awaits(NextAsked):
                if not (invocations := await patiently(runtime.next_invocation, 0.8)):
                    continue
                (invocation,) = invocations
                handled = Handled(runtime, invocation, dice)
                said = await patiently(handled.answer, 0.8)
                with suppress(LocalProtocolError):  # an answer went out, or half of one
                    while not said:
                        said = await patiently(handled.fail, 0.3)
                told[invocation.request_id] += bool(said)
        await api.stop()

    await driver.at_once(api.serve, use)
    assert set(api.handed.values()) == {1}
    assert api.answered + api.broken == api.handed
    assert set(told) == set(api.handed)
    assert told <= api.answered
    assert api.broken.total() > CANCELLATIONS / 100


class EchoingService(Peers):
    """A Lambda whose answers are their questions."""

    async def serve_one(self, wire: socket.socket) -> None:
        connection = InvokeServiceConnection()
        with suppress(RemoteProtocolError, ConnectionError):
            while not isinstance(event := connection.next_event(), ConnectionClosed):
                if isinstance(event, Signal):
                    connection.receive_data(await self.receive(wire))
                    continue
                assert isinstance(event, InvokeAsked)
                answers: list[InvokeAnswer] = [InvokeAnswered(payload=event.payload)]
                if event.streaming:
                    answers = [InvokeAccepted(), *[PayloadChunk(payload=event.payload)] * 3, InvokeComplete()]
                for answer in answers:
                    await self.take_time()
                    wire.sendall(connection.send(answer))


@on_every_loop
async def test_no_answer_is_anothers(driver: LoopDriver, small_buffers: None) -> None:
    """Whatever was cancelled before: each answer is whole, and its question's."""
    dice = random.Random(7)
    peers = EchoingService(driver, dice)
    answered = 0

    async def call(caller: Caller, number: int) -> None:
        nonlocal answered
        payload = b'"%d %s"' % (number, b"x" * dice.choice((1, 1, 30_000)))
        if number % 2:
            assert (await caller.invoke("f", payload)).payload == payload
        else:
            async with await caller.invoke_with_response_stream("f", payload) as answer:
                assert [chunk async for chunk in answer] == [payload] * 3
        answered += 1

    async def use() -> None:
        async with driver.connect_caller(f"http://{peers.address}") as caller:
            for number in range(CANCELLATIONS):
                await driver.cancelled_after(dice.randrange(30), lambda: call(caller, number))  # noqa: B023  # at once
            await call(caller, 1)
        await peers.stop()

    await driver.at_once(peers.serve, use)
    assert CANCELLATIONS / 10 < answered < CANCELLATIONS
