"""What a peer can do to a service: every answer is clear, memory is bounded, and no byte is read twice.

Tables of shapes and of floods go to both of our service ends, and to the embedded Lambda over real sockets. What has
been refused for its framing ends its connection: a request hidden behind it is never heard.
"""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest

from lambda_wire import _limits as limits
from lambda_wire._errors import RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    ConnectionClosed,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseStarted,
    Violation,
)
from lambda_wire._invoke_events import InvokeAnswered, InvokeAsked, InvokeViolation
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire.testing import LocalLambda, deliveries
from tests.local_bench import PATIENCE_S, PREFIX, Bench, Wire

MIB: Final = 1024 * 1024
RESPONSE: Final = f"{PREFIX}/invocation/it/response".encode()
INVOKE: Final = b"/2015-03-31/functions/f/invocations"
PING: Final = b"GET /2018-06-01/ping HTTP/1.1\r\nHost: a\r\n\r\n"
STREAMING: Final = b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"

Answers: TypeAlias = tuple[list[int], bool]
"""The statuses of the answers, and whether the connection ends."""


# -- mouths


class Heard:
    """A service end that answers all that it is asked.

    Attributes:
        statuses: Of its answers.
    """

    path: bytes

    def __init__(self, connection: ServiceConnection | InvokeServiceConnection) -> None:
        self._connection = connection
        self.statuses: list[int] = []

    def answer(self, event: object) -> bytes:
        """Return the answer to what was heard."""
        raise NotImplementedError

    def hear(self, data: bytes) -> None:
        """Take bytes, and answer what is complete."""
        self._connection.receive_data(data)
        while not self._connection.must_close:
            try:
                event = self._connection.next_event()
            except RemoteProtocolError as fault:
                if fault.reply is not None:
                    self._note(self._connection.send(fault.reply))
                return
            if isinstance(event, (Signal, ConnectionClosed)):
                return
            self._note(self.answer(event))

    def _note(self, answer: bytes) -> None:
        if answer:
            self.statuses.append(int(answer[9:12]))

    @property
    def ended(self) -> bool:
        """Whether nothing more is heard."""
        return self._connection.must_close


class Runtime(Heard):
    """Our end of the Runtime API, while an invocation runs."""

    path = RESPONSE

    def __init__(self, *, max_stream: int = limits.MAX_STREAM) -> None:
        lifecycle = StandardLifecycle()
        lifecycle.asked(NextAsked, "")
        lifecycle.invoked(Invocation(request_id="it", payload=b"{}"))
        self._service = ServiceConnection(lifecycle, max_stream=max_stream)
        super().__init__(self._service)

    def answer(self, event: object) -> bytes:
        """Return the answer to what was heard; none to the parts of a stream."""
        match event:
            case ResponseStarted() | ResponseChunk():
                return b""
            case Violation():
                return self._service.send(event.reply)
            case PingAsked():
                return self._service.send(Pong())
            case _:
                return self._service.send(Accepted())


class Caller(Heard):
    """Our end of Invoke."""

    path = INVOKE

    def __init__(self) -> None:
        self._service = InvokeServiceConnection()
        super().__init__(self._service)

    def answer(self, event: object) -> bytes:
        """Return the answer to what was heard."""
        match event:
            case InvokeViolation():
                return self._service.send(event.reply)
            case InvokeAsked():
                return self._service.send(InvokeAnswered(request_id="it", payload=b"{}"))
            case _:
                return self._service.send(Refused(status=404))


Mouth: TypeAlias = type[Runtime] | type[Caller]
MOUTHS: Final[tuple[Mouth, ...]] = (Runtime, Caller)
#: What a complete request is answered with, and a ping behind it.
DONE: Final[dict[Mouth, tuple[int, int]]] = {Runtime: (202, 200), Caller: (200, 404)}


# -- shapes


@dataclass(frozen=True)
class Shape:
    """A request with a ping behind it.

    Attributes:
        rule: What decides it.
        name: What is odd about it.
        head: Its fields, and the empty line.
        body: What follows.
        status: Of the refusal that ends the connection; none when it is a request, and the ping another.
        line: Its first line, the path excepted.
        last: Whether it is a request whose answer ends the connection.
    """

    rule: str
    name: str
    head: bytes
    body: bytes = b""
    status: int | None = 400
    line: bytes = b"POST %b HTTP/1.1\r\n"
    last: bool = False

    def wire(self, path: bytes) -> bytes:
        """Return the bytes."""
        return self.line % path + self.head + self.body + PING


HOST: Final = b"Host: a\r\n"
ONE: Final = b"2\r\n{}\r\n0\r\n\r\n"
SHAPES: Final = (
    # -- two framings
    Shape(
        "RT-CONN-10", "a length and chunks", HOST + b"Content-Length: 2\r\n" + CHUNKED + b"\r\n", ONE, None, last=True
    ),
    Shape("RT-CONN-10", "chunks and a length", HOST + CHUNKED + b"Content-Length: 99\r\n\r\n", ONE, None, last=True),
    Shape("RT-CONN-16", "two lengths", HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "two lengths in one", HOST + b"Content-Length: 2, 3\r\n\r\n", b"{}"),
    Shape("RT-CONN-22", "one length twice", HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n", b"{}", None),
    Shape("RT-CONN-22", "one length twice in one", HOST + b"Content-Length: 2, 2\r\n\r\n", b"{}", None),
    Shape("RT-CONN-21", "chunked, identity", HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n", ONE, 501),
    Shape("RT-CONN-21", "identity", HOST + b"Transfer-Encoding: identity\r\n\r\n", ONE, 501),
    Shape("RT-CONN-21", "gzip, chunked", HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", ONE, 501),
    Shape("RT-CONN-21", "chunked twice", HOST + CHUNKED + CHUNKED + b"\r\n", ONE, 501),
    Shape("RT-CONN-16", "a vertical tab", HOST + b"Transfer-Encoding: chunked\x0b\r\n\r\n", ONE),
    Shape("RT-CONN-21", "xchunked", HOST + b"Transfer-Encoding: xchunked\r\n\r\n", ONE, 501),
    # -- lengths
    *(
        Shape("LI-HEAD-2", f"length {length!r}", HOST + b"Content-Length: %b\r\n\r\n" % length, b"{}")
        for length in (b"+2", b"-2", b"0x2", b"2 2", b"2a", b"", b"1_0", b"\xb2", b"%d" % 2**63, b"1" + b"0" * 30)
    ),
    # -- lines
    Shape("RT-CONN-16", "a blank before the colon", HOST + b"Content-Length : 2\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "a tab before the colon", HOST + b"Transfer-Encoding\t: chunked\r\n\r\n", ONE),
    Shape("RT-CONN-16", "a blank before the first name", b" " + HOST + b"Content-Length: 0\r\n\r\n"),
    Shape("RT-CONN-16", "a folded length", HOST + b"Content-Length: 2\r\n 3\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "a folded coding", HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n", ONE, None),
    Shape("RT-CONN-17", "bare LF", HOST.replace(b"\r", b"") + b"Content-Length: 2\n\n", b"{}", None),
    Shape("RT-CONN-16", "bare CR", HOST + b"X: a\rContent-Length: 2\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "NUL", HOST + b"X: a\0\r\nContent-Length: 2\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "NUL in a name", HOST + b"Content-Length\0: 2\r\n\r\n", b"{}"),
    Shape("RT-CONN-16", "no colon", HOST + b"Content-Length 2\r\n\r\n", b"{}"),
    Shape("RT-CONN-2", "no host", b"Content-Length: 0\r\n\r\n"),
    Shape("RT-CONN-2", "two hosts", HOST + HOST + b"Content-Length: 0\r\n\r\n"),
    Shape("RT-CONN-3", "a host with a blank", b"Host: a b\r\nContent-Length: 0\r\n\r\n"),
    Shape("RT-CONN-16", "a blank in the target", HOST + b"\r\n", line=b"POST %b /a HTTP/1.1\r\n"),
    Shape("RT-CONN-15", "HTTP/2.0", HOST + b"Content-Length: 2\r\n\r\n", b"{}", 505, b"POST %b HTTP/2.0\r\n"),
    Shape("RS-TRAILER-14", "a declared length", HOST + CHUNKED + b"Trailer: Content-Length\r\n\r\n", ONE),
    Shape("RT-CONN-20", "another expectation", HOST + b"Expect: x\r\nContent-Length: 2\r\n\r\n", b"{}", 417),
    # -- chunks
    *(
        Shape("RS-CHUNK-7", f"chunks {body!r}", HOST + CHUNKED + b"\r\n", body)
        for body in (
            b"+2\r\n{}\r\n0\r\n\r\n",
            b"-2\r\n{}\r\n0\r\n\r\n",
            b"0x2\r\n{}\r\n0\r\n\r\n",
            b" 2\r\n{}\r\n0\r\n\r\n",
            b"2\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\n0\r\n\r\n",
            b"2\r\n{}0\r\n\r\n",
            b"2;a\nb\r\n{}\r\n0\r\n\r\n",
            b"2;a\rb\r\n{}\r\n0\r\n\r\n",
            b"3\r\n{}\r\n0\r\n\r\n",
            b"\r\n0\r\n\r\n",
            b"00000000000000002\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\r\n0\n\r\n",
            b"2\r\n{}\r\n0\r\n\n",
            b"2\r\n{}\r\n0\r\n X: a\r\n\r\n",
        )
    ),
    Shape("RS-CHUNK-5", "an extension", HOST + CHUNKED + b"\r\n", b"2;a=b\r\n{}\r\n0;c\r\n\r\n", None),
    Shape(
        "RS-TRAILER-5",
        "a length in trailers",
        HOST + CHUNKED + b"\r\n",
        b"2\r\n{}\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n",
        None,
    ),
)


def of(shape: Shape, mouth: Mouth) -> Answers:
    """Return how it must be answered."""
    if shape.last:
        return [DONE[mouth][0]], True
    return (list(DONE[mouth]), False) if shape.status is None else ([shape.status], True)


@pytest.mark.parametrize("mouth", MOUTHS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.rule} {shape.name}")
def test_a_shape(shape: Shape, mouth: Mouth) -> None:
    """The same verdict however it is delivered; after a refusal nothing more is heard, of it or of what comes."""
    for pieces in deliveries(shape.wire(mouth.path), seed=7):
        heard = mouth()
        for piece in pieces:
            heard.hear(piece)
        assert (heard.statuses, heard.ended) == of(shape, mouth)
        heard.hear(PING)
        assert len(heard.statuses) == (1 if heard.ended else 3)


# -- floods


@dataclass(frozen=True)
class Flood:
    """What never ends.

    Attributes:
        rule: What decides it.
        name: What it is.
        head: How it begins; ``%b`` is the path.
        piece: What comes again and again.
        status: How it is answered.
        eaten: How many bytes are read before the answer, at most.
        held: How much memory that takes, at most.
    """

    rule: str
    name: str
    head: bytes
    piece: bytes
    status: int
    eaten: int
    held: int


BODY: Final = b"POST %b HTTP/1.1\r\nHost: a\r\n"
CHUNKS: Final = BODY + CHUNKED + b"\r\n"
#: What is read at once.
READ: Final = 65_536
#: What is read of a body that is too large: all that fits, as much again, and what Go reads on for.
#: Framing may add a little.
TOO_LARGE: Final = (2 * limits.MAX_PAYLOAD + limits.MAX_UNREAD + READ) * 102 // 100
#: A head is held once, and copied when the fault is told.
HEAD: Final = 4 * limits.MAX_HEAD
#: A body is held once, and copied when its memory grows.
WHOLE: Final = 2 * limits.MAX_PAYLOAD
SMALL: Final = 2 * READ

FLOODS: Final = (
    Flood("LI-HEAD-1", "a first line", b"GET /", b"x" * READ, 431, limits.MAX_HEAD + READ, HEAD),
    Flood("LI-HEAD-1", "a field", BODY + b"X: ", b"x" * READ, 431, limits.MAX_HEAD + READ, HEAD),
    Flood("LI-HEAD-1", "fields", BODY, b"X: a\r\n" * 9_000, 431, limits.MAX_HEAD + READ, HEAD),
    Flood("LI-HEAD-1", "folds", BODY + b"X: ", b"a\r\n " * 9_000, 431, limits.MAX_HEAD + READ, HEAD),
    Flood("RT-CONN-16", "blank lines", b"", b"\r\n" * 9_000, 400, READ, SMALL),
    Flood("RT-CONN-16", "no HTTP", b"\x16\x03\x01", b"\0" * READ, 400, READ, SMALL),
    Flood("LI-CHUNK-1", "a chunk's extension", CHUNKS + b"1;", b"x" * READ, 400, 2 * READ, SMALL),
    Flood("LI-CHUNK-2", "a chunk's size", CHUNKS, b"0" * READ, 400, 2 * READ, SMALL),
    Flood("LI-CHUNK-3", "extensions", CHUNKS, b"1;xxxxxxxxxxxxxxxxxxxx\r\na\r\n" * 2_000, 400, 4 * READ, 4 * MIB),
    Flood("LI-TRAILER-1", "trailers", CHUNKS + b"0\r\n", b"X: a\r\n" * 9_000, 400, 2 * READ, SMALL),
    Flood("LI-TRAILER-1", "a trailer", CHUNKS + b"0\r\nX: ", b"a" * READ, 400, 2 * READ, SMALL),
    Flood("LI-PAYLOAD-3", "10**9", BODY + b"Content-Length: 1000000000\r\n\r\n", b"x" * READ, 413, TOO_LARGE, WHOLE),
    Flood("LI-PAYLOAD-3", "2**63-1", BODY + b"Content-Length: %d\r\n\r\n", b"x" * READ, 413, TOO_LARGE, WHOLE),
    Flood("LI-PAYLOAD-3", "a large chunk", CHUNKS + b"3b9aca00\r\n", b"x" * READ, 413, TOO_LARGE, WHOLE),
    Flood("LI-PAYLOAD-3", "the largest", CHUNKS + b"ffffffffffffffff\r\n", b"x" * READ, 413, TOO_LARGE, WHOLE),
    Flood("LI-PAYLOAD-3", "chunks", CHUNKS, b"400\r\n%b\r\n" % bytes(1024) * 63, 413, TOO_LARGE, WHOLE),
)


def wire_of(flood: Flood, path: bytes) -> Iterator[bytes]:
    """Yield it for ever."""
    head = flood.head.replace(b"%d", b"%d" % limits.MAX_LENGTH).replace(b"%b", path)
    if head:
        yield head
    while True:
        yield flood.piece


def fed(heard: Heard, wire: Iterable[bytes], most: int) -> tuple[int, int]:
    """Feed it until the connection ends or so much was read; return how much was read, and how much memory it took."""
    eaten = 0
    tracemalloc.start()
    try:
        for piece in wire:
            if heard.ended or eaten > most:
                break
            heard.hear(piece)
            eaten += len(piece)
        return eaten, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mouth", MOUTHS)
@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: f"{flood.rule} {flood.name}")
def test_a_flood(flood: Flood, mouth: Mouth) -> None:
    """It is answered before much of it was read, little of it is held, and the connection ends."""
    heard = mouth()
    eaten, held = fed(heard, wire_of(flood, mouth.path), flood.eaten)
    assert (heard.statuses, heard.ended) == ([flood.status], True)
    assert eaten <= flood.eaten
    assert held <= flood.held


@pytest.mark.parametrize(
    "piece",
    [b"1\r\nx\r\n" * 3_000, b"1;12345678901\r\nx\r\n" * 1_000, b"%x\r\n%b\r\n" % (MIB, bytes(MIB))],
    ids=["a byte in each chunk", "an extension with each byte", "large chunks"],
)
def test_an_endless_stream(piece: bytes) -> None:
    """LI-STREAM-1, LI-CHUNK-3: what is given on is not held: twice as much takes no more memory."""
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n" % (RESPONSE, STREAMING, CHUNKED)
    few, many = (fed(Runtime(), [head, *[piece] * count], 64 * MIB)[1] for count in (3, 6))
    assert many <= 1.05 * few + 5_000


def test_a_stream_over_its_limit() -> None:
    """LI-STREAM-1, LI-PAYLOAD-3: it is read on for as much as of any body that is too large, and then cut."""
    heard = Runtime(max_stream=4 * MIB)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n" % (RESPONSE, STREAMING, CHUNKED)
    flood = Flood(
        "LI-STREAM-1", "a stream", head, b"10000\r\n%b\r\n" % bytes(READ), 413, 4 * MIB + TOO_LARGE, SMALL * 2
    )
    eaten, held = fed(heard, wire_of(flood, RESPONSE), flood.eaten)
    assert (heard.statuses, heard.ended) == ([413], True)
    assert eaten <= flood.eaten
    assert held <= flood.held


def test_many_requests_at_once() -> None:
    """RT-CONN-6: they are answered one after the other; those that wait take no more memory than their bytes."""
    for count in (1_000, 2_000):
        heard = Runtime()
        _, held = fed(heard, [PING * count], MIB)
        assert heard.statuses == [200] * count
        assert held <= 3 * count * len(PING)


# -- over real sockets


def said(address: tuple[str, int], wire: Iterable[bytes]) -> list[int]:
    """Return the statuses that come before the connection ends, whether or not all could be sent."""
    raw = b""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        try:
            for piece in wire:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # it hears no more
            pass
        try:
            while data := connection.recv(65_536):
                raw += data
        except ConnectionResetError:
            pass
    return [int(line[9:12]) for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def refused(path: bytes) -> Iterator[tuple[str, list[int], list[bytes]]]:
    """Yield what is refused for its framing: its name, the statuses, and the bytes."""
    for shape in SHAPES:
        if shape.status is not None:
            yield shape.name, [shape.status], [shape.wire(path)]
    for flood in FLOODS:
        if flood.eaten <= limits.MAX_HEAD + READ:
            wire = wire_of(flood, path)
            yield flood.name, [flood.status], [next(wire) for _ in range(flood.eaten // len(flood.piece) + 2)]


def test_a_runtime_over_real_sockets() -> None:
    """RT-CONN-16: what is refused ends its connection, with a ping behind it that nobody hears; and no other.

    A head that does not come to its end keeps nobody waiting but who sends it.
    """
    bench = Bench()
    try:
        called = bench.call()
        address = bench.address()
        host, _, port = address.partition(":")
        with Wire(address) as slow, Wire(address) as wire:
            slow.send(PING[:-1])
            wire.poll()
            assert wire.answer() == (200, b"{}")
            for name, statuses, sent in refused(RESPONSE.replace(b"it", b"other")):
                assert said((host, int(port)), sent) == statuses, name
            wire.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1" % RESPONSE)
            assert wire.answer()[0] == 202
            assert called.result(PATIENCE_S)[1] == b"1"
            slow.send(PING[-1:])
            assert slow.answer() == (200, b"pong")
    finally:
        bench.close()


def test_a_caller_over_real_sockets() -> None:
    """The same of the port for callers."""
    with LocalLambda(lambda event, context: event) as function:
        host, _, port = function.url.removeprefix("http://").strip("/").partition(":")
        for name, statuses, sent in refused(INVOKE):
            assert said((host, int(port)), sent) == statuses, name
        assert function.invoke({"a": 1}) == {"a": 1}


def test_requests_behind_a_poll_wait_unread() -> None:
    """RT-CONN-6: while a poll waits little more is read, whatever is sent: the rest stays with who sends it."""
    bench = Bench()
    try:
        called = bench.call("1")
        with Wire(bench.address()) as wire:
            wire.poll()
            assert wire.answer() == (200, b"1")
            wire.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1" % RESPONSE)
            assert wire.answer()[0] == 202
            assert called.result(PATIENCE_S)[1] == b"1"
            wire.poll()
            wire.socket.setblocking(False)
            tracemalloc.start()
            sent = 0
            try:
                while sent < 64 * MIB:
                    sent += wire.socket.send(PING * 1_000)
            except BlockingIOError:
                pass
            finally:
                held = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert sent < 64 * MIB
            assert held < MIB
            bench.call("2")
            wire.socket.settimeout(PATIENCE_S)
            assert wire.answer() == (200, b"2")
            assert wire.answer() == (200, b"pong")
    finally:
        bench.close()
