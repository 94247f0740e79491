"""Sockets that answer wants, over TCP and TLS: deadlines, early words, peers that go away, certificates."""

from __future__ import annotations

import errno
import importlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest

from lambda_wire import _sockets, sync
from lambda_wire._errors import CallRefused, ConnectionLost
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._responses import StreamingResponse
from lambda_wire._signals import Signal
from lambda_wire.testing import LocalLambda
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S
from tests.test_sync import service

TOO_LARGE = InvokeRefused(status=413, error_type="RequestTooLargeException", message="too large")
#: More than any buffers between two sockets hold.
HUGE: Final = 100_000_000


class Peer:
    """The service's end of one connection, over TCP, spoken to call by call from a script."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.wire.settimeout(PATIENCE_S)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset would drop what Nagle holds back
        self.connection = InvokeServiceConnection()

    def receive(self) -> bytes:
        """Return what came next; ``b""`` at the end."""
        return self.wire.recv(65_536)

    def encode(self, data: bytes) -> bytes:
        """Return the bytes on the wire that say ``data``."""
        return data

    def hear(self) -> object:
        """Return the next event of the caller."""
        while isinstance(event := self.connection.next_event(), Signal):
            self.connection.receive_data(self.receive())
        return event

    def say(self, *answers: InvokeAnswer) -> None:
        for answer in answers:
            self.wire.sendall(self.encode(self.connection.send(answer)))

    def answer_early(self) -> None:
        """Refuse a call of which only the head was read."""
        self.connection.receive_data(self.receive())
        assert isinstance(self.connection.next_event(), Signal)
        self.say(TOO_LARGE)

    def leave(self) -> None:
        """Close as a well-mannered peer does."""
        self.wire.close()


class TlsPeer(Peer):
    """The same over TLS, with every record in our hands."""

    def __init__(self, wire: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(wire)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._until_done(self._tls.do_handshake)

    def _until_done(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.wire.recv(65_536)
                self._incoming.write(data) if data else self._incoming.write_eof()
            finally:
                self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.wire.sendall(self._outgoing.read())

    def receive(self) -> bytes:
        try:
            data: bytes = self._until_done(lambda: self._tls.read(65_536))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        return data

    def encode(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def leave(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()  # says close_notify, and would wait for the caller's
        self._flush()
        self.wire.close()


class Security:
    """An authority, a server's certificate of it, and a caller that trusts it."""

    def __init__(self, *names: str) -> None:
        need_module("trustme")
        authority = importlib.import_module("trustme").CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self.server)
        self.caller = ssl.create_default_context()
        authority.configure_trust(self.caller)


@pytest.fixture(scope="module")
def security() -> Security:
    return Security("127.0.0.1")


class Way:
    """TCP or TLS."""

    def __init__(self, security: Security | None) -> None:
        self.security = security

    def accept(self, listener: socket.socket) -> Peer:
        wire = listener.accept()[0]
        return TlsPeer(wire, self.security.server) if self.security else Peer(wire)

    @contextmanager
    def caller(self, script: Callable[[socket.socket], None]) -> Iterator[sync.Caller]:
        """A caller, and behind it the script."""
        with service(script) as address:
            scheme, context = ("https", self.security.caller) if self.security else ("http", None)
            with sync.connect_caller(f"{scheme}://{address}", context=context) as caller:
                yield caller


@pytest.fixture(params=["tcp", "tls"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.getfixturevalue("security") if request.param == "tls" else None)


def until_heard(caller: sync.Caller) -> None:
    """Wait until something that the service did has reached the caller's socket."""
    assert select.select([caller._wire._connected()], [], [], PATIENCE_S)[0]


# -- calls


def test_whole_and_streamed_calls(way: Way) -> None:
    """One connection carries them all, each answer as it was said."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            for number in range(3):
                assert held.hear() == InvokeAsked(function_name="f", payload=b"%d" % number)
                held.say(InvokeAnswered(payload=b"%d" % number))
                assert held.hear() == InvokeAsked(function_name="f", payload=b"[]", streaming=True)
                held.say(InvokeAccepted(), PayloadChunk(payload=b"a"), PayloadChunk(payload=b"b"), InvokeComplete())
            assert held.receive() == b""

    with way.caller(script) as caller:
        for number in range(3):
            assert caller.invoke("f", b"%d" % number).payload == b"%d" % number
            assert list(caller.invoke_with_response_stream("f", b"[]")) == [b"a", b"b"]


@pytest.mark.parametrize("size", [16_384, 16_385, 6_000_000])
def test_a_large_call_and_its_large_answer(way: Way, size: int) -> None:
    """More bytes than a TLS record, or any socket buffer, holds."""
    payload = b'"' + bytes(range(48, 58)) * (size // 10) + b'"'

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=payload)
            held.say(InvokeAnswered(payload=payload))

    with way.caller(script) as caller:
        assert caller.invoke("f", payload).payload == payload


@contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Speak TLS for a port that does not; yield the port where it is spoken."""

    def relay(listener: socket.socket) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        with context.wrap_socket(listener.accept()[0], server_side=True) as tls, plain:
            other = {tls: plain, plain: tls}
            while True:
                for ready in select.select([*other], [], [], PATIENCE_S)[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    other[ready].sendall(data)

    with service(relay) as address:
        yield int(address.rpartition(":")[2])


def test_each_chunk_is_seen_before_the_next_is_written_over_tls(security: Security) -> None:
    """The function waits until its caller has the chunk before: TLS holds nothing back."""
    seen = threading.Semaphore(0)

    def body() -> Iterator[bytes]:
        for number in range(20):
            yield b"%d" % number
            assert seen.acquire(timeout=PATIENCE_S)

    with (
        LocalLambda(lambda event, _: StreamingResponse(body()) if event == "stream" else event) as fn,
        tls_in_front_of(int(fn.url.rpartition(":")[2]), security.server) as port,
        sync.connect_caller(f"https://127.0.0.1:{port}/", context=security.caller) as caller,
    ):
        assert caller.invoke("any", b"[1]").payload == b"[1]"
        answer = caller.invoke_with_response_stream("any", b'"stream"', timeout=PATIENCE_S)
        for number in range(20):
            assert next(answer) == b"%d" % number
            seen.release()
        assert list(answer) == []
        event = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
        assert caller.invoke("any", event).payload == event
        with pytest.raises(CallRefused, match="413"):
            caller.invoke("any", event + b" ")


# -- early words


def test_a_refusal_is_heard_while_the_write_blocks(way: Way) -> None:
    """A service that answers and reads no further: CallRefused, and nothing waits for ever."""
    refused = threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.answer_early()
            assert refused.wait(PATIENCE_S)

    with way.caller(script) as caller:
        with pytest.raises(CallRefused) as caught:
            caller.invoke("f", bytes(HUGE))
        refused.set()
    assert caught.value.refusal == TOO_LARGE


def test_a_refusal_is_heard_although_the_connection_was_reset(way: Way) -> None:
    """Closing with unread bytes resets it; the refusal lies in our buffer, in TLS records or not."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.answer_early()

    for _ in range(5):
        with way.caller(script) as caller, pytest.raises(CallRefused) as caught:
            caller.invoke("f", bytes(6_000_000))
        assert caught.value.refusal == TOO_LARGE


# -- peers that go away


@pytest.mark.parametrize("politely", [False, True])
def test_a_kept_connection_that_closed_is_noticed_by_the_look(way: Way, politely: bool) -> None:
    """With close_notify and without: the call goes out on a new connection, once."""

    def script(listener: socket.socket) -> None:
        for number in range(3):
            with (held := way.accept(listener)).wire:
                assert held.hear() == InvokeAsked(function_name="f", payload=b"%d" % number)
                held.say(InvokeAnswered(payload=b"%d" % number))
                if politely:
                    held.leave()

    with way.caller(script) as caller:
        for number in range(3):
            assert caller.invoke("f", b"%d" % number).payload == b"%d" % number
            until_heard(caller)


@pytest.mark.parametrize("politely", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_that_is_cut_short_is_lost(way: Way, politely: bool, streaming: bool) -> None:
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

    with way.caller(script) as caller:
        for begun in (False, True):
            call: Callable[..., Any] = caller.invoke_with_response_stream if streaming else caller.invoke
            chunks: list[bytes] = []
            with pytest.raises(ConnectionLost, match="may have run"):
                chunks.extend(call("f", b"1"))
            assert chunks == [b"a"] * (begun and streaming)
    assert heard == [InvokeAsked(function_name="f", payload=b"1", streaming=streaming)] * 2


@pytest.mark.parametrize("doing", ["_receive", "_send"])
def test_a_network_that_gave_up_is_no_deadline(way: Way, doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ETIMEDOUT has the type of our own TimeoutError; it means that the connection is lost."""

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire, suppress(OSError):
            held.receive()

    def give_up(*_: object) -> int:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with way.caller(script) as caller:
        monkeypatch.setattr(caller._wire, doing, give_up)
        with pytest.raises(ConnectionLost, match="may have run"):
            caller.invoke("f", b"1")


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
def test_closing_wakes_whoever_reads_or_writes(way: Way, payload: bytes) -> None:
    """From another thread; he is told why, whatever lay in the socket, and nobody dials again."""
    reached, closed = threading.Event(), threading.Event()

    def script(listener: socket.socket) -> None:
        with (held := way.accept(listener)).wire:
            held.receive()
            held.wire.sendall(held.encode(b"HTTP/1.1 200 OK\r\n"))
            reached.set()
            assert closed.wait(PATIENCE_S)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()

    with way.caller(script) as caller:

        def close() -> None:
            assert reached.wait(PATIENCE_S)
            caller.close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(ConnectionLost, match="this caller was closed"):
            caller.invoke("f", payload)
        closing.join(PATIENCE_S)
        closed.set()
        assert caller._wire._socket is None


# -- dialling


def test_nothing_there(way: Way) -> None:
    """An endpoint that cannot be reached is said by address, and that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scheme = "https" if way.security else "http"
    with (
        sync.connect_caller(f"{scheme}://127.0.0.1:{port}") as caller,
        pytest.raises(ConnectionLost, match=f"nothing was sent: no Lambda endpoint at 127.0.0.1:{port}"),
    ):
        caller.invoke("f")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64 + ".b"])
def test_a_name_that_cannot_be_looked_up(scheme: str, host: str) -> None:
    """It is as unreachable as any other, and no foreign exception leaves."""
    with sync.connect_caller(f"{scheme}://{host}:1") as caller, pytest.raises(ConnectionLost, match="nothing was sent"):
        caller.invoke("f")


@pytest.mark.parametrize("names", [("other.test",), ("127.0.0.2",), ()])
def test_a_certificate_that_is_not_the_hosts_is_refused(security: Security, names: tuple[str, ...]) -> None:
    """Another name, another address, another authority: nothing is sent, and the message says why."""
    other = Security(*(names or ("127.0.0.1",)))

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire, pytest.raises(ssl.SSLError, match="alert"):  # and no call
            TlsPeer(wire, other.server).receive()

    with service(script) as address:
        context = other.caller if names else security.caller
        with sync.connect_caller(f"https://{address}", context=context) as caller:
            with pytest.raises(ConnectionLost, match=r"nothing was sent.*certificate verify failed"):
                caller.invoke("f", b"secret")
            assert caller._wire._socket is None


def test_a_service_that_does_not_speak_tls() -> None:
    """The default context is used, nothing is sent, and no foreign exception leaves."""

    def script(listener: socket.socket) -> None:
        with listener.accept()[0] as wire:
            wire.recv(65_536)
            wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        service(script) as address,
        sync.connect_caller(f"https://{address}") as caller,
        pytest.raises(ConnectionLost, match="nothing was sent"),
    ):
        caller.invoke("f")


def test_a_handshake_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is not there."""
    given_up = threading.Event()

    def script(listener: socket.socket) -> None:
        with listener.accept()[0]:
            assert given_up.wait(PATIENCE_S)

    monkeypatch.setattr(_sockets, "_CONNECT_TIMEOUT_S", 0.1)
    with service(script) as address, sync.connect_caller(f"https://{address}") as caller:
        with pytest.raises(ConnectionLost, match="nothing was sent"):
            caller.invoke("f")
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


# -- what TLS says for itself


def test_session_tickets_are_not_the_services_words(security: Security) -> None:
    """TLS 1.3 sends them unasked (RFC 8446, 4.6.1): the look reads on, and the connection is used."""

    def script(listener: socket.socket) -> None:
        with (held := Way(security).accept(listener)).wire:
            assert held.hear() == InvokeAsked(function_name="f", payload=b"1")
            held.say(InvokeAnswered(payload=b"1"))

    with Way(security).caller(script) as caller:
        caller._wire.run(caller._session.connect())
        wire = caller._wire._connected()
        assert isinstance(wire, ssl.SSLSocket)
        assert wire.version() == "TLSv1.3"
        until_heard(caller)
        assert caller.invoke("f", b"1").payload == b"1"
        assert caller._wire._connected() is wire


def test_half_a_record_is_not_the_services_words(security: Security) -> None:
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

    with Way(security).caller(script) as caller:
        assert caller.invoke("f", b"1").payload == b"1"
        until_heard(caller)
        assert caller.invoke("f", b"2", timeout=PATIENCE_S).payload == b"2"


def test_words_that_nobody_asked_for(way: Way) -> None:
    """The look hears them, and the next call goes out on a new connection."""

    def script(listener: socket.socket) -> None:
        for payload in (b"1", b"2"):
            with (held := way.accept(listener)).wire:
                assert held.hear() == InvokeAsked(function_name="f", payload=payload)
                held.say(InvokeAnswered(payload=payload))
                held.wire.sendall(held.encode(b"HTTP/1.1 408 Request Timeout\r\n\r\n"))

    with way.caller(script) as caller:
        for payload in (b"1", b"2"):
            assert caller.invoke("f", payload).payload == payload
            until_heard(caller)
