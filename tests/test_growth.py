"""Double the input, at most double the work: at every mouth, in many small receives and in few large ones.

Counted are the functions that are called, Python's and C's, and the most memory that is held while the input is taken.

What this cannot see: work within one call. A join, a search, or taking from the front of a ``bytearray`` may pass over
all that is held, each time, and call nothing; memory that is taken and given back between two calls is seen, that it
was taken often is not. ``test_buffer`` and ``test_chunked`` count the bytes that are copied and searched, where all
of these mouths keep what they have not understood yet.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import pytest

from lambda_wire import (
    Buffer,
    BufferedResponse,
    ChunkDecoder,
    EventStreamDecoder,
    EventStreamMessage,
    Invocation,
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeConnection,
    InvokeServiceConnection,
    NextAsked,
    PayloadChunk,
    Prelude,
    PreludeDecoder,
    ResponseFinished,
    RuntimeConnection,
    ServiceConnection,
    Signal,
    Violation,
    encode_chunk,
    encode_end,
    encode_event_stream,
    encode_prelude,
)
from lambda_wire._chunked import MAX_PIECE
from lambda_wire._http11 import MessageReader
from lambda_wire._messages import MessageEnd
from lambda_wire._signals import Role
from tests.test_chunked import calls_of

Pull = Callable[[], object]
Open = Callable[[], tuple[Callable[[bytes], object], Pull]]
"""Makes a mouth that waits for its wire: how it receives, and how one event is pulled (``None``: there is none)."""

UNLIMITED: Final = 1 << 40
SMALL: Final = 64
JSON: Final = b"{}"
"""Content that is blanks before this is JSON, where it must be."""
ID: Final = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
EVENT: Final = Invocation(request_id=ID, payload=b"{}")
REPLY: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: " + ID.encode()
REPORT: Final = b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: a" % ID.encode()
CALL: Final = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: a"
POST: Final = b"POST / HTTP/1.1\r\nHost: a"
OK: Final = b"HTTP/1.1 200 OK"


class Mouth(NamedTuple):
    """One way in.

    Attributes:
        name: Of the case.
        opened: Makes it.
        wire: Returns what it is to hear, with about so many bytes of content.
        last: The kind of the last event.
        whole: Whether it holds all of the content; else it passes it on piece by piece.
    """

    name: str
    opened: Open
    wire: Callable[[int], bytes]
    last: type
    whole: bool = False


# -- how content is framed


def counted(head: bytes) -> Callable[[int], bytes]:
    """Content of announced length."""
    return lambda size: head + b"\r\nContent-Length: %d\r\n\r\n" % (size + len(JSON)) + b" " * size + JSON


def one_chunk(head: bytes) -> Callable[[int], bytes]:
    """One chunk."""
    return lambda size: chunked(head, encode_chunk(b" " * size + JSON))


def small_chunks(head: bytes) -> Callable[[int], bytes]:
    """Many chunks, of two sizes that alternate."""
    each = encode_chunk(b" " * SMALL) + encode_chunk(b" " * (SMALL // 2)) * 2
    return lambda size: chunked(head, each * (size // (2 * SMALL)) + encode_chunk(JSON))


def chunked(head: bytes, body: bytes) -> bytes:
    """A chunked message; its body alone when there is no head."""
    return (head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" if head else b"") + body + encode_end()


def until_close(size: int) -> bytes:
    """Content that ends with its connection."""
    return OK + b"\r\nConnection: close\r\n\r\n" + bytes(size)


def fields(size: int) -> bytes:
    """A head of many fields, and no body."""
    return POST + b"\r\nX-Name: some value" * (size // 20) + b"\r\nContent-Length: 0\r\n\r\n"


def one_message(size: int) -> bytes:
    """One event stream message."""
    return encode_event_stream(EventStreamMessage(payload=bytes(size)))


def small_messages(size: int) -> bytes:
    """Many of them."""
    return one_message(SMALL) * (size // SMALL)


def streamed_answer(pieces: Callable[[int], Iterable[bytes]]) -> Callable[[int], bytes]:
    """What a service says to one who called for a stream."""

    def wire(size: int) -> bytes:
        caller, service = InvokeConnection(host="a"), InvokeServiceConnection()
        service.receive_data(caller.send(InvokeAsked(function_name="f", payload=b"{}", streaming=True)))
        service.next_event()
        said = [service.send(InvokeAccepted(request_id="id"))]
        said += [service.send(PayloadChunk(payload=piece)) for piece in pieces(size)]
        return b"".join([*said, service.send(InvokeComplete())])

    return wire


def one_line(size: int) -> bytes:
    """A line."""
    return bytes(size) + b"\n"


def large_prelude(size: int) -> bytes:
    """A prelude that is nearly all the content."""
    return encode_prelude(Prelude(headers=(("a", "x" * size),)), max_bytes=UNLIMITED) + b"body"


def small_prelude(size: int) -> bytes:
    """Content after a prelude."""
    return encode_prelude(Prelude()) + bytes(size)


# -- mouths


def runtime() -> tuple[Callable[[bytes], object], Pull]:
    """Return one that polls."""
    connection = RuntimeConnection(host="a", max_payload=UNLIMITED)
    connection.send(NextAsked())
    return connection.receive_data, connection.next_event


def service(max_stream: int = UNLIMITED) -> tuple[Callable[[bytes], object], Pull]:
    """Return one whose environment is busy."""
    connection = ServiceConnection(max_payload=UNLIMITED, max_stream=max_stream)
    connection.receive_data(RuntimeConnection(host="a").send(NextAsked()))
    connection.next_event()
    connection.send(EVENT)
    return connection.receive_data, connection.next_event


def caller(*, streaming: bool) -> tuple[Callable[[bytes], object], Pull]:
    """Return one that has called."""
    connection = InvokeConnection(host="a", max_payload=UNLIMITED)
    connection.send(InvokeAsked(function_name="f", payload=b"{}", streaming=streaming))
    return connection.receive_data, connection.next_event


def called() -> tuple[Callable[[bytes], object], Pull]:
    """Return one that waits for a call."""
    connection = InvokeServiceConnection(max_payload=UNLIMITED)
    return connection.receive_data, connection.next_event


def reader(role: Role, *, keep_boundaries: bool = False) -> tuple[Callable[[bytes], object], Pull]:
    """Return a reader of messages."""
    made = MessageReader(role, keep_boundaries=keep_boundaries, max_head=UNLIMITED)
    return made.receive_data, made.next_event


def chunks(*, keep_boundaries: bool) -> tuple[Callable[[bytes], object], Pull]:
    """Return a decoder of chunks."""
    buffer = Buffer()
    return buffer.feed, ChunkDecoder(buffer, keep_boundaries=keep_boundaries).next_piece


def messages() -> tuple[Callable[[bytes], object], Pull]:
    """Return a decoder of an event stream."""
    decoder = EventStreamDecoder(Role.CLIENT)
    return decoder.feed, decoder.next_message


def prelude() -> tuple[Callable[[bytes], object], Pull]:
    """Return a decoder of a prelude, which gives what follows."""
    decoder = PreludeDecoder(max_bytes=UNLIMITED)
    return decoder.feed, lambda: None if isinstance(decoder.next_prelude(), Signal) else decoder.rest() or None


def line() -> tuple[Callable[[bytes], object], Pull]:
    """Return a buffer of which a line is wanted."""
    buffer = Buffer()
    return buffer.feed, lambda: buffer.take_until(b"\n", limit=UNLIMITED)


STREAM: Final = REPORT + b"\r\nLambda-Runtime-Function-Response-Mode: streaming"
MOUTHS: Final = (
    Mouth("runtime, counted", runtime, counted(REPLY), Invocation, whole=True),
    Mouth("runtime, one chunk", runtime, one_chunk(REPLY), Invocation, whole=True),
    Mouth("runtime, small chunks", runtime, small_chunks(REPLY), Invocation, whole=True),
    Mouth("service, counted", service, counted(REPORT), BufferedResponse, whole=True),
    Mouth("service, one chunk", service, one_chunk(STREAM), ResponseFinished),
    Mouth("service, small chunks", service, small_chunks(STREAM), ResponseFinished),
    Mouth("service, refused", lambda: service(SMALL), small_chunks(STREAM), Violation),
    Mouth("caller, counted", lambda: caller(streaming=False), counted(OK), InvokeAnswered, whole=True),
    Mouth(
        "caller, one message",
        lambda: caller(streaming=True),
        streamed_answer(lambda n: [bytes(n)]),
        InvokeComplete,
        whole=True,
    ),
    Mouth(
        "caller, small messages",
        lambda: caller(streaming=True),
        streamed_answer(lambda size: [bytes(SMALL)] * (size // SMALL)),
        InvokeComplete,
    ),
    Mouth("invoke service, counted", called, counted(CALL), InvokeAsked, whole=True),
    Mouth("invoke service, small chunks", called, small_chunks(CALL), InvokeAsked, whole=True),
    Mouth("reader, head", lambda: reader(Role.SERVER), fields, MessageEnd, whole=True),
    Mouth("reader, counted", lambda: reader(Role.SERVER, keep_boundaries=True), counted(POST), MessageEnd),
    Mouth("reader, small chunks", lambda: reader(Role.SERVER), small_chunks(POST), MessageEnd),
    Mouth("reader, until close", lambda: reader(Role.CLIENT), until_close, bytes),
    Mouth("chunks, one", lambda: chunks(keep_boundaries=True), one_chunk(b""), bytes),
    Mouth("chunks, small", lambda: chunks(keep_boundaries=True), small_chunks(b""), bytes),
    Mouth("chunks, small, joined", lambda: chunks(keep_boundaries=False), small_chunks(b""), bytes),
    Mouth("event stream, one", messages, one_message, EventStreamMessage, whole=True),
    Mouth("event stream, small", messages, small_messages, EventStreamMessage),
    Mouth("prelude, large", prelude, large_prelude, bytes, whole=True),
    Mouth("prelude, small", prelude, small_prelude, bytes),
    Mouth("line", line, one_line, bytes, whole=True),
)
#: How it is cut, and how much there is.
CUTS: Final = ((1, 1536), (7, 5120), (1448, 204_800), (65_536, 409_600))


def taken(mouth: Mouth, pieces: list[bytes]) -> Callable[[], object]:
    """Return what makes a mouth take all of it, and gives its last event."""
    receive, pull = mouth.opened()

    def take() -> object:
        last: object = None
        for piece in pieces:
            receive(piece)
            while (event := pull()) is not None and not isinstance(event, Signal):
                last = event
        return last

    return take


def cut(wire: bytes, size: int) -> list[bytes]:
    """Return it in pieces."""
    return [wire[at : at + size] for at in range(0, len(wire), size)]


def peak_of(act: Callable[[], object]) -> int:
    """Return how much more memory is held at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mouth", MOUTHS, ids=lambda mouth: mouth.name)
@pytest.mark.parametrize(("size", "once"), CUTS)
class TestEveryMouth:
    """However it is cut."""

    def test_calls(self, mouth: Mouth, size: int, once: int) -> None:
        """Double the input calls at most double the functions."""
        few, many = (taken(mouth, cut(mouth.wire(total), size)) for total in (once, 2 * once))
        calls = calls_of(few)
        assert calls_of(many) <= 2.1 * calls + 100

    def test_memory(self, mouth: Mouth, size: int, once: int) -> None:
        """Double the input holds at most double the memory; no more where pieces are passed on, once there are any."""
        few, many = (taken(mouth, cut(mouth.wire(total), size)) for total in (once, 2 * once))
        least, most = peak_of(few), peak_of(many)
        growth = 2.1 if mouth.whole or once < MAX_PIECE else 1.05
        assert most <= growth * least + 5000

    def test_it_is_understood(self, mouth: Mouth, size: int, once: int) -> None:
        """What is counted here is what it costs to read it to its end."""
        assert type(taken(mouth, cut(mouth.wire(once), size))()) is mouth.last
