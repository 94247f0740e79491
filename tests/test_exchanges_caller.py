"""A caller's conversations, driven by a stand-in for the network: cuts, resets, silence and early words on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

from lambda_wire import exchanges
from lambda_wire._chunked import encode_chunk
from lambda_wire._errors import CallFailed, CallRefused, ConnectionLost, LocalProtocolError, RemoteProtocolError
from lambda_wire._event_stream import EventStreamMessage, encode_event_stream
from lambda_wire._invoke_answers import encode_message
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._malformed import Malformed
from lambda_wire._signals import Signal
from lambda_wire._types import Headers
from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write
from lambda_wire.testing import deliveries

T = TypeVar("T")
HOST = "127.0.0.1:9000"
WHOLE = InvokeAsked(function_name="f", payload=b'"whole"')
STREAMED = InvokeAsked(function_name="f", payload=b'"streamed"', streaming=True)
ANOTHER = InvokeAsked(function_name="f", payload=b'"another"')
NOT_FOUND = InvokeRefused(status=404, error_type="ResourceNotFoundException", message="no f")
TOO_LARGE = InvokeRefused(status=413, error_type="RequestTooLargeException", message="too large")


def echo(asked: InvokeAsked) -> Iterable[InvokeAnswer]:
    """Answer with what was asked: whoever gets another call's bytes sees it."""
    if not asked.streaming:
        return [InvokeAnswered(payload=asked.payload)]
    return [InvokeAccepted(), PayloadChunk(payload=asked.payload), PayloadChunk(payload=b"2"), InvokeComplete()]


class Network:
    """A Lambda on the other side of connections that can be cut at will.

    Args:
        answer: What it answers to a call; ``None`` among it closes the connection.
        cut: How each answer is delivered.
    """

    def __init__(
        self,
        answer: Callable[[InvokeAsked], Iterable[InvokeAnswer | None]] = echo,
        cut: Callable[[bytes], list[bytes]] = lambda data: [data],
    ) -> None:
        self.answer = answer
        self.cut = cut
        self.heard: list[object] = []
        self.dials = 0
        self.hangups = 0
        self.unreachable = False
        self.reset_on_write = False
        self.last_words: list[bytes] = []
        """Said before the reset."""
        self.early: list[bytes] = []
        """Said while a call is being written."""
        self.closed = False
        self.reset = False
        """Whether the connection ends with a reset, where ``closed`` says that it ends."""
        self.inbox: list[bytes] = []
        self.received = b""
        """Everything that was written, on whichever connection."""
        self._service = InvokeServiceConnection()

    def run(self, exchange: Exchange[T], want: Want | None = None) -> T:
        """Answer every want of a conversation, from ``want`` on when it has begun; return its result."""
        try:
            want = want or next(exchange)
            while True:
                try:
                    answer = self.do(want)
                except (ConnectionLost, TimeoutError) as fault:
                    want = exchange.throw(fault)
                else:
                    want = exchange.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def do(self, want: Want) -> bytes:
        match want:
            case Dial():
                self.dials += 1
                if self.unreachable:
                    raise ConnectionLost("nothing was sent: no Lambda endpoint", nothing_sent=True)
                self._service = InvokeServiceConnection()
                self.closed, self.inbox = False, []
            case Hangup():
                self.hangups += 1
            case Read():
                return self._read()
            case Write():
                return self._write(want)
        return b""

    def _read(self) -> bytes:
        if self.inbox:
            return self.inbox.pop(0)
        if self.closed and self.reset:
            raise ConnectionLost("reset")
        if self.closed:
            return b""
        raise TimeoutError("not all that was waited for came in time")

    def _write(self, want: Write) -> bytes:
        if want.look_first and self.inbox:
            return self.inbox.pop(0)
        if want.look_first and self.closed:
            raise ConnectionLost("the service has closed the connection")
        if not want.done and self.early:
            return self.early.pop(0)
        if not want.done and self.reset_on_write:
            self.reset_on_write, self.closed = False, True
            self.inbox = self.last_words
            raise ConnectionLost("reset")
        while not want.done:
            (buffer,) = want.next_buffers(1)
            self.received += buffer
            self._service.receive_data(bytes(buffer))
            want.advance(len(buffer))
        while not isinstance(event := self._service.next_event(), Signal):
            self.heard.append(event)
            assert isinstance(event, InvokeAsked)
            self.say(*self.answer(event))
        return b""

    def say(self, *answers: InvokeAnswer | None) -> None:
        """Say more on the connection of now."""
        data = b"".join(self._service.send(answer) for answer in answers if answer is not None)
        self.inbox += filter(None, self.cut(data))
        self.closed = None in answers

    def chunks(self, answer: exchanges.OpenAnswer) -> list[bytes]:
        """Return all that is left of an answer."""
        left = []
        while (chunk := self.run(exchanges.next_chunk(answer))) is not None:
            left.append(chunk)
        return left


def session(**options: Any) -> exchanges.CallerSession:
    return exchanges.CallerSession(host=HOST, **options)


def refused(error: type[Exception], exchange: Exchange[object], *, match: str | None = None) -> None:
    """Check that a conversation fails before it wants anything."""
    with pytest.raises(error, match=match):
        next(exchange)


def until_it_reads(network: Network, exchange: Exchange[object]) -> Want:
    """Answer the wants of a conversation up to its first read that has nothing to give; return that want."""
    want = next(exchange)
    while not isinstance(want, Read) or network.inbox:
        want = exchange.send(network.do(want))
    return want


# -- what is said


@pytest.mark.parametrize("way", range(5))
def test_a_whole_answer_in_every_delivery(way: int) -> None:
    """However it is cut, the conversation says the same; the connection is kept for the next call."""
    answered = InvokeAnswered(payload=b'"hi"', function_error="Unhandled", log_result="bG9n", request_id="id-1")
    network = Network(lambda _: [answered], lambda data: list(deliveries(data))[way])
    held = session()
    for _ in range(2):
        assert network.run(exchanges.invoke(held, WHOLE)) == answered
    assert network.heard == [WHOLE, WHOLE]
    assert network.dials == 1


@pytest.mark.parametrize("way", range(5))
def test_a_streamed_answer_in_every_delivery(way: int) -> None:
    """Head, then each chunk, empty ones left out, then how it ended; two streams and a whole answer, one dial."""
    accepted = InvokeAccepted(content_type="text/plain", executed_version="1", request_id="id-1")
    complete = InvokeComplete(error_code="E", error_details="{}", log_result="bG9n")
    pieces = [PayloadChunk(payload=piece) for piece in (b"", b"one", b"", b"two", b"")]

    def answer(asked: InvokeAsked) -> Iterable[InvokeAnswer]:
        return [accepted, *pieces, complete] if asked.streaming else echo(asked)

    network = Network(answer, lambda data: list(deliveries(data))[way])
    held = session()
    for _ in range(2):
        opened = network.run(exchanges.open_answer(held, STREAMED))
        assert (opened.accepted, opened.complete) == (accepted, None)
        assert network.chunks(opened) == [b"one", b"two"]
        assert opened.complete == complete
        assert network.chunks(opened) == []
    assert network.run(exchanges.invoke(held, WHOLE)) == InvokeAnswered(payload=WHOLE.payload)
    assert network.heard == [STREAMED, STREAMED, WHOLE]
    assert network.dials == 1


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_refusal_keeps_the_connection(asked: InvokeAsked) -> None:
    """It is raised, with all that was said, and the next call goes out on the same connection."""
    network = Network(lambda event: [NOT_FOUND] if event == asked else echo(event))
    held = session()
    with pytest.raises(CallRefused, match="404 ResourceNotFoundException: no f") as caught:
        network.run(call(held, asked))
    assert caught.value.refusal == NOT_FOUND
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 1


def call(held: exchanges.CallerSession, asked: InvokeAsked) -> Exchange[object]:
    """Hold the whole conversation of a call; return what it gave."""
    if not asked.streaming:
        return exchanges.invoke(held, asked)
    return read_whole(held, asked)


def read_whole(held: exchanges.CallerSession, asked: InvokeAsked) -> Exchange[object]:
    answer = yield from exchanges.open_answer(held, asked)
    chunks = []
    while (chunk := (yield from exchanges.next_chunk(answer))) is not None:
        chunks.append(chunk)
    return b"".join(chunks)


def test_what_the_service_ends_a_stream_with() -> None:
    """CallFailed, as often as it is asked for more, and the next call uses another connection."""
    failure = InvokeFailed(error_code="InternalFailure", message="no")
    network = Network(lambda event: [*[*echo(event)][:-1], failure] if event.streaming else echo(event))
    held = session()
    opened = network.run(exchanges.open_answer(held, STREAMED))
    assert network.run(exchanges.next_chunk(opened)) == STREAMED.payload
    assert network.run(exchanges.next_chunk(opened)) == b"2"
    for _ in range(2):
        with pytest.raises(CallFailed, match="InternalFailure: no") as caught:
            network.run(exchanges.next_chunk(opened))
        assert caught.value.failure == opened.failed == failure
    assert opened.complete is None
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


# -- a call is sent once


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_kept_connection_that_closed_is_dialled_again_before_anything_is_sent(asked: InvokeAsked) -> None:
    """The look before notices it, or what was said unasked, and the call goes out on a new one, once."""
    for unasked in ([], [b"HTTP/1.1 408 Request Timeout\r\n\r\n"]):
        network = Network()
        held = session()
        network.run(exchanges.invoke(held, ANOTHER))
        network.closed, network.inbox = True, [*unasked]
        network.run(call(held, asked))
        assert network.dials == 2
        assert network.heard == [ANOTHER, asked]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_call_whose_fate_is_unknown_is_not_repeated(asked: InvokeAsked, kept: bool) -> None:
    """Its connection ended after the write, kept or new: one call is heard, and whoever calls again has to say so."""
    network = Network(lambda event: [None] if event == asked else echo(event))
    held = session()
    if kept:
        network.run(exchanges.invoke(held, ANOTHER))
    with pytest.raises(ConnectionLost, match="may have run") as caught:
        network.run(call(held, asked))
    assert not caught.value.nothing_sent
    assert network.heard.count(asked) == 1
    assert network.dials == 1
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_an_answer_cut_at_any_byte_is_lost(asked: InvokeAsked, reset: bool) -> None:
    """Never complete, never asked again; only what follows InvokeComplete may be missing."""
    tail = b"\r\n0\r\n\r\n" if asked.streaming else b""
    size = len(said(asked)) - len(tail)
    for end in range(size):
        network = Network(lambda _: [*echo(asked), None], lambda data, end=end: [data[:end]])  # type: ignore[misc]  # a default binds
        network.reset = reset
        with pytest.raises(ConnectionLost, match="may have run"):
            network.run(call(session(), asked))
        assert network.heard == [asked]
    network = Network(lambda _: [*echo(asked), None], lambda data: [data[:size]])
    network.reset = reset
    assert network.run(call(session(), asked)) is not None


#: What ends with its connection: a body whose length nobody has said (RFC 9112, 6.3).
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
MESSAGES = b"".join(
    encode_event_stream(encode_message(event)) for event in (PayloadChunk(payload=b"1"), PayloadChunk(payload=b"2"))
)
COMPLETE = encode_event_stream(encode_message(InvokeComplete()))


def ending_with_its_connection(body: bytes, *, reset: bool) -> Network:
    network = Network(lambda asked: [*echo(asked), None], lambda _: [UNTIL_CLOSE, *list(deliveries(body))[1]])
    network.reset = reset
    return network


@pytest.mark.parametrize(
    ("asked", "body", "result"),
    [
        (WHOLE, b"whole", InvokeAnswered(payload=b"whole", content_type="")),
        (WHOLE, b"", InvokeAnswered(payload=b"", content_type="")),
        (STREAMED, MESSAGES + COMPLETE, b"12"),
    ],
)
def test_a_reset_is_no_end_of_an_answer(asked: InvokeAsked, body: bytes, result: object) -> None:
    """Where the end of the connection is that of the answer: what a reset left of it may be half. It stays lost."""
    assert ending_with_its_connection(body, reset=False).run(call(session(), asked)) == result
    network = ending_with_its_connection(body.removesuffix(COMPLETE), reset=True)
    held = session()
    with pytest.raises(ConnectionLost, match="may have run"):
        network.run(call(held, asked))
    if asked.streaming:
        answer = held.answer
        assert answer is not None
        with pytest.raises(ConnectionLost, match="may have run"):
            network.run(exchanges.next_chunk(answer))
        assert answer.complete is None
    assert (network.heard, network.dials) == ([asked], 1)


def test_a_completion_stands_when_a_reset_follows() -> None:
    """The service has said how the answer ended."""
    assert ending_with_its_connection(MESSAGES + COMPLETE, reset=True).run(call(session(), STREAMED)) == b"12"


def said(asked: InvokeAsked) -> bytes:
    """Return the bytes that a service answers with."""
    network = Network()
    want = until_it_wrote(network, call(session(), asked))
    assert isinstance(want, Read)
    return b"".join(network.inbox)


def until_it_wrote(network: Network, exchange: Exchange[object]) -> Want:
    want = next(exchange)
    while not isinstance(want, Read):
        want = exchange.send(network.do(want))
    return want


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_reset_while_the_call_is_written(asked: InvokeAsked) -> None:
    """What of it arrived is unknown: it is lost and not repeated."""
    network = Network()
    network.reset_on_write = True
    held = session()
    with pytest.raises(ConnectionLost, match="may have run"):
        network.run(call(held, asked))
    assert (network.dials, network.heard) == (1, [])
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_reset_while_writing_still_reads_the_refusal(asked: InvokeAsked) -> None:
    """A service that refuses early and resets has left its answer in our receive buffer."""
    network = Network()
    network.reset_on_write = True
    network.last_words = [early_words(TOO_LARGE)]
    with pytest.raises(CallRefused) as caught:
        network.run(call(session(), asked))
    assert caught.value.refusal == TOO_LARGE


def early_words(answer: InvokeRefused) -> bytes:
    """Return what a service says to a call that it has not read to its end."""
    service = InvokeServiceConnection(max_payload=1)
    service.receive_data(b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    while not isinstance(service.next_event(), Signal):
        pass
    return service.send(answer)


@pytest.mark.parametrize("way", range(5))
@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_an_answer_while_the_call_is_written_is_a_refusal(asked: InvokeAsked, way: int) -> None:
    """413 before all was sent is CallRefused, not ConnectionLost; the rest is not sent, on this connection or ever."""
    network = Network()
    words = early_words(TOO_LARGE)
    assert b"onnection: close" in words
    network.early = list(deliveries(words))[way]
    held = session()
    original = network.do

    def late(want: Want) -> bytes:
        return network.early.pop(0) if isinstance(want, Read) and network.early else original(want)

    network.do = late  # type: ignore[method-assign]  # the rest of the answer comes after a pause
    with pytest.raises(CallRefused) as caught:
        network.run(call(held, asked))
    assert caught.value.refusal == TOO_LARGE
    assert (network.heard, network.received) == ([], b"")
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


def test_an_interim_response_does_not_stop_the_call() -> None:
    """Any server may send one (RFC 9110, 15.2)."""
    network = Network()
    network.early = [b"HTTP/1.1 100 Con", b"tinue\r\n\r\n"]
    assert network.run(exchanges.invoke(session(), WHOLE)) == InvokeAnswered(payload=WHOLE.payload)


def test_a_service_that_cannot_be_reached() -> None:
    """Nothing was sent, and the fault says so; the session can be used again later."""
    network = Network()
    network.unreachable = True
    held = session()
    for asked in (WHOLE, STREAMED):
        with pytest.raises(ConnectionLost, match="nothing was sent") as caught:
            network.run(call(held, asked))
        assert caught.value.nothing_sent
    network.unreachable = False
    assert network.run(exchanges.invoke(held, WHOLE)) == InvokeAnswered(payload=WHOLE.payload)
    assert network.heard == [WHOLE]


def test_a_service_that_says_what_it_may_not() -> None:
    """It is accused, and the next call uses another connection."""
    network = Network(cut=lambda data: [data.replace(b"200", b"2x0")])
    held = session()
    with pytest.raises(RemoteProtocolError):
        network.run(exchanges.invoke(held, WHOLE))
    network.cut = lambda data: [data]
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


# -- an answer given up


def open_midway(network: Network, held: exchanges.CallerSession) -> exchanges.OpenAnswer:
    """Open an answer and read its first chunk; more of it is on the wire, and it is not complete."""
    opened = network.run(exchanges.open_answer(held, STREAMED))
    assert network.run(exchanges.next_chunk(opened)) == STREAMED.payload
    return opened


@pytest.mark.parametrize("rest_is_there", [False, True])
@pytest.mark.parametrize("asked", [ANOTHER, STREAMED, WHOLE])
def test_an_answer_that_is_given_up_never_gets_into_the_next(asked: InvokeAsked, rest_is_there: bool) -> None:
    """The next call dials anew, whether the rest has arrived or not; the old answer says that nothing more comes."""
    cut: Callable[[bytes], list[bytes]] = (lambda data: [data]) if rest_is_there else lambda data: [*data_of(data)]
    network = Network(cut=cut)
    held = session()
    stale = open_midway(network, held)
    network.run(call(held, asked))
    assert network.dials == 2
    for _ in range(2):
        refused(LocalProtocolError, exchanges.next_chunk(stale), match="it was given up")
    assert stale.complete is None


def data_of(data: bytes) -> Iterable[bytes]:
    """Yield each line by itself: enough for a chunk to come without what follows it."""
    return data.splitlines(keepends=True)


def test_a_stale_answer_does_not_take_from_a_newer() -> None:
    """Each has its own; what is left of the newer is left for it."""
    network = Network()
    held = session()
    stale = open_midway(network, held)
    newer = open_midway(network, held)
    refused(LocalProtocolError, exchanges.next_chunk(stale), match="it was given up")
    assert network.chunks(newer) == [b"2"]
    assert network.dials == 2


def test_an_answer_survives_a_call_that_cannot_be_said() -> None:
    """It is refused before anything is given up or wanted."""
    network = Network()
    held = session()
    opened = open_midway(network, held)
    refused(Malformed, exchanges.invoke(held, STREAMED), match="open_answer")
    refused(Malformed, exchanges.open_answer(held, WHOLE), match="streaming=True")
    assert network.chunks(opened) == [b"2"]
    assert network.dials == 1


@pytest.mark.parametrize("how", [KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("at", range(14))
def test_a_call_cancelled_anywhere_leaves_the_session_usable(
    asked: InvokeAsked, at: int, kept: bool, how: type[BaseException]
) -> None:
    """Thrown at each of its wants in turn: the next call gets its own answer, and nothing is ever sent twice."""
    network = Network(cut=lambda data: [data[:30], data[30:200], data[200:-9], data[-9:]])
    held = session()
    if kept:
        network.run(exchanges.invoke(held, WHOLE))
    before = network.heard.count(asked)
    exchange = call(held, asked)
    want = next(exchange)
    try:
        for _ in range(at):
            want = exchange.send(network.do(want))
        with pytest.raises(how):
            exchange.throw(how())
    except StopIteration:
        pass  # it has fewer wants
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.heard.count(asked) - before <= 1
    assert network.heard.count(ANOTHER) == 1


# -- waiting


def test_a_read_that_was_cancelled_is_resumed() -> None:
    """By the next who asks for a chunk: nothing of the answer is lost."""
    network = Network(lambda event: [*echo(event)][:2] if event.streaming else echo(event))
    held = session()
    opened = open_midway(network, held)
    cancelled = exchanges.next_chunk(opened)
    assert isinstance(next(cancelled), Read)
    cancelled.close()
    with pytest.raises(TimeoutError):
        network.run(exchanges.next_chunk(opened))
    network.say(PayloadChunk(payload=b"late"), InvokeComplete())
    assert network.chunks(opened) == [b"late"]
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 1


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
def test_a_call_that_timed_out_is_given_up(asked: InvokeAsked) -> None:
    """Its answer may still come: the next call uses another connection, and is not answered by it."""
    network = Network(lambda event: [] if event == asked else echo(event))
    held = session()
    with pytest.raises(TimeoutError):
        network.run(call(held, asked))
    network.say(*echo(asked))
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2
    assert network.heard == [asked, ANOTHER]


# -- the end of an answer, and of its message


def complete_midway(network: Network, held: exchanges.CallerSession) -> exchanges.OpenAnswer:
    """Read an answer up to its InvokeComplete, with the end of its body still to come."""
    network.cut = lambda data: [data[:-5]]
    opened = network.run(exchanges.open_answer(held, STREAMED))
    assert network.chunks(opened) == [STREAMED.payload, b"2"]
    assert network.inbox == []
    network.cut = lambda data: [data]
    return opened


def test_the_completion_is_told_before_the_body_ends() -> None:
    """A service that never ends it holds nobody up: nothing is read for it, and the next call dials anew."""
    network = Network()
    held = session()
    for dials in (1, 2):
        opened = complete_midway(network, held)
        assert opened.complete == InvokeComplete()
        assert network.dials == dials
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.heard == [STREAMED, STREAMED, ANOTHER]


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
@pytest.mark.parametrize("end", [[b"0\r\n\r\n"], [b"0", b"\r", b"\n\r\n"], [b"0\r\nX-Late: 1\r\n\r\n"]])
def test_an_end_that_has_come_keeps_the_connection(end: list[bytes], asked: InvokeAsked) -> None:
    """With the completion, or after it and before the next call: both use one connection."""
    network = Network()
    held = session()
    opened = complete_midway(network, held)
    network.inbox = [*end]
    assert network.run(exchanges.next_chunk(opened)) is None
    assert network.inbox == end
    assert network.run(call(held, asked)) is not None
    assert (network.dials, network.heard) == (1, [STREAMED, asked])


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
@pytest.mark.parametrize(
    ("more", "closes"),
    [
        ([], True),
        ([b"0\r\n"], True),
        ([b"0\r\n\r\n"], True),
        ([b"0\r\n"], False),
        ([b"x\r\n"], False),
        ([b"%x\r\n%b\r\n" % (len(COMPLETE), COMPLETE)], False),
        ([b"9\r\n" + b"x" * 9 + b"\r\n0\r\n\r\n"], False),
        ([b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"], False),
        ([b"0\r\n\r\n", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"], False),
    ],
)
def test_a_fault_after_the_completion_costs_the_connection_alone(
    more: list[bytes], closes: bool, asked: InvokeAsked
) -> None:
    """A cut or a reset, no HTTP, another message, words that nobody asked for: the next call dials anew."""
    network = Network()
    held = session()
    opened = complete_midway(network, held)
    network.inbox, network.closed = [*more], closes
    assert network.run(call(held, asked)) is not None
    assert (network.dials, network.heard) == (2, [STREAMED, asked])
    assert opened.complete == InvokeComplete()
    assert network.run(exchanges.next_chunk(opened)) is None


def test_what_came_with_the_completion_is_judged_by_the_next_call() -> None:
    """Another message behind it is a fault of the service; the answer is complete, the connection is not used."""
    network = Network(cut=lambda data: [data.replace(b"0\r\n\r\n", b"%x\r\n%b\r\n" % (len(COMPLETE), COMPLETE))])
    held = session()
    opened = network.run(exchanges.open_answer(held, STREAMED))
    assert network.chunks(opened) == [STREAMED.payload, b"2"]
    network.cut = lambda data: [data]
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


@pytest.mark.parametrize("fault", [TimeoutError, KeyboardInterrupt, GeneratorExit])
def test_a_call_cancelled_while_it_looks_for_the_end(fault: type[BaseException]) -> None:
    """Nothing was sent; the answer stays complete, and the next call looks again."""
    network = Network()
    held = session()
    opened = complete_midway(network, held)
    cancelled = exchanges.invoke(held, WHOLE)
    want = next(cancelled)
    assert isinstance(want, Write)
    assert (want.look_first, (not want.done)) == (True, False)
    with pytest.raises(fault):
        cancelled.throw(fault())
    network.inbox = [b"0\r\n\r\n"]
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.run(exchanges.next_chunk(opened)) is None
    assert (network.dials, network.heard) == (1, [STREAMED, ANOTHER])


# -- an answer dropped


def test_a_dropped_answer_hangs_up_at_once() -> None:
    """The service sees it before anything else is said; nothing more comes of it, and the next call dials anew."""
    network = Network()
    held = session()
    opened = open_midway(network, held)
    hangups = network.hangups
    for _ in range(2):
        network.run(exchanges.drop_answer(opened))
        assert network.hangups == hangups + 1
        refused(LocalProtocolError, exchanges.next_chunk(opened), match="it was given up")
    assert opened.complete is None
    assert network.dials == 1
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


def test_dropping_a_complete_answer_is_nothing() -> None:
    """It stays complete, and its connection is kept."""
    network = Network()
    held = session()
    opened = network.run(exchanges.open_answer(held, STREAMED))
    network.chunks(opened)
    unwanted(exchanges.drop_answer(opened))
    assert network.run(exchanges.next_chunk(opened)) is None
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 1


def unwanted(exchange: Exchange[object]) -> None:
    """Check that a conversation wants nothing."""
    with pytest.raises(StopIteration):
        next(exchange)


def test_dropping_a_stale_answer_takes_nothing_from_a_newer() -> None:
    """It was given up when the newer call was made."""
    network = Network()
    held = session()
    stale = open_midway(network, held)
    newer = open_midway(network, held)
    unwanted(exchanges.drop_answer(stale))
    assert network.chunks(newer) == [b"2"]


def test_a_failed_answer_stays_failed_when_dropped() -> None:
    """What the service ended it with is known."""
    failure = InvokeFailed(error_code="InternalFailure", message="no")
    network = Network(lambda _: [InvokeAccepted(), failure])
    opened = network.run(exchanges.open_answer(session(), STREAMED))
    for _ in range(2):
        with pytest.raises(CallFailed, match="InternalFailure: no"):
            network.run(exchanges.next_chunk(opened))
        network.run(exchanges.drop_answer(opened))


@pytest.mark.parametrize("fault", [ConnectionLost("gone"), KeyboardInterrupt(), GeneratorExit()])
def test_an_answer_is_dropped_whatever_becomes_of_the_hangup(fault: BaseException) -> None:
    """It is given up before the driver is asked for anything."""
    network = Network()
    held = session()
    opened = open_midway(network, held)
    dropping = exchanges.drop_answer(opened)
    assert isinstance(next(dropping), Hangup)
    with pytest.raises(type(fault)):
        dropping.throw(fault)
    refused(LocalProtocolError, exchanges.next_chunk(opened), match="it was given up")
    assert network.run(exchanges.invoke(held, ANOTHER)) == InvokeAnswered(payload=ANOTHER.payload)
    assert network.dials == 2


def test_an_answer_can_be_dropped_when_its_session_is_closed() -> None:
    """Whoever closes both, in whichever order, is told nothing."""
    network = Network()
    held = session()
    opened = open_midway(network, held)
    held.closed = True
    network.run(exchanges.drop_answer(opened))
    refused(LocalProtocolError, exchanges.next_chunk(opened), match="it was given up")


# -- closed


@pytest.mark.parametrize("until", ["new", "answered", "streaming"])
def test_a_closed_session_says_nothing_more(until: str) -> None:
    """However far it has come, every conversation is told so, wants nothing, asks no signer and never dials."""
    signed: list[object] = []

    def sign(*asked: object) -> Headers:
        signed.append(asked)
        return ()

    network = Network()
    held = session(sign=sign)
    opened = exchanges.OpenAnswer(held, InvokeAccepted())
    held.answer = opened
    if until == "answered":
        network.run(exchanges.invoke(held, WHOLE))
        held.answer = opened
    if until == "streaming":
        opened = open_midway(network, held)
        network.inbox = []
    signed.clear()
    held.closed = True
    conversations = exchanges.invoke(held, WHOLE), exchanges.open_answer(held, STREAMED), exchanges.next_chunk(opened)
    for conversation in conversations:
        refused(ConnectionLost, conversation, match="this caller was closed")
    assert signed == []


def test_a_complete_answer_stays_complete_when_closed() -> None:
    """What it said is known; there is nothing to ask for."""
    network = Network()
    held = session()
    opened = network.run(exchanges.open_answer(held, STREAMED))
    network.chunks(opened)
    held.closed = True
    assert network.run(exchanges.next_chunk(opened)) is None


@pytest.mark.parametrize("asked", [WHOLE, STREAMED])
@pytest.mark.parametrize("at", range(9))
def test_closing_ends_a_conversation_at_any_of_its_wants(asked: InvokeAsked, at: int) -> None:
    """The driver answers what the closed connection gives it, and the conversation ends without dialling again."""
    network = Network(lambda event: [*echo(event)][:-1] if event.streaming else [], lambda data: [data[:9], data[9:]])
    held = session()
    exchange = call(held, asked)
    want = next(exchange)
    try:
        for _ in range(at):
            want = exchange.send(network.do(want))
    except TimeoutError:
        return  # it has fewer wants
    dials = network.dials + isinstance(want, Dial)
    held.closed = network.closed = True
    network.inbox = []
    with pytest.raises(ConnectionLost, match="this caller was closed"):
        network.run(exchange, want)
    assert network.dials == dials


# -- signing


SIGNED = InvokeAsked(
    function_name="arn:aws:lambda:us-east-1:1:function:f",
    payload=b"[1]",
    qualifier="$LATEST",
    log_type="Tail",
    headers=(("x-own", "1"),),
)


def test_a_signer_is_told_what_is_sent() -> None:
    """Method, URL, fields and payload, as they go out; what it adds goes out too, and nothing twice."""
    asked: list[tuple[str, str, Headers, bytes]] = []

    def sign(method: str, url: str, fields: Headers, payload: bytes) -> Headers:
        asked.append((method, url, fields, payload))
        return (*fields, ("Authorization", "secret"), ("X-Amz-Date", "now"), ("authorization", "secret"))

    network = Network()
    network.run(exchanges.invoke(session(scheme="https", sign=sign, user_agent="test/1"), SIGNED))
    ((method, url, fields, payload),) = asked
    first, *lines = network.received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    sent = [tuple(line.split(": ", 1)) for line in lines]
    target = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations?Qualifier=%24LATEST"
    assert (method, url, payload) == ("POST", f"https://{HOST}{target}", b"[1]")
    assert first == f"POST {target} HTTP/1.1"
    assert sorted(sent) == sorted([*fields, ("authorization", "secret"), ("x-amz-date", "now")])
    assert len({name.lower() for name, _ in sent}) == len(sent)
    assert [value for name, value in sent if name == "Host"] == [HOST]
    assert [value for name, value in sent if name == "Content-Length"] == ["3"]
    assert ("User-Agent", "test/1") in sent


def test_a_signer_may_return_what_it_adds_alone() -> None:
    """In whatever kind of sequence; each call is signed anew."""
    numbers = iter(range(9))

    def sign(*_: object) -> Any:
        return iter([["Authorization", str(next(numbers))]])

    network = Network()
    held = session(sign=sign)
    network.run(exchanges.invoke(held, WHOLE))
    network.run(exchanges.open_answer(held, STREAMED))
    heard = [event.headers for event in network.heard if isinstance(event, InvokeAsked)]
    assert heard == [(("authorization", "0"),), (("authorization", "1"),)]


def test_what_a_signer_raises_leaves_before_anything_is_sent() -> None:
    """No dial for it, and an answer that is open stays open."""
    may = True

    def sign(*_: object) -> Headers:
        if not may:
            raise PermissionError("no credentials")
        return ()

    network = Network()
    held = session(sign=sign)
    opened = open_midway(network, held)
    may = False
    refused(PermissionError, exchanges.invoke(held, WHOLE), match="no credentials")
    assert network.chunks(opened) == [b"2"]
    assert (network.dials, network.heard) == (1, [STREAMED])


@pytest.mark.parametrize(
    "signed",
    [
        None,
        5,
        "text",
        {"authorization": "x"},
        ["ab"],
        [("authorization",)],
        [("authorization", "x", "y")],
        [("authorization", b"x")],
        [(b"authorization", "x")],
        [("authorization", None)],
        [None],
        [("", "x")],
        [("author ization", "x")],
        [("ключ", "x")],
        [("authorization", "a\r\nb: c")],
        [("authorization", " x")],
        [("authorization", "\ud800")],
        [("authorization", "x"), ("Authorization", "y")],
        [("host", "elsewhere")],
        [("content-length", "4")],
        [("x-own", "2")],
        [("transfer-encoding", "chunked")],
        [("connection", "close")],
    ],
)
def test_what_no_signer_may_return(signed: Any) -> None:
    """It is refused before anything is sent: a field that is none, another value of one that is there, framing.

    Whoever reads it learns that the signer is at fault, not the call.
    """
    refused(Malformed, exchanges.invoke(session(sign=lambda *_: signed), SIGNED), match="signer")


def test_a_field_that_a_signer_cannot_add_is_told_as_his() -> None:
    """With what is wrong with it, and the cause."""
    with pytest.raises(Malformed, match=r"^the signer added what cannot be sent: .*author ization") as caught:
        next(exchanges.invoke(session(sign=lambda *_: (("author ization", "x"),)), SIGNED))
    assert isinstance(caught.value.__cause__, Malformed)


# -- making one


@pytest.mark.parametrize("text", ["a\r\nb", "a\0", " a", "\ud800", 5, None])
@pytest.mark.parametrize("what", ["host", "user_agent"])
def test_what_every_request_would_say_is_checked_at_once(what: str, text: Any) -> None:
    """A session that could never say anything is not made."""
    with pytest.raises(Malformed, match=what):
        exchanges.CallerSession(**({"host": HOST} | {what: text}))


def test_what_never_ends_after_a_completion_costs_the_connection() -> None:
    """Messages that nobody knows, one after the other: the next call does not wait for their end."""
    network = Network()
    held = session()
    opened = complete_midway(network, held)
    unknown = encode_event_stream(EventStreamMessage(payload=b"?" * 1000))
    network.inbox = [encode_chunk(unknown)] * 1000
    assert network.run(exchanges.next_chunk(opened)) is None
    assert network.run(call(held, WHOLE)) is not None
    assert network.dials == 2
