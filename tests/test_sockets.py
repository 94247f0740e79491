"""Sockets that answer wants, over TCP and TLS, by every driver: early words, peers that go away, deadlines."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lambda_wire import _line, sync
from lambda_wire._errors import CallRefused, ConnectionLost
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeComplete, PayloadChunk
from lambda_wire._responses import StreamingResponse
from lambda_wire.testing import LocalLambda
from tests.driver_parts import Driver, LoopDriver, dial, is_hung_up, on_every_driver, on_every_loop, wire_of
from tests.driver_services import (
    HUGE,
    TOO_LARGE,
    Security,
    TlsPeer,
    Way,
    assert_nobody_dials,
    service,
    tls_in_front_of,
    until_heard,
)
from tests.running_local import PATIENCE_S


@pytest.fixture(scope="module")
def security() -> Security:
    return Security("127.0.0.1")


@pytest.fixture(params=["tcp", "tls"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.getfixturevalue("security") if request.param == "tls" else None)


# -- calls


@on_every_driver
async def test_whole_and_streamed_calls(driver: Driver, way: Way) -> None:
    """One connection carries them all, each answer as it was said."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            for number in range(3):
                assert held.hear() == InvokeAsked(function_name="f", payload=b"%d" % number)
                held.say(InvokeAnswered(payload=b"%d" % number))
                assert held.hear() == InvokeAsked(function_name="f", payload=b"[]", streaming=True)
                held.say(InvokeAccepted(), PayloadChunk(payload=b"a"), PayloadChunk(payload=b"b"), InvokeComplete())
            assert held.receive() == b""

    async with way.caller_of(driver, script) as caller:
        for number in range(3):
            assert (await caller.invoke("f", b"%d" % number)).payload == b"%d" % number
            answer = await caller.invoke_with_response_stream("f", b"[]")
            assert [chunk async for chunk in answer] == [b"a", b"b"]


@pytest.mark.parametrize("size", [16_384, 16_385, 6_000_000])
@on_every_driver
async def test_a_large_call_and_its_large_answer(driver: Driver, way: Way, size: int) -> None:
    """More bytes than a TLS record, or any socket buffer, holds."""
    payload = b'"' + bytes(range(48, 58)) * (size // 10) + b'"'

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=payload)
            held.say(InvokeAnswered(payload=payload))

    async with way.caller_of(driver, script) as caller:
        assert (await caller.invoke("f", payload)).payload == payload


@on_every_driver
async def test_each_chunk_is_seen_before_the_next_is_written_over_tls(driver: Driver, security: Security) -> None:
    """The function waits until its caller has the chunk before: TLS holds nothing back."""
    seen = threading.Semaphore(0)

    def body() -> Iterator[bytes]:
        for number in range(20):
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    with (
        LocalLambda(lambda event, _: StreamingResponse(body()) if event == "stream" else event) as fn,
        tls_in_front_of(int(fn.url.rpartition(":")[2]), security.server) as port,
    ):
        async with driver.connect_caller(f"https://127.0.0.1:{port}/", context=security.caller) as caller:
            assert (await caller.invoke("any", b"[1]")).payload == b"[1]"
            answer = await caller.invoke_with_response_stream("any", b'"stream"')
            for number in range(20):
                assert await anext(answer) == b"%d" % number
                seen.release()
            assert [chunk async for chunk in answer] == []
            event = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
            assert (await caller.invoke("any", event)).payload == event
            with pytest.raises(CallRefused, match="413"):
                await caller.invoke("any", event + b" ")


# -- early words


@on_every_driver
async def test_a_refusal_is_heard_while_the_write_blocks(driver: Driver, way: Way) -> None:
    """A service that answers and reads no further: CallRefused, and nothing waits for ever."""
    refused = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.answer_early()
            assert refused.wait(PATIENCE_S)

    async with way.caller_of(driver, script) as caller:
        with pytest.raises(CallRefused) as caught:
            await caller.invoke("f", bytes(HUGE))
        refused.set()
    assert caught.value.refusal == TOO_LARGE


@on_every_driver
async def test_a_refusal_is_heard_although_the_connection_was_reset(driver: Driver, way: Way) -> None:
    """Closing with unread bytes resets it; the refusal lies in our buffer, in TLS records or not."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.answer_early()

    for _ in range(5):
        async with way.caller_of(driver, script) as caller:
            with pytest.raises(CallRefused) as caught:
                await caller.invoke("f", bytes(6_000_000))
        assert caught.value.refusal == TOO_LARGE


# -- peers that go away


@pytest.mark.parametrize("politely", [False, True])
@on_every_driver
async def test_a_kept_connection_that_closed_is_noticed_by_the_look(driver: Driver, way: Way, politely: bool) -> None:
    """With close_notify and without: the call goes out on a new connection, once."""

    def script(listener: socket.socket) -> None:
        for number in range(3):
            with (held := way.accept(listener)).wire:
                assert held.hear() == InvokeAsked(function_name="f", payload=b"%d" % number)
                held.say(InvokeAnswered(payload=b"%d" % number))
                if politely:
                    held.leave()

    async with way.caller_of(driver, script) as caller:
        for number in range(3):
            assert (await caller.invoke("f", b"%d" % number)).payload == b"%d" % number
            until_heard(wire_of(caller))


@pytest.mark.parametrize("politely", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
@on_every_driver
async def test_an_answer_that_is_cut_short_is_lost(driver: Driver, way: Way, politely: bool, streaming: bool) -> None:
    """With close_notify and without, before the head and after it: the call is heard once."""
    heard: list[object] = []

    def script(listener: socket.socket) -> None:
        for begun in (False, True):
            with (held := way.accept(listener)).wire:
                heard.append(held.hear())
                if begun and streaming:
                    held.say(InvokeAccepted(), PayloadChunk(payload=b"a"))
                elif begun:
                    held.wire.sendall(held.encode(held.connection.send(InvokeAnswered(payload=b"12345"))[:-1]))
                if politely:
                    held.leave()

    async with way.caller_of(driver, script) as caller:
        for begun in (False, True):
            chunks: list[bytes] = []

            async def call(chunks: list[bytes]) -> None:
                if not streaming:
                    await caller.invoke("f", b"1")
                async for chunk in await caller.invoke_with_response_stream("f", b"1"):
                    chunks.append(chunk)  # noqa: PERF401  # what came before the fault is kept

            with pytest.raises(ConnectionLost, match="may have run"):
                await call(chunks)
            assert chunks == [b"a"] * (begun and streaming)
    assert heard == [InvokeAsked(function_name="f", payload=b"1", streaming=streaming)] * 2


@pytest.mark.parametrize("doing", ["_receive", "_send"])
@on_every_driver
async def test_a_network_that_gave_up_is_no_deadline(
    driver: Driver, way: Way, doing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ETIMEDOUT has the type of our own TimeoutError; it means that the connection is lost."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire, suppress(OSError):
            held.receive()

    def give_up(*_: object) -> int:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    async with way.caller_of(driver, script) as caller:
        monkeypatch.setattr(caller._wire, doing, give_up)
        with pytest.raises(ConnectionLost, match="may have run"):
            await caller.invoke("f", b"1")


# -- deadlines


def test_a_deadline_while_reading(way: Way) -> None:
    """Nothing came, or half of a record: TimeoutError, and the next call uses another connection."""
    done = threading.Event()

    def script(listener: socket.socket) -> None:
        with (nothing := way.accept(listener)).wire:
            assert nothing.hear() == InvokeAsked(function_name="f", payload=b"1")
            with (half := way.accept(listener)).wire:
                assert half.hear() == InvokeAsked(function_name="f", payload=b"2")
                record = half.encode(half.connection.send(InvokeAnswered(payload=b"2")))
                half.wire.sendall(record[: len(record) // 2])
                assert done.wait(PATIENCE_S)

    with way.caller(script) as caller:
        for payload in (b"1", b"2"):
            with pytest.raises(TimeoutError, match="in time"):
                caller.invoke("f", payload, timeout=0.2)
        done.set()


def test_a_stream_that_timed_out_midway_is_resumed(way: Way) -> None:
    """Half a chunk had come, in half a record: the rest makes it whole."""
    timed_out = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.hear()
            held.say(InvokeAccepted())
            chunk = held.encode(held.connection.send(PayloadChunk(payload=b"x" * 1000)))
            held.wire.sendall(chunk[:500])
            assert timed_out.wait(PATIENCE_S)
            held.wire.sendall(chunk[500:])
            held.say(InvokeComplete())

    with way.caller(script) as caller:
        answer = caller.invoke_with_response_stream("f")
        answer._timeout = 0.05
        with pytest.raises(TimeoutError):
            next(answer)
        timed_out.set()
        answer._timeout = PATIENCE_S
        assert list(answer) == [b"x" * 1000]


def test_a_deadline_while_writing(way: Way) -> None:
    """A service that neither reads nor speaks does not hold its caller for ever; nothing follows on that connection."""
    timed_out = threading.Event()

    def script(listener: socket.socket) -> None:
        with way.accept(listener).wire:
            assert timed_out.wait(PATIENCE_S)
        with (held := way.accept(listener)).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=b"1")
            held.say(InvokeAnswered(payload=b"1"))

    with way.caller(script) as caller:
        with pytest.raises(TimeoutError):
            caller.invoke("f", bytes(HUGE), timeout=0.1)
        timed_out.set()
        assert caller.invoke("f", b"1", timeout=PATIENCE_S).payload == b"1"


# -- closing


@pytest.mark.parametrize("payload", [b"1", bytes(HUGE)])
@on_every_driver
async def test_closing_wakes_whoever_reads_or_writes(driver: Driver, way: Way, payload: bytes) -> None:
    """From elsewhere; he is told why, whatever lay in the socket, and nobody dials again."""
    reached, closed = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.receive()
            held.wire.sendall(held.encode(b"HTTP/1.1 200 OK\r\n"))
            reached.set()
            assert closed.wait(PATIENCE_S)
        assert_nobody_dials(listener)

    async with way.caller_of(driver, script) as caller:

        async def first() -> None:
            with pytest.raises(ConnectionLost, match="this caller was closed"):
                await caller.invoke("f", payload)
            assert is_hung_up(caller)

        async def second() -> None:
            await driver.wait(reached.wait)
            await caller.close()

        await driver.at_once(first, second)
        closed.set()


# -- dialling


@pytest.mark.parametrize("names", [("other.test",), ("127.0.0.2",), ()])
@on_every_driver
async def test_a_certificate_that_is_not_the_hosts_is_refused(
    driver: Driver, security: Security, names: tuple[str, ...]
) -> None:
    """Another name, another address, another authority: nothing is sent, and the message says why."""
    other = Security(*(names or ("127.0.0.1",)))

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire, pytest.raises(ssl.SSLError, match="alert"):  # and no call
            TlsPeer(wire, other.server).receive()

    with service(script) as address:
        context = other.caller if names else security.caller
        async with driver.connect_caller(f"https://{address}", context=context) as caller:
            with pytest.raises(ConnectionLost, match=r"nothing was sent.*certificate verify failed"):
                await caller.invoke("f", b"secret")
            assert is_hung_up(caller)


@on_every_driver
async def test_a_service_that_does_not_speak_tls(driver: Driver) -> None:
    """The default context is used, nothing is sent, and no foreign exception leaves."""

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire:
            wire.recv(65_536)
            wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with service(script) as address:
        async with driver.connect_caller(f"https://{address}") as caller:
            with pytest.raises(ConnectionLost, match="nothing was sent"):
                await caller.invoke("f")


@on_every_driver
async def test_a_handshake_has_a_deadline(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is not there."""
    given_up = threading.Event()

    def script(listener: socket.socket) -> None:
        with listener.accept()[0]:
            assert given_up.wait(PATIENCE_S)

    monkeypatch.setattr(_line, "_CONNECT_TIMEOUT_S", 0.1)
    with service(script) as address:
        async with driver.connect_caller(f"https://{address}") as caller:
            with pytest.raises(ConnectionLost, match=r"nothing was sent.*timed out"):
                await caller.invoke("f")
            assert is_hung_up(caller)
            given_up.set()


def test_a_dial_that_is_cancelled_leaks_nothing(security: Security, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted handshake closes its socket."""
    wrapped: list[socket.socket] = []

    def interrupted(plain: socket.socket, **_: object) -> ssl.SSLSocket:
        wrapped.append(plain)
        raise KeyboardInterrupt

    monkeypatch.setattr(security.caller, "wrap_socket", interrupted)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with sync.connect_caller(endpoint, context=security.caller) as caller, pytest.raises(KeyboardInterrupt):
            caller.invoke("f")
    assert wrapped[0].fileno() == -1


@on_every_loop
async def test_a_handshake_that_waits_to_write(
    driver: LoopDriver, security: Security, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on when it can, as when it waits to read."""
    shake, tried = ssl.SSLSocket.do_handshake, []

    def hesitate(wire: ssl.SSLSocket) -> None:
        tried.append(wire)
        if len(tried) == 1:
            raise ssl.SSLWantWriteError
        shake(wire)

    def script(listener: socket.socket) -> None:
        with (held := Way(security).accept(listener)).wire:
            held.hear()
            held.say(InvokeAnswered(payload=b"1"))

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", hesitate)
    async with Way(security).caller_of(driver, script) as caller:
        assert (await caller.invoke("f", b"1")).payload == b"1"


# -- what TLS says for itself


@on_every_driver
async def test_session_tickets_are_not_the_services_words(driver: Driver, security: Security) -> None:
    """TLS 1.3 sends them unasked (RFC 8446, 4.6.1): the look reads on, and the connection is used."""

    def script(listener: socket.socket) -> None:
        with (held := Way(security).accept(listener)).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=b"1")
            held.say(InvokeAnswered(payload=b"1"))

    async with Way(security).caller_of(driver, script) as caller:
        await dial(caller)
        wire = wire_of(caller)
        assert isinstance(wire, ssl.SSLSocket)
        assert wire.version() == "TLSv1.3"
        until_heard(wire_of(caller))
        assert (await caller.invoke("f", b"1")).payload == b"1"
        assert wire_of(caller) is wire


@on_every_driver
async def test_half_a_record_is_not_the_services_words(driver: Driver, security: Security) -> None:
    """The look does not wait for its other half: the call goes out."""

    def script(listener: socket.socket) -> None:
        with (held := Way(security).accept(listener)).wire:
            held.hear()
            answer = held.encode(held.connection.send(InvokeAnswered(payload=b"1")))
            interim = held.encode(b"HTTP/1.1 100 Continue\r\n\r\n")
            held.wire.sendall(answer + interim[:10])
            assert held.hear() == InvokeAsked(function_name="f", payload=b"2")
            held.wire.sendall(interim[10:])
            held.say(InvokeAnswered(payload=b"2"))

    async with Way(security).caller_of(driver, script) as caller:
        assert (await caller.invoke("f", b"1")).payload == b"1"
        until_heard(wire_of(caller))
        assert (await caller.invoke("f", b"2")).payload == b"2"


@on_every_driver
async def test_words_that_nobody_asked_for(driver: Driver, way: Way) -> None:
    """The look hears them, and the next call goes out on a new connection."""

    def script(listener: socket.socket) -> None:
        for payload in (b"1", b"2"):
            with (held := way.accept(listener)).wire:
                assert held.hear() == InvokeAsked(function_name="f", payload=payload)
                held.say(InvokeAnswered(payload=payload))
                held.wire.sendall(held.encode(b"HTTP/1.1 408 Request Timeout\r\n\r\n"))

    async with way.caller_of(driver, script) as caller:
        for payload in (b"1", b"2"):
            assert (await caller.invoke("f", payload)).payload == payload
            until_heard(wire_of(caller))
