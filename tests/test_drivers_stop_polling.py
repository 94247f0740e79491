"""``stop_polling``: polls end, and no invocation is lost; on every driver, and at every want of the conversation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_wire import _line, _tls, sync
from lambda_wire import asyncio as on_asyncio
from lambda_wire._addresses import parse_address
from lambda_wire._errors import ConnectionLost
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ConnectionClosed,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    ResponseChunk,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
)
from lambda_wire._facade import Runtime
from lambda_wire._lifecycle import StandardLifecycle
from tests.driver_parts import Driver, LoopDriver, is_hung_up, on_every_driver, on_every_loop, wire_of
from tests.driver_services import INVOCATION, RESET, accept, assert_nobody_dials, runtime_of, service, until_heard
from tests.running_local import PATIENCE_S
from tests.test_drivers_cancelled import black_hole, when_it_waits

TOLD = "told to poll no more"
LARGE = Invocation(request_id="id-1", payload=bytes(200_000))


async def begin_poll(driver: Driver, runtime: Runtime, poll: Callable[[], Awaitable[object]]) -> None:
    """Leave a poll open that nobody waits for."""
    if isinstance(driver, LoopDriver):
        assert not await driver.cancelled_when(poll, when_it_waits(driver, runtime, "readable"))
    else:
        with pytest.raises(TimeoutError):
            await poll(timeout=0)  # type: ignore[call-arg]  # the blocking driver has it


@pytest.mark.parametrize("restore", [False, True])
@on_every_driver
async def test_an_open_poll_ends(driver: Driver, restore: bool) -> None:
    """From elsewhere, while it is waited for; later polls are not even asked, and it may be told again."""
    polled, ended = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, StandardLifecycle(snap_start=restore))).wire:
            assert held.hear() == (RestoreAsked() if restore else NextAsked())
            polled.set()
            assert ended.wait(PATIENCE_S)
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        poll = runtime.next_restore if restore else runtime.next_invocation

        async def first() -> None:
            with pytest.raises(ConnectionLost, match=TOLD):
                await poll()

        async def second() -> None:
            await driver.wait(polled.wait)
            await runtime.stop_polling()

        await driver.at_once(first, second)
        await runtime.stop_polling()
        for again in (runtime.next_invocation, runtime.next_restore):
            with pytest.raises(ConnectionLost, match=TOLD):
                await again()
        await runtime.close()
        ended.set()


@on_every_driver
async def test_an_invocation_that_has_come_is_returned_and_can_be_answered(driver: Driver) -> None:
    """On a new connection, if need be; it is the last."""
    left_open, said = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == NextAsked()
            assert left_open.wait(PATIENCE_S)
            held.say(INVOCATION)
            said.set()
            assert isinstance(held.hear(), ConnectionClosed)
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == BufferedResponse(request_id="id-1", payload=b"1")
            held.say(Accepted())
            assert isinstance(held.hear(), ConnectionClosed)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        await begin_poll(driver, runtime, runtime.next_invocation)
        left_open.set()
        await driver.wait(said.wait)
        until_heard(wire_of(runtime))
        await runtime.stop_polling()
        invocation = await runtime.next_invocation()
        assert invocation == INVOCATION
        assert await runtime.respond(invocation, b"1") == Accepted()
        with pytest.raises(ConnectionLost, match=TOLD):
            await runtime.next_invocation()


def say_the_rest_later(begun: threading.Event, told: threading.Event, first: int) -> Callable[[socket.socket], None]:
    """Return a service that says the first bytes of an invocation, and the rest when polling was stopped."""

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == NextAsked()
            said = held.connection.send(LARGE)
            assert begun.wait(PATIENCE_S)
            held.wire.sendall(said[:first])
            assert told.wait(PATIENCE_S)
            held.wire.sendall(said[first:])
            assert isinstance(held.hear(), ConnectionClosed)
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == BufferedResponse(request_id="id-1", payload=b"1")
            held.say(Accepted())
        assert_nobody_dials(listener)

    return script


@pytest.mark.parametrize("first", [1, 80, 50_000])
@on_every_driver
async def test_an_invocation_that_has_begun_to_come_is_not_cut(driver: Driver, first: int) -> None:
    """Whoever reads has seen nothing of it yet: it is read whole, and answered (RT-RESP-1)."""
    begun, told = threading.Event(), threading.Event()
    async with runtime_of(driver, say_the_rest_later(begun, told, first)) as runtime:
        await begin_poll(driver, runtime, runtime.next_invocation)
        begun.set()
        until_heard(wire_of(runtime))
        await runtime.stop_polling()
        told.set()
        invocation = await runtime.next_invocation()
        assert invocation == LARGE
        assert await runtime.respond(invocation, b"1") == Accepted()
        with pytest.raises(ConnectionLost, match=TOLD):
            await runtime.next_invocation()


@pytest.mark.parametrize("first", [1, 80, 50_000])
@on_every_loop
async def test_an_invocation_that_begins_to_come_while_the_loop_is_busy(driver: LoopDriver, first: int) -> None:
    """A task waits for it, and has had no turn (RT-RESP-1)."""
    begun, told = threading.Event(), threading.Event()
    async with runtime_of(driver, say_the_rest_later(begun, told, first)) as runtime:
        waits = when_it_waits(driver, runtime, "readable")

        async def poll() -> None:
            invocation = await runtime.next_invocation()
            assert invocation == LARGE
            assert await runtime.respond(invocation, b"1") == Accepted()

        async def stop() -> None:
            await waits()
            begun.set()
            until_heard(wire_of(runtime))
            await runtime.stop_polling()
            told.set()

        await driver.at_once(poll, stop)


@on_every_driver
async def test_an_end_that_has_come_is_one(driver: Driver) -> None:
    """An open poll whose service has gone, or was reset, ends as one that is told."""
    for linger in (b"\0" * 8, RESET):
        begun = threading.Event()

        def script(listener: socket.socket, linger: bytes = linger, begun: threading.Event = begun) -> None:
            with (held := accept(listener)).wire:
                assert held.hear() == NextAsked()
                assert begun.wait(PATIENCE_S)
                held.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        async with runtime_of(driver, script) as runtime:
            await begin_poll(driver, runtime, runtime.next_invocation)
            begun.set()
            until_heard(wire_of(runtime))
            await runtime.stop_polling()
            with pytest.raises(ConnectionLost, match=TOLD):
                await runtime.next_invocation()


def test_an_answer_is_never_asked_for_where_reading_was_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll may be answered between the question whether one is open and the end of its reading, in another thread."""
    asked, answered = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == NextAsked()
            assert asked.wait(PATIENCE_S)
            held.say(INVOCATION)
            assert isinstance(held.hear(), ConnectionClosed)
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == BufferedResponse(request_id="id-1", payload=b"1")
            held.say(Accepted())

    def shut(wire: socket.socket, how: int) -> None:
        if how == socket.SHUT_RD:
            asked.set()
            assert answered.wait(PATIENCE_S)
        _tls.shut(wire, how)

    monkeypatch.setattr(_line, "_tls", SimpleNamespace(shut=shut))
    with (
        service(script) as address,
        sync.connect(address) as runtime,
        concurrent.futures.ThreadPoolExecutor() as threads,
    ):
        polled = threads.submit(runtime.next_invocation)
        while not runtime._session.polling:
            os.sched_yield()
        stopped = threads.submit(runtime.stop_polling)
        invocation = polled.result(PATIENCE_S)
        answered.set()
        assert runtime.respond(invocation, b"1") == Accepted()
        stopped.result(PATIENCE_S)


@pytest.mark.parametrize("way", ["whole", "error", "stream"])
@on_every_driver
async def test_an_invocation_that_runs_is_answered_as_ever(driver: Driver, way: str) -> None:
    """On its connection, although a stream of it was open."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            heard = [held.hear()]
            while isinstance(heard[-1], (ResponseStarted, ResponseChunk)):
                heard.append(held.hear())
            held.say(Accepted())
            assert isinstance(heard[-1], {"whole": BufferedResponse, "error": ErrorReported}.get(way, ResponseFinished))
            assert isinstance(held.hear(), ConnectionClosed)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        if way == "stream":
            stream = await runtime.stream(invocation, b"one")
            await runtime.stop_polling()
            await stream.write(b"two")
            assert await stream.finish() == Accepted()
        else:
            await runtime.stop_polling()
            if way == "whole":
                assert await runtime.respond(invocation, b"1") == Accepted()
            else:
                assert await runtime.report_error(invocation, error_type="Function.X", payload=b"{}") == Accepted()
        with pytest.raises(ConnectionLost, match=TOLD):
            await runtime.next_invocation()


@on_every_driver
async def test_a_runtime_that_never_polled_never_does(driver: Driver) -> None:
    """Nothing is dialled for a poll; an init error can still be reported."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(Accepted())
            assert isinstance(held.hear(), ConnectionClosed)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        await runtime.stop_polling()
        for poll in (runtime.next_invocation, runtime.next_restore):
            with pytest.raises(ConnectionLost, match=TOLD):
                await poll()
        assert await runtime.report_init_error(error_type="Runtime.X", payload=b"{}") == Accepted()


# -- while it is dialled


async def until_dialling(driver: Driver, runtime: Runtime) -> None:
    """Wait until somebody waits for a connection."""
    while is_hung_up(runtime):
        if isinstance(driver, LoopDriver):
            await driver.pause()
        os.sched_yield()


@pytest.mark.parametrize("restore", [False, True])
@on_every_driver
async def test_a_poll_that_dials_ends(driver: Driver, restore: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so that nothing is lost; what else is to be said may still be."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 10 * PATIENCE_S)

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert isinstance(held.hear(), InitErrorReported)
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:

        async def first() -> None:
            with pytest.raises(ConnectionLost, match=TOLD):
                await (runtime.next_restore() if restore else runtime.next_invocation())

        async def second() -> None:
            await until_dialling(driver, runtime)
            await runtime.stop_polling()

        there = runtime._wire._service
        with black_hole() as hole:
            runtime._wire._service = parse_address(hole)
            await driver.at_once(first, second)
        runtime._wire._service = there
        assert await runtime.report_init_error(error_type="Runtime.X", payload=b"{}") == Accepted()


@on_every_driver
async def test_an_answer_that_dials_does_not(driver: Driver) -> None:
    """Who polls no more still answers, however long it takes to get through."""
    environment, closed = StandardLifecycle(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, environment)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
        closed.set()
        with (held := accept(listener, environment)).wire:
            assert isinstance(held.hear(), BufferedResponse)
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        await driver.wait(closed.wait)
        runtime._session.fresh_s = 0.0  # so that it looks, and finds that it has to dial
        connect, told = _line.Line._connect_to, []

        async def tell_first(wire: _line.Line, *arguments: Any) -> None:
            told.append(wire)
            await runtime.stop_polling()
            await connect(wire, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_line.Line, "_connect_to", tell_first)
            assert await runtime.respond(invocation, b"1") == Accepted()
        assert told
        with pytest.raises(ConnectionLost, match=TOLD):
            await runtime.next_invocation()


@on_every_driver
async def test_a_poll_that_looks_a_name_up_does_not_dial(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told so before it knew where."""

    async def addresses(wire: _line.Line, _: object) -> list[Any]:
        await runtime.stop_polling()
        return [(socket.AF_INET, listener.getsockname())]

    monkeypatch.setattr(_line.Line, "_addresses", addresses)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with driver.connect("name.test:80") as runtime:
            with pytest.raises(ConnectionLost, match=TOLD):
                await runtime.next_invocation()
        assert_nobody_dials(listener)


# -- where signals are taken


@pytest.fixture
def taken() -> Iterator[Callable[[Any], None]]:
    """Says what SIGTERM does in this test."""
    before = signal.getsignal(signal.SIGTERM)

    def take(handler: Any) -> None:  # what signal.signal takes
        signal.signal(signal.SIGTERM, handler)

    yield take
    signal.signal(signal.SIGTERM, before)


def polled_and_told(listener: socket.socket) -> None:
    with (held := accept(listener)).wire:
        assert held.hear() == NextAsked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert isinstance(held.hear(), ConnectionClosed)
    assert_nobody_dials(listener)


def test_a_signal_handler_may_say_it_to_the_thread_that_waits(taken: Callable[[Any], None]) -> None:
    """The blocking driver, in the main thread: nothing has to be raised there."""
    with service(polled_and_told) as address, sync.connect(address) as runtime:
        taken(lambda *_: runtime.stop_polling())
        with pytest.raises(ConnectionLost):
            runtime.next_invocation()
        runtime.close()


def test_a_signal_handler_may_say_it_to_the_thread_that_dials(
    taken: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does to one that waits for an invocation."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 10 * PATIENCE_S)
    with black_hole() as hole, sync.connect(hole) as runtime:

        def tell() -> None:
            while runtime._wire._socket is None:
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGTERM)

        taken(lambda *_: runtime.stop_polling())
        telling = threading.Thread(target=tell)
        telling.start()
        with pytest.raises(ConnectionLost, match=TOLD):
            runtime.next_invocation()
        telling.join(PATIENCE_S)


def test_a_signal_handler_may_say_it_to_another_thread(taken: Callable[[Any], None]) -> None:
    """The blocking driver, with its polls elsewhere."""
    with (
        service(polled_and_told) as address,
        sync.connect(address) as runtime,
        concurrent.futures.ThreadPoolExecutor() as threads,
    ):
        taken(lambda *_: runtime.stop_polling())
        with pytest.raises(ConnectionLost):
            threads.submit(runtime.next_invocation).result(PATIENCE_S)
        runtime.close()


def test_a_signal_handler_of_a_loop_may_say_it(taken: Callable[[Any], None]) -> None:
    """The asyncio driver, as its users take signals."""

    async def serve(address: str) -> None:
        tasks: list[asyncio.Task[None]] = []
        async with on_asyncio.connect(address) as runtime:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, lambda: tasks.append(asyncio.create_task(runtime.stop_polling())))
            with pytest.raises(ConnectionLost):
                await runtime.next_invocation()
            await asyncio.gather(*tasks)
            loop.remove_signal_handler(signal.SIGTERM)

    taken(signal.SIG_DFL)
    with service(polled_and_told) as address:
        asyncio.run(serve(address))
