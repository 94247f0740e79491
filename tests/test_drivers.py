"""Behaviours of the drivers, each written once and run through all four, over real sockets."""

from __future__ import annotations

import json
import socket
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import pytest

from lambda_wire._addresses import parse_address
from lambda_wire._errors import (
    Busy,
    CallFailed,
    CallRefused,
    ConnectionLost,
    LocalProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    Violation,
)
from lambda_wire._facade import Caller
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire._types import Headers
from lambda_wire.bootstrap import Handler
from lambda_wire.testing import LocalLambda
from tests import driver_app
from tests.aws_sdk import log_of
from tests.driver_parts import DRIVERS, Driver, is_hung_up, on_every_driver, wire_of
from tests.driver_services import (
    HUGE,
    INVOCATION,
    REFUSED,
    RESET,
    Peer,
    Way,
    accept,
    assert_nobody_dials,
    nobody,
    runtime_of,
    service,
)
from tests.real_parts import running_emulator
from tests.running_local import PATIENCE_S, running_local

MIB: Final = 1024 * 1024
ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:my-function"
EXPIRED: Final = Refused(status=410, error_type="InvokeTimeout", error_message="Invoke timeout")


# -- the runtime


@on_every_driver
async def test_every_conversation_over_one_connection(driver: Driver) -> None:
    """One connection is kept for everything, and TCP_NODELAY is set on it (RT-CONN-1, RT-RESP-1, RS-END-4, UN-4)."""
    heard: list[object] = []

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            for answer in (INVOCATION, Accepted(), INVOCATION, Accepted(), INVOCATION, Accepted()):
                while isinstance(event := held.hear(), (ResponseStarted, ResponseChunk)):
                    heard.append(event)
                heard.append(event)
                held.say(answer)
            assert held.wire.recv(1) == b""

    async with runtime_of(driver, script, user_agent="test/1") as runtime:
        assert await runtime.respond(await runtime.next_invocation(), b"1") == Accepted()
        invocation = await runtime.next_invocation()
        assert wire_of(runtime).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert await runtime.report_error(invocation, error_type="Function.X", payload=b"{}") == Accepted()
        stream = await runtime.stream(await runtime.next_invocation(), b"a", content_type="text/plain")
        await stream.write(b"b", b"c")
        assert await stream.finish() == Accepted()
        with pytest.raises(LocalProtocolError):
            await stream.write(b"d")
    assert heard == [
        NextAsked(),
        BufferedResponse(request_id="id-1", payload=b"1"),
        NextAsked(),
        ErrorReported(request_id="id-1", error_type="Function.X", payload=b"{}"),
        NextAsked(),
        ResponseStarted(request_id="id-1", content_type="text/plain"),
        ResponseChunk(data=b"a"),
        ResponseChunk(data=b"b"),
        ResponseChunk(data=b"c"),
        ResponseFinished(),
    ]


@on_every_driver
async def test_init_errors_and_failed_streams(driver: Driver) -> None:
    """The two reports that end something: before the first poll, and in trailers."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == InitErrorReported(error_type="Runtime.X", payload=b"{}")
            held.say(Accepted())
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert held.hear() == ResponseStarted(request_id="id-1")
            assert held.hear() == ResponseFailed(error_type="Function.X", error_body=b"{}")
            held.say(Accepted())

    with service(script) as address:
        async with driver.connect(address) as runtime:
            assert await runtime.report_init_error(error_type="Runtime.X", payload=b"{}") == Accepted()
        async with driver.connect(address) as runtime:
            stream = await runtime.stream(await runtime.next_invocation())
            assert await stream.fail(error_type="Function.X", error_body=b"{}") == Accepted()


@on_every_driver
async def test_restored_environments(driver: Driver) -> None:
    """One that goes on, one whose hook failed, and a service that takes no snapshots, each over one connection.

    (RT-RESTORE-11)
    """

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, StandardLifecycle(snap_start=True))).wire:
            assert held.hear() == RestoreAsked()
            held.say(RestoreReady())
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
        with (held := accept(listener, StandardLifecycle(snap_start=True))).wire:
            assert held.hear() == RestoreAsked()
            held.say(RestoreReady())
            assert held.hear() == RestoreErrorReported(error_type="Runtime.X", payload=b"{}")
            held.say(Accepted())
        with (held := accept(listener)).wire:
            violation = held.hear()
            assert isinstance(violation, Violation)
            assert violation.reply.status == 404
            held.say(violation.reply)
            assert held.hear() == NextAsked()
            held.say(INVOCATION)

    with service(script) as address:
        async with driver.connect(address) as runtime:
            await runtime.next_restore()
            assert await runtime.next_invocation() == INVOCATION
        async with driver.connect(address) as runtime:
            await runtime.next_restore()
            assert await runtime.report_restore_error(error_type="Runtime.X", payload=b"{}") == Accepted()
        async with driver.connect(address) as runtime:
            with pytest.raises(RequestRefused):
                await runtime.next_restore()
            assert await runtime.next_invocation() == INVOCATION


@on_every_driver
async def test_a_hundred_invocations_on_connections_that_close_between_polls(driver: Driver) -> None:
    """Each answer carries its question, each is asked and answered once, whenever the service hangs up in between."""
    answered: list[object] = []

    def script(listener: socket.socket) -> None:
        for start in range(0, 100, 7):
            with (held := accept(listener)).wire:
                for number in range(start, min(start + 7, 100)):
                    assert held.hear() == NextAsked()
                    held.say(Invocation(request_id=f"id-{number}", payload=b"%d" % number))
                    answered.append(held.hear())
                    held.say(Accepted() if number % 5 else EXPIRED)

    async with runtime_of(driver, script) as runtime:
        for number in range(100):
            invocation = await runtime.next_invocation()
            said = await runtime.respond(invocation, b"[" + invocation.payload + b"]")
            assert said == (Accepted() if number % 5 else EXPIRED)
    assert answered == [BufferedResponse(request_id=f"id-{n}", payload=b"[%d]" % n) for n in range(100)]


@on_every_driver
async def test_a_large_response_goes_out_whole(driver: Driver) -> None:
    """More bytes than any socket buffer holds are written in as many steps as it takes, and read likewise."""
    payload = b'"' + bytes(range(48, 58)) * 600_000 + b'"'

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(Invocation(request_id="id-1", payload=payload))
            assert held.hear() == BufferedResponse(request_id="id-1", payload=payload)
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        assert await runtime.respond(invocation, invocation.payload) == Accepted()


@on_every_driver
async def test_thousands_of_chunks_in_one_write(driver: Driver) -> None:
    """More buffers than one system call takes are written in as many calls as it takes."""
    chunks = [b"%d" % number for number in range(5_000)]

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert held.hear() == ResponseStarted(request_id="id-1")
            for chunk in chunks:
                assert held.hear() == ResponseChunk(data=chunk)
            assert held.hear() == ResponseFinished()
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        stream = await runtime.stream(await runtime.next_invocation())
        await stream.write(*chunks)
        assert await stream.finish() == Accepted()


class Pieces:
    """What a handler yields; counts what was drawn of it.

    Attributes:
        drawn: How many pieces.
        closed: Whether the generator was closed.
    """

    def __init__(self, count: int) -> None:
        self.drawn = 0
        self.closed = False
        self._count = count

    def poured(self) -> Generator[bytes, None, None]:
        try:
            for _ in range(self._count):
                self.drawn += 1
                yield bytes(65_536)
        finally:
            self.closed = True


@on_every_driver
async def test_20_mib_in_flat_memory_and_backpressure(driver: Driver) -> None:
    """A service that does not read stops the handler's generator; nothing of the stream is hoarded (RS-CHUNK-8)."""
    blocked = threading.Event()
    pieces = Pieces(320)
    drawn_when_blocked: list[int] = []

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert isinstance(held.hear(), ResponseStarted)
            assert blocked.wait(PATIENCE_S)
            drawn_when_blocked.append(pieces.drawn)
            size = 0
            while isinstance(event := held.hear(), ResponseChunk):
                size += len(event.data)
            assert (event, size) == (ResponseFinished(), 20 * MIB)
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        driver.on_blocked_write(runtime, blocked.set)
        stream = await runtime.stream(await runtime.next_invocation())
        tracemalloc.start()
        try:
            for piece in pieces.poured():
                await stream.write(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert await stream.finish() == Accepted()
    assert drawn_when_blocked[0] < 320
    assert peak < 2 * MIB


@on_every_driver
async def test_an_early_answer_stops_the_handlers_stream(driver: Driver) -> None:
    """A service that answers and reads no further would block a writer that only writes for ever."""
    blocked, noticed = threading.Event(), threading.Event()
    pieces = Pieces(HUGE // 65_536)

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert isinstance(held.hear(), ResponseStarted)
            assert blocked.wait(PATIENCE_S)
            held.say(REFUSED)
            assert noticed.wait(PATIENCE_S)
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)

    async with runtime_of(driver, script) as runtime:
        driver.on_blocked_write(runtime, blocked.set)
        stream = await runtime.stream(await runtime.next_invocation())

        async def feed() -> None:
            with closing(pieces.poured()) as feeding:
                for piece in feeding:
                    await stream.write(piece)

        with pytest.raises(StreamInterrupted) as caught:
            await feed()
        noticed.set()
        assert caught.value.answer == REFUSED
        assert pieces.closed
        assert pieces.drawn * 65_536 < HUGE / 2
        assert await runtime.next_invocation() == INVOCATION


@pytest.mark.parametrize("streamed", [True, False])
@on_every_driver
async def test_a_reset_is_noticed(driver: Driver, streamed: bool) -> None:
    """A service that dies under a stream stops it; under a response, its fate is unknown."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            held.wire.recv(10)
            held.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        if streamed:
            stream = await runtime.stream(invocation, b"x" * 100)
            with pytest.raises(StreamInterrupted) as caught:
                await stream.write(bytes(HUGE))
            assert caught.value.answer is None
        else:
            with pytest.raises(ConnectionLost, match="unknown"):
                await runtime.respond(invocation, bytes(8_000_000))


@on_every_driver
async def test_a_service_that_closes_instead_of_answering(driver: Driver) -> None:
    """A poll on a new connection is not asked again; a report's fate is unknown, and the loop goes on with a poll."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
            assert isinstance(held.hear(), BufferedResponse)
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            held.say(Refused(status=500, error_type="InternalServerError", error_message="no"))
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:
        with pytest.raises(ConnectionLost, match="new connection"):
            await runtime.next_invocation()
        invocation = await runtime.next_invocation()
        with pytest.raises(ConnectionLost, match="unknown"):
            await runtime.respond(invocation, b"1")
        with pytest.raises(RequestRefused, match="500"):
            await runtime.next_invocation()


@on_every_driver
async def test_nothing_there(driver: Driver) -> None:
    """A service that cannot be reached is said by address, and that nothing was sent."""
    with nobody() as address:
        async with driver.connect(address) as runtime:
            with pytest.raises(ConnectionLost, match=f"nothing was sent: no Runtime API at {address}"):
                await runtime.next_invocation()
        async with driver.connect("255.255.255.255:1") as runtime:  # what no connection can be made to
            with pytest.raises(ConnectionLost, match="nothing was sent: no Runtime API at 255"):
                await runtime.next_invocation()
        for scheme in ("http", "https"):
            async with driver.connect_caller(f"{scheme}://{address}") as caller:
                with pytest.raises(ConnectionLost, match=f"nothing was sent: no Lambda endpoint at {address}"):
                    await caller.invoke("f")


@on_every_driver
async def test_an_answer_that_cannot_be_dialled_costs_no_other_invocation(driver: Driver) -> None:
    """Nothing was sent; a service of many invocations then hands out the next, and that is answered (RT-MANAGED-15)."""
    environment, gone = ManagedLifecycle(), threading.Event()
    other = Invocation(request_id="id-2", payload=b"{}")

    def script(listener: socket.socket) -> None:
        with (held := accept(listener, environment)).wire:
            assert held.hear() == NextAsked()
            held.say(INVOCATION)
        gone.set()
        with (held := accept(listener, environment)).wire:
            assert held.hear() == NextAsked()
            held.say(other)
            assert held.hear() == BufferedResponse(request_id="id-2", payload=b"2")
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        await driver.wait(gone.wait)
        runtime._session.fresh_s = 0.0  # so that it looks, and finds that it has to dial
        there = runtime._wire._service
        with nobody() as address:
            runtime._wire._service = parse_address(address)
            with pytest.raises(ConnectionLost, match="nothing was sent"):
                await runtime.respond(invocation, b"1")
        runtime._wire._service = there
        assert await runtime.next_invocation() == other
        assert await runtime.respond(other, b"2") == Accepted()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64 + ".b"])
@on_every_driver
async def test_a_name_that_cannot_be_looked_up(driver: Driver, host: str, scheme: str) -> None:
    """It is as unreachable as any other, and no foreign exception leaves."""
    async with driver.connect_caller(f"{scheme}://{host}:1") as caller:
        with pytest.raises(ConnectionLost, match="nothing was sent"):
            await caller.invoke("f")


@on_every_driver
async def test_nothing_can_be_said_after_close(driver: Driver) -> None:
    """Closing is for good: no call dials again, nor does the end of ``with``; to close twice is to close once."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert isinstance(held.hear(), ResponseStarted)
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    with service(script) as address:
        async with driver.connect(address) as runtime:
            invocation = await runtime.next_invocation()
            stream = await runtime.stream(invocation)
        await runtime.close()
        for call in (
            runtime.next_invocation,
            lambda: runtime.respond(invocation, b"1"),
            lambda: runtime.report_error(invocation, error_type="Function.X", payload=b"{}"),
            lambda: runtime.report_init_error(error_type="Runtime.X", payload=b"{}"),
            lambda: runtime.stream(invocation),
            lambda: stream.write(b"1"),
            stream.finish,
            lambda: stream.fail(error_type="Function.X", error_body=b"{}"),
        ):
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                await call()


@on_every_driver
async def test_a_stream_that_has_ended_cannot_write_into_the_next(driver: Driver) -> None:
    """Its bytes would pass for those of the response that is being sent now."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            for data in (b"one", b"two"):
                assert held.hear() == NextAsked()
                held.say(INVOCATION)
                assert held.hear() == ResponseStarted(request_id="id-1")
                assert held.hear() == ResponseChunk(data=data)
                assert held.hear() == ResponseFinished()
                held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        first = await runtime.stream(await runtime.next_invocation(), b"one")
        assert await first.finish() == Accepted()
        second = await runtime.stream(await runtime.next_invocation(), b"two")
        for stale in (
            lambda: first.write(b"STALE"),
            first.finish,
            lambda: first.fail(error_type="Function.X", error_body=b"{}"),
        ):
            with pytest.raises(LocalProtocolError, match="the stream has ended"):
                await stale()
        assert await second.finish() == Accepted()


@on_every_driver
async def test_a_chunk_that_is_no_bytes_leaves_the_invocation_reportable(driver: Driver) -> None:
    """The head is not sent before all that goes with it is known to be right."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert held.hear() == ErrorReported(request_id="id-1", error_type="Function.X", payload=b"{}")
            held.say(Accepted())

    async with runtime_of(driver, script) as runtime:
        invocation = await runtime.next_invocation()
        with pytest.raises(Malformed, match="must be bytes"):
            await runtime.stream(invocation, "text")  # type: ignore[arg-type]  # what a caller without types may do
        assert await runtime.report_error(invocation, error_type="Function.X", payload=bytearray(b"{}")) == Accepted()


@pytest.mark.parametrize(
    ("address", "user_agent"), [("127.0.0.1:9001", "a\r\nb"), ("127.0.0.1:9001", " a"), ("a\r\nb:9001", "a")]
)
@on_every_driver
async def test_what_every_request_would_say_is_checked_at_once(driver: Driver, address: str, user_agent: str) -> None:
    """Not by the first poll, whose caller has no part in it."""
    with pytest.raises(Malformed, match=r"header value|host:port"):
        driver.connect(address, user_agent=user_agent)
    with pytest.raises(Malformed, match=r"header value|endpoint"):
        driver.connect_caller(f"http://{address}", user_agent=user_agent)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6 loopback")
@on_every_driver
async def test_ipv6_hosts_are_bracketed(driver: Driver) -> None:
    """The Host field of an IPv6 address has brackets (RFC 3986, 3.2.2), the socket's address has none."""
    heads: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        for _ in range(2):
            with listener.accept()[0] as wire:
                heads.append(wire.recv(1000))

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        address = f"[::1]:{listener.getsockname()[1]}"
        answering = threading.Thread(target=answer, args=(listener,))
        answering.start()
        async with driver.connect(address) as runtime:
            with pytest.raises(ConnectionLost):
                await runtime.next_invocation()
        async with driver.connect_caller(f"http://{address}", user_agent="test/1") as caller:
            with pytest.raises(ConnectionLost):
                await caller.invoke("f")
        answering.join(PATIENCE_S)
    assert [f"Host: {address}\r\n".encode() in head for head in heads] == [True, True]
    assert b"User-Agent: test/1\r\n" in heads[1]


# -- two at once


@on_every_driver
async def test_a_second_user_is_turned_away(driver: Driver) -> None:
    """Two would interleave their bytes: the second gets ``Busy`` and nothing is sent for it."""
    polled, turned_away = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            polled.set()
            assert turned_away.wait(PATIENCE_S)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    async with runtime_of(driver, script) as runtime:

        async def first() -> None:
            assert await runtime.next_invocation() == INVOCATION

        async def second() -> None:
            await driver.wait(polled.wait)
            for call in (runtime.next_invocation, lambda: runtime.respond(INVOCATION, b"1")):
                with pytest.raises(Busy):
                    await call()
            turned_away.set()

        await driver.at_once(first, second)


@pytest.mark.parametrize("way", ["poll", "whole", "error", "stream", "finish"])
@on_every_driver
async def test_closing_wakes_whatever_waits(driver: Driver, way: str) -> None:
    """From elsewhere: a poll, an answer that is due, a write that blocks are given up, and no other dial is made."""
    reached, closed = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            if way != "poll":
                held.say(INVOCATION)
                held.wire.recv(1)
            if way not in ("poll", "stream"):
                while not held.wire.recv(65_536).endswith((b"PAYLOAD", b"0\r\n\r\n")):
                    pass
            reached.set()
            assert closed.wait(PATIENCE_S)
        assert_nobody_dials(listener)

    async with runtime_of(driver, script) as runtime:

        async def converse() -> object:
            invocation = await runtime.next_invocation()
            if way == "whole":
                return await runtime.respond(invocation, b"PAYLOAD")
            if way == "error":
                return await runtime.report_error(invocation, error_type="Function.X", payload=b"PAYLOAD")
            return await (await runtime.stream(invocation, bytes(HUGE if way == "stream" else 1))).finish()

        async def first() -> None:
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                await converse()
            assert is_hung_up(runtime)

        async def second() -> None:
            await driver.wait(reached.wait)
            await runtime.close()

        await driver.at_once(first, second)
        closed.set()


@on_every_driver
async def test_closing_wakes_a_stream_that_waits(driver: Driver) -> None:
    """It is told why, and every call from now on is too; closing is for good."""
    heard = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"))
            assert held.wire.recv(1) == b""

    async with Way().caller_of(driver, script) as caller:
        answer = await caller.invoke_with_response_stream("f")

        async def first() -> None:
            assert await anext(answer) == b"a"
            heard.set()
            with pytest.raises(ConnectionLost, match="this caller was closed"):
                await anext(answer)
            assert is_hung_up(caller)

        async def second() -> None:
            await driver.wait(heard.wait)
            with pytest.raises(Busy):
                await caller.invoke("f")
            await caller.close()
            with pytest.raises(ConnectionLost, match="this caller was closed"):  # it is not worth waiting for the other
                await caller.invoke("f")

        await driver.at_once(first, second)
        for call in (lambda: caller.invoke("f"), lambda: caller.invoke_with_response_stream("f"), answer.__anext__):
            with pytest.raises(ConnectionLost, match="this caller was closed"):
                await call()


# -- the caller: whole answers


@asynccontextmanager
async def caller_of(driver: Driver, handler: Handler) -> AsyncIterator[Caller]:
    """A caller, and behind it a Lambda that runs ``handler`` in a thread of this process."""
    with LocalLambda(handler) as fn:
        async with driver.connect_caller(fn.url) as caller:
            yield caller


@on_every_driver
async def test_a_value(driver: Driver) -> None:
    """Payload in, payload out; version and ids with it. No payload is an empty object."""
    contexts: list[Any] = []

    def handler(event: object, context: object) -> object:
        contexts.append(context)
        return {"got": event}

    async with caller_of(driver, handler) as caller:
        answer = await caller.invoke("any", b'{"a": [1, "\xc3\xa9"]}')
        assert json.loads(answer.payload) == {"got": {"a": [1, "é"]}}
        assert (answer.status, answer.function_error, answer.log_result) == (200, "", "")
        assert (answer.content_type, answer.executed_version) == ("application/json", "$LATEST")
        assert answer.request_id == contexts[0].aws_request_id
        assert json.loads((await caller.invoke("any")).payload) == {"got": {}}


@on_every_driver
async def test_a_hundred_calls_and_the_largest_of_them(driver: Driver) -> None:
    """Each answer is its question's, over one connection, up to 6 MB there and back."""
    async with caller_of(driver, lambda event, _: event) as caller:
        for number in range(100):
            assert (await caller.invoke("any", b"%d" % number)).payload == b"%d" % number
        payload = b'"' + b"x" * (6 * MIB - 2) + b'"'
        assert (await caller.invoke("any", payload)).payload == payload


@on_every_driver
async def test_a_function_that_fails(driver: Driver) -> None:
    """An answer, not an exception: its document is the payload."""

    def fail(_: object, __: object) -> object:
        raise ValueError("no")

    async with caller_of(driver, fail) as caller:
        answer = await caller.invoke("any", b"1", log_type="Tail")
    assert (answer.status, answer.function_error) == (200, "Unhandled")
    assert json.loads(answer.payload)["errorType"] == "ValueError"
    assert log_of(answer.log_result).splitlines()[-1].endswith("\tStatus: error")


@on_every_driver
async def test_event_and_dry_run(driver: Driver) -> None:
    """202 before the function has run, 204 without; both on the one connection."""
    release, called = threading.Event(), threading.Event()
    calls: list[object] = []

    def handler(event: object, _: object) -> object:
        assert release.wait(PATIENCE_S)
        calls.append(event)
        called.set()
        return None

    async with caller_of(driver, handler) as caller:
        answer = await caller.invoke("any", b'"later"', invocation_type="Event")
        assert (answer.status, answer.payload) == (202, b"")
        wire = wire_of(caller)
        answer = await caller.invoke("any", b'"never"', invocation_type="DryRun")
        assert (answer.status, answer.payload) == (204, b"")
        assert wire_of(caller) is wire
        release.set()
        await driver.wait(called.wait)
        assert (await caller.invoke("any", b'"now"')).payload == b"null"
    assert calls == ["later", "now"]


@pytest.mark.parametrize("streaming", [False, True])
@on_every_driver
async def test_whatever_else_is_said_of_a_call(driver: Driver, streaming: bool) -> None:
    """ARN, qualifier, tenant, client context and other fields reach the service, or the function."""
    contexts: list[Any] = []

    def handler(_: object, context: object) -> object:
        contexts.append(context)
        return None

    async with caller_of(driver, handler) as caller:
        call: Callable[..., Any] = caller.invoke_with_response_stream if streaming else caller.invoke
        answer = await call(
            ARN,
            b"{}",
            qualifier="$LATEST",
            client_context='{"custom": {"ключ": "é"}}',
            tenant_id="blue",
            headers=(("x-amzn-requestid", "my-id"),),
        )
        if streaming:
            assert [chunk async for chunk in answer] == [b"null"]
            answer = answer.accepted
        assert answer.request_id == "my-id"
    (context,) = contexts
    assert (context.aws_request_id, context.tenant_id) == ("my-id", "blue")
    assert context.client_context.custom == {"ключ": "é"}


@on_every_driver
async def test_a_signer_is_asked(driver: Driver) -> None:
    """Its fields are sent, with the user agent that was given; what it raises leaves as it is."""
    asked: list[str] = []

    def sign(method: str, url: str, fields: Headers, payload: bytes) -> Headers:
        asked.append(f"{method} {url} {dict(fields)['Host']} {payload.decode()}")
        if payload == b"0":
            raise PermissionError("no")
        return (("authorization", "me"),)

    heard: list[bytes] = []

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            heard.append(data := held.receive())
            held.connection.receive_data(data)
            assert isinstance(held.connection.next_event(), InvokeAsked)
            held.say(InvokeAnswered(payload=b"1"))

    with service(script) as address:
        async with driver.connect_caller(f"http://{address}", sign=sign, user_agent="test/1") as caller:
            with pytest.raises(PermissionError):
                await caller.invoke("f", b"0")
            assert (await caller.invoke("f", b"1")).payload == b"1"
    url = f"http://{address}/2015-03-31/functions/f/invocations"
    assert asked == [f"POST {url} {address} 0", f"POST {url} {address} 1"]
    assert b"\r\nauthorization: me\r\n" in heard[0].lower()
    assert b"\r\nUser-Agent: test/1\r\n" in heard[0]


# -- the caller: streamed answers


@on_every_driver
async def test_each_chunk_is_seen_before_the_next_is_written(driver: Driver) -> None:
    """The function waits until its caller has the chunk before; then how it ended, with the log."""
    seen = threading.Semaphore(0)
    written = []

    def body() -> Iterator[bytes]:
        for number in range(50):
            written.append(number)
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    async with caller_of(driver, lambda _, __: StreamingResponse(body(), content_type="text/plain")) as caller:
        answer = await caller.invoke_with_response_stream("any", log_type="Tail")
        assert (answer.accepted.content_type, answer.accepted.executed_version) == ("text/plain", "$LATEST")
        for number in range(50):
            assert await anext(answer) == b"%d" % number
            assert written == list(range(number + 1))
            assert answer.complete is None
            seen.release()
        assert [chunk async for chunk in answer] == []
        assert answer.complete is not None
        assert log_of(answer.complete.log_result).startswith(f"START RequestId: {answer.accepted.request_id} ")
        assert [chunk async for chunk in answer] == []


@on_every_driver
async def test_the_prelude_is_not_taken_away(driver: Driver) -> None:
    """JSON, eight NULs and body arrive as they were written."""
    response = HttpResponse(status_code=201, headers={"content-type": "text/plain"}, body=["b", "\0c"])
    async with caller_of(driver, lambda _, __: response) as caller:
        answer = await caller.invoke_with_response_stream("any")
        head, nuls, body = b"".join([chunk async for chunk in answer]).partition(b"\0" * 8)
    assert answer.accepted.content_type == "application/vnd.awslambda.http-integration-response"
    assert (json.loads(head)["statusCode"], nuls, body) == (201, b"\0" * 8, b"b\0c")


@on_every_driver
async def test_a_function_that_fails_midway(driver: Driver) -> None:
    """What it wrote arrives, then the error as AWS says it; the connection goes on."""

    def body() -> Iterator[bytes]:
        yield b"begun"
        raise KeyError("midway")

    async with caller_of(driver, lambda event, _: StreamingResponse(body()) if event else event) as caller:
        answer = await caller.invoke_with_response_stream("any", b"1")
        assert [chunk async for chunk in answer] == [b"begun"]
        assert answer.complete is not None
        assert answer.complete.error_code == "KeyError"
        assert json.loads(answer.complete.error_details)["errorType"] == "KeyError"
        wire = wire_of(caller)
        assert (await caller.invoke("any")).payload == b"{}"
        assert wire_of(caller) is wire


@on_every_driver
async def test_a_stream_that_the_service_fails(driver: Driver) -> None:
    """CallFailed, as often as more is asked for."""

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"), InvokeFailed(error_code="Oops", message="no"))

    async with Way().caller_of(driver, script) as caller:
        answer = await caller.invoke_with_response_stream("f")
        assert await anext(answer) == b"a"
        for _ in range(2):
            with pytest.raises(CallFailed, match="Oops: no"):
                await anext(answer)
        assert answer.complete is None


@on_every_driver
async def test_a_stream_that_is_given_up_for_another_call(driver: Driver) -> None:
    """Its bytes never get into the next answer, and it says that it was given up."""
    handler: Handler = lambda event, _: StreamingResponse([str(event), "more"]) if event else event  # noqa: E731
    async with caller_of(driver, handler) as caller:
        stale = await caller.invoke_with_response_stream("any", b"1")
        assert await anext(stale) == b"1"
        fresh = await caller.invoke_with_response_stream("any", b"2")
        assert [chunk async for chunk in fresh] == [b"2", b"more"]
        assert (await caller.invoke("any", b"0")).payload == b"0"
        with pytest.raises(LocalProtocolError, match="given up"):
            await anext(stale)


@on_every_driver
async def test_a_stream_that_is_closed(driver: Driver) -> None:
    """Its connection is closed at once, nothing more comes of it, and the caller goes on."""

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            held.hear()
            held.say(InvokeAccepted(), PayloadChunk(payload=b"a"))
            assert held.wire.recv(1) == b""
        with (held := Peer(listener.accept()[0])).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=b"1")
            held.say(InvokeAnswered(payload=b"1"))

    async with Way().caller_of(driver, script) as caller:
        async with await caller.invoke_with_response_stream("f") as answer:
            assert await anext(answer) == b"a"
        assert is_hung_up(caller)
        with pytest.raises(LocalProtocolError, match="given up"):
            await anext(answer)
        assert (await caller.invoke("f", b"1")).payload == b"1"


# -- the caller: refusals


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("asked", "status", "error_type"),
    [
        ({"payload": b"not json"}, 400, "InvalidRequestContentException"),
        ({"client_context": "no"}, 400, "InvalidRequestContentException"),
        ({"payload": b'"' + b"x" * 6 * MIB + b'"'}, 413, "RequestTooLargeException"),
        ({"payload": b'"' + b"x" * 60 * MIB + b'"'}, 413, "RequestTooLargeException"),
    ],
)
@on_every_driver
async def test_what_cannot_be_invoked_is_refused(
    driver: Driver, asked: dict[str, Any], status: int, error_type: str, streaming: bool
) -> None:
    """CallRefused with what was said, also while the request is still being written; then the caller goes on."""
    calls: list[object] = []
    async with caller_of(driver, lambda event, _: calls.append(event)) as caller:
        call: Callable[..., Any] = caller.invoke_with_response_stream if streaming else caller.invoke
        with pytest.raises(CallRefused) as caught:
            await call("any", **asked)
        assert (caught.value.refusal.status, caught.value.refusal.error_type) == (status, error_type)
        assert calls == []
        assert (await caller.invoke("any", b"1")).payload == b"null"


@pytest.mark.parametrize("streaming", [False, True])
@on_every_driver
async def test_a_function_that_is_not_there(driver: Driver, streaming: bool) -> None:
    """404 keeps the connection."""

    def script(listener: socket.socket) -> None:
        with (held := Peer(listener.accept()[0])).wire:
            for _ in range(2):
                assert isinstance(held.hear(), InvokeAsked)
                held.say(InvokeRefused(status=404, error_type="ResourceNotFoundException", message="no f"))

    async with Way().caller_of(driver, script) as caller:
        call: Callable[..., Any] = caller.invoke_with_response_stream if streaming else caller.invoke
        for _ in range(2):
            with pytest.raises(CallRefused, match="404 ResourceNotFoundException: no f"):
                await call("f")


# -- whole programs

APP: Final = """
from lambda_wire import StreamingResponse

def pour(event, context):
    print("poured")
    return StreamingResponse(bytes([number % 256]) * 65_536 for number in range(event))
"""


@on_every_driver
async def test_20_mib_from_the_command_in_little_memory(driver: Driver, tmp_path: Path) -> None:
    """However long the answer: no more than a chunk or two is held. Whole, with its log, it comes too."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    with running_local("app.pour", cwd=tmp_path) as local:
        async with driver.connect_caller(f"http://127.0.0.1:{local.port}/") as caller:
            whole = await caller.invoke("any", b"2", log_type="Tail")
            assert whole.payload == bytes(65_536) + b"\1" * 65_536
            assert "poured\n" in log_of(whole.log_result)
            answer = await caller.invoke_with_response_stream("any", b"320", log_type="Tail")
            size, first_of_each = 0, set()
            tracemalloc.start()
            try:
                async for chunk in answer:
                    size += len(chunk)
                    first_of_each.add(chunk[0])
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (size, len(first_of_each)) == (20 * MIB, 256)
            assert peak < 2 * MIB
            assert answer.complete is not None
            assert "poured\n" in log_of(answer.complete.log_result)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_a_runtime_under_the_real_emulator(driver: Driver) -> None:
    """A hundred invocations, errors, streams, failed streams, and responses at and over the limit, in one runtime."""
    driver.need()
    with running_emulator([sys.executable, driver_app.__file__, driver.name]) as emulator:

        def invoke(do: str, **said: object) -> bytes:
            status, _, body = emulator.invoke(json.dumps({"do": do, **said}).encode())
            assert status == 200, (body, emulator.log[-2000:])
            return body

        pid = json.loads(invoke("pid"))
        for number in range(100):
            assert json.loads(invoke("echo", number=number)) == {"do": "echo", "number": number}
        assert json.loads(invoke("error")) == {"errorType": "Function.X"}
        assert invoke("stream") == b"one two"
        assert invoke("fail") == b"one "  # what the emulator shows of trailers
        assert len(invoke("whole", size=6 * MIB)) == 6 * MIB
        assert len(invoke("whole", size=6 * MIB + 100)) == 6 * MIB + 100
        invoke("whole", size=6 * MIB + 101)
        assert "status=413" in emulator.log
        assert len(invoke("pour", size=4 * MIB)) == 4 * MIB
        assert json.loads(invoke("pid")) == pid
