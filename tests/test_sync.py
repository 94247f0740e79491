"""The blocking driver over real sockets: what the stand-in network of ``test_exchanges`` cannot show."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lambda_wire import sync
from lambda_wire._errors import Busy, ConnectionLost, LocalProtocolError, StreamInterrupted
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
)
from lambda_wire._malformed import Malformed
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal

INVOCATION = Invocation(request_id="id-1", payload=b"{}")
REFUSED = Refused(status=413, error_type="RequestEntityTooLarge", error_message="too large")


class Service:
    """One accepted connection, spoken to event by event from a script."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.connection = ServiceConnection()

    def hear(self) -> object:
        """Return the next event of the runtime."""
        while isinstance(event := self.connection.next_event(), Signal):
            self.connection.receive_data(self.wire.recv(65_536))
        return event

    def say(self, answer: Invocation | Accepted | Refused) -> None:
        self.wire.sendall(self.connection.send(answer))


@contextmanager
def service(script: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run ``script`` with a listening socket in a thread; what fails in it fails the test."""
    faults: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def run() -> None:
            try:
                script(listener)
            except BaseException as fault:  # noqa: BLE001  # raised again below
                faults.append(fault)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(30)
    assert not thread.is_alive()
    if faults:
        raise faults[0]


def accept(listener: socket.socket) -> Service:
    return Service(listener.accept()[0])


def test_every_conversation_over_one_connection() -> None:
    """One connection is kept for everything, and TCP_NODELAY is set on it."""
    heard: list[object] = []

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            for answer in (INVOCATION, Accepted(), INVOCATION, Accepted(), INVOCATION, Accepted()):
                while isinstance(event := held.hear(), (ResponseStarted, ResponseChunk)):
                    heard.append(event)
                heard.append(event)
                held.say(answer)
            assert held.wire.recv(1) == b""

    with service(script) as address, sync.connect(address, user_agent="test/1") as runtime:
        assert runtime.respond(runtime.next_invocation(), b"1") == Accepted()
        invocation = runtime.next_invocation()
        assert runtime._wire._connected().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert runtime.report_error(invocation, error_type="Function.X", payload=b"{}") == Accepted()
        stream = runtime.stream(runtime.next_invocation(), b"a", content_type="text/plain")
        stream.write(b"b", b"c")
        assert stream.finish() == Accepted()
        with pytest.raises(LocalProtocolError):
            stream.write(b"d")
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


def test_init_errors_and_failed_streams() -> None:
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
        with sync.connect(address) as runtime:
            assert runtime.report_init_error(error_type="Runtime.X", payload=b"{}") == Accepted()
        with sync.connect(address) as runtime:
            stream = runtime.stream(runtime.next_invocation())
            assert stream.fail(error_type="Function.X", error_body=b"{}") == Accepted()


def test_a_poll_that_timed_out_is_resumed() -> None:
    """``timeout`` gives the caller back its thread; the poll stays open and is not asked again."""
    ready = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            assert ready.wait(30)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    with service(script) as address, sync.connect(address) as runtime:
        with pytest.raises(TimeoutError):
            runtime.next_invocation(timeout=0.01)
        ready.set()
        assert runtime.next_invocation(timeout=30) == INVOCATION


def test_a_second_caller_is_turned_away() -> None:
    """Two callers would interleave their bytes: the second gets ``Busy`` and nothing is sent for it."""
    polled, turned_away = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            assert held.hear() == NextAsked()
            polled.set()
            assert turned_away.wait(30)
            held.say(INVOCATION)
            assert held.wire.recv(65_536) == b""

    with service(script) as address, sync.connect(address) as runtime:
        answers: list[Invocation] = []
        first = threading.Thread(target=lambda: answers.append(runtime.next_invocation()))
        first.start()
        assert polled.wait(30)
        with pytest.raises(Busy):
            runtime.next_invocation()
        turned_away.set()
        first.join(30)
        assert answers == [INVOCATION]
        runtime.close()


def test_a_large_response_goes_out_whole() -> None:
    """More bytes than any socket buffer holds are written in as many steps as it takes."""
    payload = bytes(range(256)) * 24_000

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert held.hear() == BufferedResponse(request_id="id-1", payload=payload)
            held.say(Accepted())

    with service(script) as address, sync.connect(address) as runtime:
        assert runtime.respond(runtime.next_invocation(), payload) == Accepted()


def test_thousands_of_chunks_in_one_write() -> None:
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

    with service(script) as address, sync.connect(address) as runtime:
        stream = runtime.stream(runtime.next_invocation())
        stream.write(*chunks)
        assert stream.finish() == Accepted()


def test_an_early_answer_is_noticed_while_a_write_blocks() -> None:
    """A service that answers and reads no further would block a writer that only writes for ever."""
    noticed = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert isinstance(held.hear(), ResponseStarted)
            held.wire.recv(100_000, socket.MSG_WAITALL)
            held.say(REFUSED)
            assert noticed.wait(30)

    with service(script) as address, sync.connect(address) as runtime:
        stream = runtime.stream(runtime.next_invocation())
        with pytest.raises(StreamInterrupted) as caught:
            stream.write(bytes(100_000_000))
        noticed.set()
        assert caught.value.answer == REFUSED


def test_a_reset_is_noticed() -> None:
    """A service that dies under a stream stops it; under a response, its fate is unknown."""
    for streamed in (True, False):

        def script(listener: socket.socket) -> None:
            with (held := accept(listener)).wire:
                held.hear()
                held.say(INVOCATION)
                held.wire.recv(10)
                held.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        with service(script) as address, sync.connect(address) as runtime:
            invocation = runtime.next_invocation()
            if streamed:
                stream = runtime.stream(invocation, b"x" * 100)
                with pytest.raises(StreamInterrupted) as caught:
                    stream.write(bytes(100_000_000))
                assert caught.value.answer is None
            else:
                with pytest.raises(ConnectionLost, match="unknown"):
                    runtime.respond(invocation, bytes(8_000_000))


def test_nothing_there() -> None:
    """A Runtime API that cannot be reached is said by address, and that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        sync.connect(f"127.0.0.1:{port}") as runtime,
        pytest.raises(ConnectionLost, match=f"nothing.*127.0.0.1:{port}"),
    ):
        runtime.next_invocation()


def test_closing_wakes_a_poll_that_waits_in_another_thread() -> None:
    """The poll is given up, and its caller is told instead of waiting for ever."""
    polled = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            polled.set()
            assert held.wire.recv(1) == b""

    with service(script) as address, sync.connect(address) as runtime:
        faults: list[Exception] = []

        def wait() -> None:
            try:
                runtime.next_invocation()
            except ConnectionLost as fault:
                faults.append(fault)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert polled.wait(30)
        runtime.close()
        waiting.join(30)
        assert not waiting.is_alive()
        assert len(faults) == 1


def test_use_after_close_dials_again() -> None:
    """Closing gives the connection up, not the runtime."""

    def script(listener: socket.socket) -> None:
        for _ in range(2):
            with (held := accept(listener)).wire:
                held.hear()
                held.say(INVOCATION)

    with service(script) as address, sync.connect(address) as runtime:
        assert runtime.next_invocation() == INVOCATION
        runtime.close()
        assert runtime.next_invocation() == INVOCATION


@pytest.mark.parametrize("address", ["", "localhost", ":9001", "host:", "host:x", "host:65536", "host:²"])
def test_addresses_that_are_none(address: str) -> None:
    """What is not host:port is refused at once, with what was expected."""
    with pytest.raises(Malformed, match="host:port"):
        sync.connect(address)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_hosts_are_bracketed() -> None:
    """The Host field of an IPv6 address has brackets (RFC 3986, 3.2.2), the socket's address has none."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        address = f"[::1]:{listener.getsockname()[1]}"
        with sync.connect(address) as runtime:
            with pytest.raises(TimeoutError):
                runtime.next_invocation(timeout=0.01)
            with listener.accept()[0] as wire:
                assert f"Host: {address}\r\n".encode() in wire.recv(1000)
