"""Large bodies are received into memory of the conversation: whole, in pieces, and when all ends in the middle."""

from __future__ import annotations

import concurrent.futures
import fcntl
import inspect
import os
import signal
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest

from lambda_wire import _line, _sockets, sync
from lambda_wire._errors import ConnectionLost
from lambda_wire._events import Accepted, BufferedResponse, Invocation, NextAsked
from lambda_wire._facade import Runtime
from lambda_wire._invoke_events import InvokeAnswered, InvokeAsked
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Read, Write
from lambda_wire.testing import deliveries
from tests.driver_parts import Driver, LoopDriver, on_every_driver, on_every_loop, wire_of
from tests.driver_services import (
    INVOCATION,
    RESET,
    Security,
    Service,
    Way,
    accept,
    assert_nobody_dials,
    runtime_of,
    service,
)
from tests.running_local import PATIENCE_S
from tests.test_drivers_cancelled import when_it_waits

#: Of several reads' size, and no two of its reads are alike.
LARGE: Final = Invocation(request_id="id-2", payload=b'"%s"' % b"".join(b"%07d," % number for number in range(100_000)))
#: More than one read, and less than all of it.
PART: Final = 100_000


def invoked_once(held: Service) -> None:
    """Have a first invocation answered, so that the connection is one that was kept."""
    assert held.hear() == NextAsked()
    held.say(INVOCATION)
    assert isinstance(held.hear(), BufferedResponse)
    held.say(Accepted())


async def invoke_once(runtime: Runtime) -> None:
    assert await runtime.respond(await runtime.next_invocation(), b"1") == Accepted()


def say_part(held: Service) -> bytes:
    """Send part of the large event; return the rest."""
    assert held.hear() == NextAsked()
    event = held.connection.send(LARGE)
    held.wire.sendall(event[:PART])
    return event[PART:]


# -- the want


async def held_on(runtime: Runtime, exchange: Exchange[object]) -> object:
    """Hold a conversation of one's own."""
    result: Any = runtime._wire.run(exchange)  # of either kind of driver
    return await result if inspect.isawaitable(result) else result


@on_every_driver
async def test_the_part_that_was_filled_is_the_answer(driver: Driver) -> None:
    """From its start, in that memory, and never beyond it; at the end it is empty."""
    memory = bytearray(100)
    heard: list[tuple[bytes, bool]] = []

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire:
            assert wire.recv(100) == b"go"
            wire.sendall(b"x" * 150)

    def exchange(into: memoryview) -> Exchange[None]:
        yield Dial()
        assert (yield Write([b"go"])) == b""
        while part := (yield Read(into=into)):
            assert isinstance(part, memoryview)
            heard.append((bytes(part), part.obj is memory))
            assert memory.startswith(bytes(part))

    async with runtime_of(driver, script) as runtime:
        await held_on(runtime, exchange(memoryview(memory)))
    assert b"".join(part for part, _ in heard) == b"x" * 150
    assert all(there and len(part) <= 100 for part, there in heard)


# -- whole


@pytest.mark.parametrize("way", range(5))
@on_every_driver
async def test_a_large_event_in_every_delivery(driver: Driver, way: int) -> None:
    """What it is does not depend on how it came; and the connection goes on after it."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(2):
                assert held.hear() == NextAsked()
                event = held.connection.send(LARGE)
                for piece in (*list(deliveries(event[:2000], seed=7))[way], event[2000:-1], event[-1:]):
                    held.wire.sendall(piece)
                assert held.hear() == BufferedResponse(request_id="id-2", payload=b"1")
                held.say(Accepted())
            assert held.wire.recv(1) == b""

    async with runtime_of(driver, script) as runtime:
        for _ in range(2):
            invocation = await runtime.next_invocation()
            assert invocation == LARGE
            assert await runtime.respond(invocation, b"1") == Accepted()


def test_where_the_system_cannot_be_asked_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked more often."""
    rest_is_due = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            rest = say_part(held)
            assert rest_is_due.wait(PATIENCE_S)
            held.wire.sendall(rest)

    class Told(_sockets.Wire):
        def _receive(self, want: Read, deadline: float | None) -> BytesLike:
            heard = super()._receive(want, deadline)
            if want.into is not None:
                rest_is_due.set()
            return heard

    monkeypatch.setattr(_sockets, "_WHOLE", 0)
    monkeypatch.setattr(sync, "Wire", Told)
    with service(script) as address, sync.connect(address) as runtime:
        assert runtime.next_invocation() == LARGE


# -- in the middle


@pytest.mark.parametrize("timeout", [None, PATIENCE_S])
def test_a_deadline_in_the_middle(timeout: float | None) -> None:
    """Nothing of it is lost: who comes back for it, with a deadline or without, has all of it."""
    sent, rest_is_due = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            invoked_once(held)
            rest = say_part(held)
            sent.set()
            assert rest_is_due.wait(PATIENCE_S)
            held.wire.sendall(rest)
            assert isinstance(held.hear(), BufferedResponse)
            held.say(Accepted())

    with service(script) as address, sync.connect(address) as runtime:
        runtime.respond(runtime.next_invocation(), b"1")
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0)
        assert sent.wait(PATIENCE_S)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                runtime.next_invocation(timeout=0)
        rest_is_due.set()
        invocation = runtime.next_invocation(timeout=timeout)
        assert invocation == LARGE
        assert runtime.respond(invocation, b"2") == Accepted()


@on_every_loop
async def test_a_cancellation_in_the_middle(driver: LoopDriver) -> None:
    """Nothing of it is lost: who comes back for it has all of it."""
    sent, rest_is_due = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            rest = say_part(held)
            sent.set()
            assert rest_is_due.wait(PATIENCE_S)
            held.wire.sendall(rest)
            assert isinstance(held.hear(), BufferedResponse)
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        assert not await driver.cancelled_when(runtime.next_invocation, when_it_waits(driver, runtime, "readable"))
        await driver.wait(sent.wait)
        for _ in range(3):
            assert not await driver.cancelled_after(5, runtime.next_invocation)
        rest_is_due.set()
        invocation = await runtime.next_invocation()
        assert invocation == LARGE
        assert await runtime.respond(invocation, b"2") == Accepted()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@on_every_driver
async def test_the_end_in_the_middle(driver: Driver, kept: bool, reset: bool) -> None:
    """Half an event is none: it is polled for again, unless its connection was new."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            if kept:
                invoked_once(held)
            say_part(held)
            if reset:
                held.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(LARGE)
            assert held.hear() == BufferedResponse(request_id="id-2", payload=b"2")
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        if kept:
            await invoke_once(runtime)
        else:
            with pytest.raises(ConnectionLost, match="new connection"):
                await runtime.next_invocation()
        invocation = await runtime.next_invocation()
        assert invocation == LARGE
        assert await runtime.respond(invocation, b"2") == Accepted()


async def ended_by(driver: Driver, act: Callable[[Runtime], Any], said: str) -> None:
    """Wait for a large event of which no more will come, until ``act`` ends it."""
    sent, ended = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            invoked_once(held)
            say_part(held)
            sent.set()
            assert ended.wait(PATIENCE_S)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        await invoke_once(runtime)

        async def first() -> None:
            with pytest.raises(ConnectionLost, match=said):
                await runtime.next_invocation()

        async def second() -> None:
            await driver.wait(sent.wait)
            await act(runtime)

        await driver.at_once(first, second)
        with pytest.raises(ConnectionLost, match=said):
            await runtime.next_invocation()
        ended.set()


@on_every_driver
async def test_stop_polling_in_the_middle(driver: Driver) -> None:
    """An event that has begun to come is not cut: it is had whole, and answered on a connection that can be read."""
    sent, stopped = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        lifecycle = StandardLifecycle()
        with (held := accept(listener, lifecycle)).wire:
            invoked_once(held)
            rest = say_part(held)
            sent.set()
            assert stopped.wait(PATIENCE_S)
            held.wire.sendall(rest)
            assert held.wire.recv(1) == b""
        with (held := accept(listener, lifecycle)).wire:
            assert held.hear() == BufferedResponse(request_id="id-2", payload=b"2")
            held.say(Accepted())
            assert held.wire.recv(1) == b""

    async with runtime_of(driver, script) as runtime:
        await invoke_once(runtime)

        async def first() -> None:
            invocation = await runtime.next_invocation()
            assert invocation == LARGE
            assert await runtime.respond(invocation, b"2") == Accepted()
            with pytest.raises(ConnectionLost, match="told to poll no more"):
                await runtime.next_invocation()

        async def second() -> None:
            await driver.wait(sent.wait)
            await driver.wait(lambda _: until_taken(wire_of(runtime)))
            await runtime.stop_polling()
            stopped.set()

        await driver.at_once(first, second)


@on_every_driver
async def test_closing_in_the_middle(driver: Driver) -> None:
    """Whoever reads is woken, although its read asked for all."""
    await ended_by(driver, lambda runtime: runtime.close(), "closed")


class Interrupted(BaseException):
    """A signal handler's."""


class InterruptedAsTimeout(TimeoutError):
    """A signal handler's, such as of an alarm."""


@pytest.fixture(params=[Interrupted, InterruptedAsTimeout])
def interruption(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """What SIGUSR1 raises in the main thread."""
    kind: type[BaseException] = request.param

    def interrupt(*_: object) -> None:
        raise kind

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield kind
    signal.signal(signal.SIGUSR1, before)


def until_taken(wire: socket.socket) -> bool:
    """Wait until all that a socket has received was read from it."""
    patience = time.monotonic() + PATIENCE_S
    while struct.unpack("i", fcntl.ioctl(wire, termios.FIONREAD, bytes(4)))[0]:
        assert time.monotonic() < patience
        os.sched_yield()
    return True


def test_a_signal_handler_that_raises_in_the_middle(interruption: type[BaseException]) -> None:
    """How much had been received is not known then: its rest is never taken for all of it, it is polled for again."""
    raised = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            invoked_once(held)
            rest = say_part(held)
            until_taken(runtime._wire._connected())
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGUSR1)
            assert raised.wait(PATIENCE_S)
            with suppress(OSError):
                held.wire.sendall(rest)
                held.wire.sendall(rest)
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(LARGE)
            assert held.hear() == BufferedResponse(request_id="id-2", payload=b"2")
            held.say(Accepted())

    with service(script) as address, sync.connect(address) as runtime:
        runtime.respond(runtime.next_invocation(), b"1")
        with pytest.raises(interruption):
            runtime.next_invocation()
        raised.set()
        invocation = runtime.next_invocation()
        assert invocation == LARGE
        assert runtime.respond(invocation, b"2") == Accepted()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_handler_that_raises_beside_a_read(
    when: str, interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been read is gone with its connection: nobody waits for it, the poll is asked again elsewhere."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            with suppress(ConnectionResetError):  # what had not been read
                assert held.wire.recv(1) == b""
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(LARGE)
            assert held.hear() == BufferedResponse(request_id="id-2", payload=b"2")
            held.say(Accepted())

    class Interrupting(_sockets.Wire):
        def _receive(self, want: Read, deadline: float | None) -> BytesLike:
            heard = b"" if when == "before" else super()._receive(want, deadline)
            if interruptions:
                raise interruptions.pop()
            return heard or super()._receive(want, deadline)

    interruptions = [interruption]
    monkeypatch.setattr(sync, "Wire", Interrupting)
    with service(script) as address, sync.connect(address) as runtime:
        with pytest.raises(interruption):
            runtime.next_invocation()
        invocation = runtime.next_invocation()
        assert invocation == LARGE
        assert runtime.respond(invocation, b"2") == Accepted()


# -- dialling


def test_closing_while_it_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a connection that nobody accepts is woken, too."""
    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 10 * PATIENCE_S)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # more than wait to be accepted
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        runtime = sync.connect(f"127.0.0.1:{listener.getsockname()[1]}")
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
        polled = threads.submit(runtime.next_invocation)
        patience = time.monotonic() + PATIENCE_S
        while runtime._wire._socket is None and not polled.done():
            os.sched_yield()
        while not polled.done() and time.monotonic() < patience:
            runtime.close()
            os.sched_yield()
        with pytest.raises(ConnectionLost, match="closed"):
            polled.result(0)


# -- TLS


@on_every_driver
async def test_tls_has_memory_of_its_own(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers with its own bytes, never more than a read is for, wherever they could have been received."""
    asked_for: list[int] = []
    receive = ssl.SSLSocket.recv

    def noted(wire: ssl.SSLSocket, size: int = 1024, flags: int = 0) -> bytes:
        asked_for.append(size)
        return receive(wire, size, flags)

    def never(*_: object) -> int:
        raise AssertionError("received into memory over TLS")

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            for _ in range(2):
                assert isinstance(held.hear(), InvokeAsked)
                held.say(InvokeAnswered(payload=LARGE.payload))

    way = Way(Security("127.0.0.1"))
    monkeypatch.setattr(ssl.SSLSocket, "recv", noted)
    monkeypatch.setattr(ssl.SSLSocket, "recv_into", never)
    async with way.caller_of(driver, script) as caller:
        for _ in range(2):
            assert await caller.invoke("f", b"1") == InvokeAnswered(payload=LARGE.payload)
    assert set(asked_for) == {65_536}


@on_every_driver
async def test_the_end_of_tls_is_not_the_end_of_its_connection(driver: Driver) -> None:
    """Anyone on the path can end a connection: what ends without TLS saying so is not complete (RFC 9112, 9.8)."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            assert isinstance(held.hear(), InvokeAsked)
            held.wire.sendall(held.encode(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"balance": 100'))

    way = Way(Security("127.0.0.1"))
    async with way.caller_of(driver, script) as caller:
        with pytest.raises(ConnectionLost):
            await caller.invoke("f", b"1")
