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


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_closing_wakes_a_poll_that_waits_in_another_thread(timeout: float | None) -> None:
    """The poll is given up whatever its timeout, its caller is told why, and no other connection is made."""
    polled = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            polled.set()
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    with service(script) as address, sync.connect(address) as runtime:
        faults: list[Exception] = []

        def wait() -> None:
            try:
                runtime.next_invocation(timeout=timeout)
            except (ConnectionLost, TimeoutError) as fault:
                faults.append(fault)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert polled.wait(30)
        runtime.close()
        waiting.join(30)
        assert not waiting.is_alive()
        assert [str(fault) for fault in faults] == ["this runtime was closed"]
        assert runtime._wire._socket is None


def assert_nobody_dials(listener: socket.socket) -> None:
    """For scripts whose runtime has been closed: all that it ever dialled has been accepted."""
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("way", ["whole", "error", "stream", "finish"])
def test_closing_wakes_whatever_waits_in_another_thread(way: str) -> None:
    """An answer that is due, and a write that blocks, are given up too: what became of it stays unknown."""
    reached = threading.Event()
    closed = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            held.wire.recv(1)
            if way != "stream":
                while not held.wire.recv(65_536).endswith((b"PAYLOAD", b"0\r\n\r\n")):
                    pass
            reached.set()
            assert closed.wait(30)
        assert_nobody_dials(listener)

    def answer(runtime: sync.Runtime, invocation: Invocation) -> object:
        if way == "whole":
            return runtime.respond(invocation, b"PAYLOAD")
        if way == "error":
            return runtime.report_error(invocation, error_type="Function.X", payload=b"PAYLOAD")
        return runtime.stream(invocation, bytes(100_000_000 if way == "stream" else 1)).finish()

    with service(script) as address, sync.connect(address) as runtime:
        invocation = runtime.next_invocation()

        def close() -> None:
            assert reached.wait(30)
            runtime.close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(ConnectionLost, match="this runtime was closed"):
            answer(runtime, invocation)
        closing.join(30)
        closed.set()
        assert runtime._wire._socket is None


def test_a_dial_that_was_under_way_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing meanwhile cannot stop it, but nothing is sent on what it made, which is closed."""
    made: list[socket.socket] = []
    dial = socket.create_connection

    def dial_slowly(address: tuple[str, int], timeout: float) -> socket.socket:
        made.append(dial(address, timeout))
        runtime.close()
        return made[0]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runtime = sync.connect(f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(socket, "create_connection", dial_slowly)
        with pytest.raises(ConnectionLost, match="this runtime was closed"):
            runtime.next_invocation()
        with listener.accept()[0] as wire:
            assert wire.recv(1) == b""
    assert made[0].fileno() == -1


def test_a_second_caller_of_a_closed_runtime_is_told_that() -> None:
    """Also while the first has not come back yet: it is not worth waiting for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runtime = sync.connect(f"127.0.0.1:{listener.getsockname()[1]}")
        with runtime._wire._in_use:
            runtime.close()
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                runtime.next_invocation()


def test_nothing_can_be_said_after_close() -> None:
    """Closing is for good: no call dials again, nor does the end of ``with``; to close twice is to close once."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert isinstance(held.hear(), ResponseStarted)
            assert held.wire.recv(1) == b""
        assert_nobody_dials(listener)

    with service(script) as address:
        with sync.connect(address) as runtime:
            invocation = runtime.next_invocation()
            stream = runtime.stream(invocation)
        runtime.close()
        for call in (
            runtime.next_invocation,
            lambda: runtime.next_invocation(timeout=0),
            lambda: runtime.respond(invocation, b"1"),
            lambda: runtime.report_error(invocation, error_type="Function.X", payload=b"{}"),
            lambda: runtime.report_init_error(error_type="Runtime.X", payload=b"{}"),
            lambda: runtime.stream(invocation),
            lambda: stream.write(b"1"),
            stream.finish,
            lambda: stream.fail(error_type="Function.X", error_body=b"{}"),
        ):
            with pytest.raises(ConnectionLost, match="this runtime was closed"):
                call()


def test_a_stream_that_has_ended_cannot_write_into_the_next() -> None:
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

    with service(script) as address, sync.connect(address) as runtime:
        first = runtime.stream(runtime.next_invocation(), b"one")
        assert first.finish() == Accepted()
        second = runtime.stream(runtime.next_invocation(), b"two")
        for stale in (
            lambda: first.write(b"STALE"),
            first.finish,
            lambda: first.fail(error_type="Function.X", error_body=b"{}"),
        ):
            with pytest.raises(LocalProtocolError, match="the stream has ended"):
                stale()
        assert second.finish() == Accepted()


def test_a_chunk_that_is_no_bytes_leaves_the_invocation_reportable() -> None:
    """The head is not sent before all that goes with it is known to be right."""

    def script(listener: socket.socket) -> None:
        with (held := accept(listener)).wire:
            held.hear()
            held.say(INVOCATION)
            assert held.hear() == ErrorReported(request_id="id-1", error_type="Function.X", payload=b"{}")
            held.say(Accepted())

    with service(script) as address, sync.connect(address) as runtime:
        invocation = runtime.next_invocation()
        with pytest.raises(Malformed, match="must be bytes"):
            runtime.stream(invocation, "text")  # type: ignore[arg-type]  # what a caller without types may do
        assert runtime.report_error(invocation, error_type="Function.X", payload=bytearray(b"{}")) == Accepted()


@pytest.mark.parametrize(
    "address", ["", "localhost", ":9001", "host:", "host:x", "host:65536", "host:²", "http://127.0.0.1:9001", "a/b:1"]
)
def test_addresses_that_are_none(address: str) -> None:
    """What is not host:port is refused at once, with what was expected."""
    with pytest.raises(Malformed, match="host:port"):
        sync.connect(address)


@pytest.mark.parametrize(
    ("address", "user_agent"), [("127.0.0.1:9001", "a\r\nb"), ("127.0.0.1:9001", " a"), ("a\r\nb:9001", "a")]
)
def test_what_every_request_would_say_is_checked_at_once(address: str, user_agent: str) -> None:
    """Not by the first poll, whose caller has no part in it."""
    with pytest.raises(Malformed, match="header value"):
        sync.connect(address, user_agent=user_agent)


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
