"""Conversations, driven by a stand-in for the network that no real part can be: cuts, resets and silence on demand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from lambda_wire import exchanges
from lambda_wire._answers import encode_answer
from lambda_wire._error_payload import MAX_TRAILER_DOCUMENT
from lambda_wire._errors import (
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import (
    Accepted,
    Answer,
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
)
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._service import ServiceConnection
from lambda_wire._signals import Signal
from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write
from lambda_wire.testing import deliveries

T = TypeVar("T")
INVOCATION = Invocation(request_id="id-1", payload=b"{}", invocation_id="attempt-1")
NOT_FOUND = Refused(status=404, error_message="404 page not found")
TRUNCATED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
REFUSED = Refused(status=413, error_type="RequestEntityTooLarge", error_message="too large")


class Network:
    """A service on the other side of connections that can be cut at will.

    Args:
        answers: What the service answers to each complete request, in order. ``None`` closes without an answer.
        cut: How each answer is delivered.
        snap_start: Whether the service snapshots.
    """

    def __init__(
        self,
        *answers: Answer | None,
        cut: Callable[[bytes], list[bytes]] = lambda data: [data],
        snap_start: bool = False,
    ) -> None:
        self.answers = list(answers)
        self.cut = cut
        self.lifecycle = StandardLifecycle(snap_start=snap_start)
        self.heard: list[object] = []
        self.dials = 0
        self.hangups = 0
        self.halves = 0
        """How often only our half was closed."""
        self.slow = False
        """Whether the service still reads what has come on a connection when another one is dialled."""
        self.unreachable = False
        self.reset_on_write = False
        self.last_words: list[bytes] = []
        """Said before the reset."""
        self.closed = False
        self.reset = False
        """Whether the connection ends with a reset, where ``closed`` says that it ends."""
        self.inbox: list[bytes] = []
        self._service = ServiceConnection(self.lifecycle)

    def run(self, exchange: Exchange[T], want: Want | None = None) -> T:
        """Answer every want of a conversation, from ``want`` on when it has begun; return its result."""
        try:
            want = want or next(exchange)
            while True:
                try:
                    answer = self.do(want)
                except ConnectionLost as fault:
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
                    raise ConnectionLost("nothing was sent: no Runtime API", nothing_sent=True)
                if self.closed or not self.slow:
                    self._service.abandon()
                self._service = ServiceConnection(self.lifecycle)
                self.closed, self.inbox = False, []
            case Hangup(half=True):
                self.halves += 1
                self._hear_the_end()
            case Hangup():
                self.hangups += 1
            case Read():
                return self.inbox.pop(0) if self.inbox else self._silence()
            case Write():
                return self._write(want)
        return b""

    def _hear_the_end(self) -> None:
        """Refuse what broke off, as a service does that has read it, and close the connection."""
        self._service.receive_data(b"")
        with suppress(RemoteProtocolError):
            self._service.next_event()
        self.inbox.append(TRUNCATED)
        self._service.abandon()
        self.closed = True

    def _silence(self) -> bytes:
        assert self.closed, "the conversation waits for ever"
        if self.reset:
            raise ConnectionLost("reset")
        return b""

    def _write(self, want: Write) -> bytes:
        if want.look_first and self.closed and not self.inbox:
            raise ConnectionLost("the service has closed the connection")
        if want.look_first and self.inbox:
            return self.inbox.pop(0)
        if self.reset_on_write and not want.done:
            self.reset_on_write = False
            self.closed = True
            self.inbox = self.last_words
            raise ConnectionLost("reset")
        while not want.done:
            (buffer,) = want.next_buffers(1)
            self._service.receive_data(bytes(buffer))
            want.advance(len(buffer))
        while not isinstance(event := self._service.next_event(), Signal):
            self.heard.append(event)
            if not isinstance(event, (ResponseStarted, ResponseChunk)):
                self._answer(self.answers.pop(0))
        return b""

    def _answer(self, answer: Answer | None) -> None:
        if answer is None:
            self.closed = True
        else:
            self.inbox += self.cut(self._service.send(answer))


def session() -> exchanges.RuntimeSession:
    return exchanges.RuntimeSession(host="127.0.0.1:9001")


@pytest.mark.parametrize("way", range(5))
def test_a_buffered_invocation_in_every_delivery(way: int) -> None:
    """However the answers are cut, the conversation says the same: delivery-independence (RT-RESP-8, UN-1)."""
    network = Network(INVOCATION, Accepted(), cut=lambda data: list(deliveries(data))[way])
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    assert invocation == INVOCATION
    assert network.run(exchanges.respond(held, invocation, bytearray(b'"hi"'), content_type="text/plain")) == Accepted()
    assert network.heard == [
        NextAsked(),
        BufferedResponse(request_id="id-1", payload=b'"hi"', content_type="text/plain", invocation_id="attempt-1"),
    ]
    assert network.dials == 1


def test_a_streamed_invocation() -> None:
    """Head and first chunks leave together, empty pieces never, and one end (RT-RESP-8, RS-CHUNK-2)."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    response = network.run(exchanges.start_response(held, invocation, (b"one", b""), content_type="text/html"))
    network.run(exchanges.write_chunks(response, (b"",)))
    network.run(exchanges.write_chunks(response, (memoryview(b"two"), b"three")))
    assert network.run(exchanges.finish_response(response)) == Accepted()
    assert network.heard[1:] == [
        ResponseStarted(request_id="id-1", content_type="text/html", invocation_id="attempt-1"),
        ResponseChunk(data=b"one"),
        ResponseChunk(data=b"two"),
        ResponseChunk(data=b"three"),
        ResponseFinished(),
    ]


def test_chunks_that_are_ready_together_leave_in_few_buffers() -> None:
    """Small ones are joined, so that one write takes a thousand; a large one is handed on as it was given."""
    network = Network(INVOCATION, Accepted())
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    large = b"x" * 100_000
    writing = exchanges.write_chunks(response, [b"y" * 64] * 1000 + [large])
    want = next(writing)
    assert isinstance(want, Write)
    joined, given, last = want.next_buffers(99)
    assert joined == (b"40\r\n" + b"y" * 64 + b"\r\n") * 1000 + b"186a0\r\n"
    assert given is large
    assert last == b"\r\n"


def test_a_stream_that_fails() -> None:
    """An error after the first byte goes into trailers (RS-HEAD-9, RS-TRAILER-1)."""
    network = Network(INVOCATION, Accepted())
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    failure = exchanges.fail_response(response, error_type="Function.X", error_body=bytearray(b"{}"))
    assert network.run(failure) == Accepted()
    assert network.heard[-1] == ResponseFailed(error_type="Function.X", error_body=b"{}")


def test_errors_are_reported() -> None:
    """An error before the first byte goes to /error, one before the first poll to /init/error.

    (RT-RESP-8, ER-DOC-5, UN-7)
    """
    network = Network(Accepted())
    init = exchanges.report_init_error(session(), error_type="Runtime.X", payload=b"{}", xray_cause="{}")
    assert network.run(init) == Accepted()
    assert network.heard == [InitErrorReported(error_type="Runtime.X", payload=b"{}", xray_cause="{}")]
    network = Network(INVOCATION, REFUSED)
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    report = exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}", xray_cause="{}")
    assert network.run(report) == REFUSED
    assert network.heard[-1] == ErrorReported(
        request_id="id-1", error_type="Function.X", payload=b"{}", xray_cause="{}", invocation_id="attempt-1"
    )


def test_a_refused_poll_interrupts() -> None:
    """403 or 500 to a poll cannot be gone on from."""
    refusal = Refused(status=500, error_type="InternalServerError", error_message="Internal Server Error")
    with pytest.raises(RequestRefused) as caught:
        Network(refusal).run(exchanges.next_invocation(session()))
    assert caught.value.refusal == refusal


@pytest.mark.parametrize("way", range(5))
def test_a_restored_environment_in_every_delivery(way: int) -> None:
    """Restored, it polls for invocations, or says why it cannot: delivery-independence."""

    def cut(data: bytes) -> list[bytes]:
        return list(deliveries(data))[way]

    network = Network(RestoreReady(), INVOCATION, cut=cut, snap_start=True)
    held = session()
    network.run(exchanges.next_restore(held))
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert (network.heard, network.dials) == ([RestoreAsked(), NextAsked()], 1)
    network = Network(RestoreReady(), Accepted(), cut=cut, snap_start=True)
    held = session()
    network.run(exchanges.next_restore(held))
    report = exchanges.report_restore_error(held, error_type="Runtime.X", payload=bytearray(b"{}"))
    assert network.run(report) == Accepted()
    assert network.heard == [RestoreAsked(), RestoreErrorReported(error_type="Runtime.X", payload=b"{}")]


@pytest.mark.parametrize(
    "refusal", [NOT_FOUND, Refused(status=403, error_type="InvalidStateTransition", error_message="not allowed")]
)
def test_a_refused_snapshot_interrupts(refusal: Refused) -> None:
    """After that it is as if it was never asked for: the runtime may poll, or report an init error."""
    network = Network(refusal, INVOCATION, snap_start=True)
    held = session()
    with pytest.raises(RequestRefused) as caught:
        network.run(exchanges.next_restore(held))
    assert caught.value.refusal == refusal
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_an_invocation_instead_of_a_restored_environment_is_not_lost_in_silence() -> None:
    """So the emulator's snapshot mode answers. The service is at fault, and can be told so on a new connection."""
    network = Network(INVOCATION, Accepted())
    held = session()
    original = network.do

    def misunderstand(want: Want) -> bytes:
        if isinstance(want, Write) and not want.done and not network.heard:
            (buffer,) = want.next_buffers(1)
            assert bytes(buffer).startswith(b"GET /2018-06-01/runtime/restore/next ")
            want.advance(len(buffer))
            network._service.receive_data(bytes(buffer).replace(b"restore/next", b"invocation/next"))
            return original(Write())
        return original(want)

    network.do = misunderstand  # type: ignore[method-assign]  # a service that takes one poll for another
    with pytest.raises(RemoteProtocolError, match="expected no invocation after RestoreAsked, got 'id-1'"):
        network.run(exchanges.next_restore(held))
    network.lifecycle = StandardLifecycle()
    assert network.run(exchanges.report_init_error(held, error_type="Runtime.X", payload=b"{}")) == Accepted()
    assert network.dials == 2


def test_a_kept_connection_that_closed_is_dialled_again_before_anything_is_sent() -> None:
    """A service may close an idle connection: the response goes out on a new one, and once (RT-CONN-5, UN-4, UN-14)."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    network.closed = True
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
    assert network.dials == 2
    assert network.heard.count(BufferedResponse(request_id="id-1", payload=b"1", invocation_id="attempt-1")) == 1


def test_a_service_that_speaks_unasked_is_dialled_again() -> None:
    """Bytes that answer nothing make a kept connection useless, and nothing is sent on it."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    original = network.do

    def speak(want: Want) -> bytes:
        return b"HTTP/1.1 408 Request Timeout\r\n\r\n" if isinstance(want, Write) and want.done else original(want)

    network.do = speak  # type: ignore[method-assign]  # a service that speaks at that moment
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()
    assert network.dials == 2


@pytest.mark.parametrize("reset", [False, True])
def test_a_response_whose_fate_is_unknown_is_not_posted_twice(reset: bool) -> None:
    """The service closed or reset without an answer: it may have taken the response. The loop goes on with a poll."""
    network = Network(INVOCATION, None, INVOCATION)
    network.reset = reset
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    with pytest.raises(ConnectionLost, match="unknown") as caught:
        network.run(exchanges.respond(held, invocation, b"1"))
    assert not caught.value.nothing_sent
    with pytest.raises(LocalProtocolError):
        network.run(exchanges.respond(held, invocation, b"1"))
    assert sum(isinstance(event, BufferedResponse) for event in network.heard) == 1
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_a_reset_while_posting_still_reads_the_answer() -> None:
    """A service that refuses early and resets has left its answer in our receive buffer."""
    network = Network(INVOCATION)
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    network.reset_on_write = True
    network.last_words = [ServiceConnection().send(REFUSED)]
    assert network.run(exchanges.respond(held, invocation, b"1")) == REFUSED


@pytest.mark.parametrize("reset", [False, True])
def test_a_lost_poll_is_asked_again_on_a_new_connection_once(reset: bool) -> None:
    """A kept connection may end under a poll; a new one that ends too means that the service is gone.

    (RT-NEXT-25, UN-14)
    """
    network = Network(INVOCATION, Accepted(), None, INVOCATION)
    network.reset = reset
    held = session()
    network.run(exchanges.respond(held, network.run(exchanges.next_invocation(held)), b"1"))
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2
    network = Network(None)
    network.reset = reset
    with pytest.raises(ConnectionLost, match="new connection"):
        network.run(exchanges.next_invocation(session()))


def begin(network: Network, exchange: Exchange[object]) -> None:
    """Hold a conversation until it waits for the service, and cancel it there."""
    want = next(exchange)
    while not isinstance(want, Read):
        want = exchange.send(network.do(want))
    exchange.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_lost_restore_poll_is_asked_again_on_a_new_connection_once(reset: bool) -> None:
    """As a poll for an invocation is."""
    network = Network(None, RestoreReady(), snap_start=True)
    network.reset = reset
    held = session()
    begin(network, exchanges.next_restore(held))
    network.run(exchanges.next_restore(held))
    assert (network.heard, network.dials) == ([RestoreAsked(), RestoreAsked()], 2)
    network = Network(None, INVOCATION, snap_start=True)
    network.reset = reset
    held = session()
    with pytest.raises(ConnectionLost, match="new connection"):
        network.run(exchanges.next_restore(held))
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_a_restore_poll_is_never_asked_twice() -> None:
    """Nor thrown away for something else: what is asked meanwhile is refused, and changes nothing."""
    network = Network(RestoreReady(), INVOCATION, snap_start=True)
    held = session()
    begin(network, exchanges.next_restore(held))
    for other in (
        exchanges.next_invocation(held),
        exchanges.report_init_error(held, error_type="Runtime.X", payload=b"{}"),
        exchanges.report_restore_error(held, error_type="Runtime.X", payload=b"{}"),
    ):
        refused(LocalProtocolError, other, match="AWAITING")
    network.run(exchanges.next_restore(held))
    assert network.heard == [RestoreAsked()]
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_a_restore_has_its_time() -> None:
    """Before the first poll for an invocation, and once; its error after it."""
    network = Network(RestoreReady(), INVOCATION, snap_start=True)
    held = session()

    def assert_not_now(conversation: Exchange[object]) -> None:
        with pytest.raises(LocalProtocolError, match="would be refused"):
            network.run(conversation)

    assert_not_now(exchanges.report_restore_error(held, error_type="Runtime.X", payload=b"{}"))
    network.run(exchanges.next_restore(held))
    assert_not_now(exchanges.next_restore(held))
    network.run(exchanges.next_invocation(held))
    assert_not_now(exchanges.next_restore(held))
    assert_not_now(exchanges.report_restore_error(held, error_type="Runtime.X", payload=b"{}"))


@pytest.mark.parametrize("wrong", [{"error_type": "a\r\nb"}, {"payload": "text"}])
def test_a_restore_error_that_cannot_be_said(wrong: dict[str, Any]) -> None:
    """Nothing changed: it can be said in other words."""
    network = Network(RestoreReady(), Accepted(), snap_start=True)
    held = session()
    network.run(exchanges.next_restore(held))
    right: dict[str, Any] = {"error_type": "Runtime.X", "payload": b"{}"}
    refused(Malformed, exchanges.report_restore_error(held, **(right | wrong)))
    assert network.run(exchanges.report_restore_error(held, **right)) == Accepted()


def test_an_invocation_that_a_reset_cut_is_none() -> None:
    """Where the end of the connection is that of its event, half an event is never taken for a whole one."""

    def until_close(data: bytes) -> list[bytes]:
        lines = data.replace(b"HTTP/1.1", b"HTTP/1.0").splitlines(keepends=True)
        return [b"".join(line for line in lines if not line.lower().startswith((b"content-length", b"connection")))]

    network = Network(INVOCATION, cut=until_close)
    network.closed = True
    held = session()
    original = network.do

    def closing(want: Want) -> bytes:
        answer = original(want)
        network.closed = True
        return answer

    network.do = closing  # type: ignore[method-assign]  # the service ends each connection with its answer
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    network = Network(INVOCATION, None, cut=until_close)
    network.do, network.reset, original = closing, True, network.do  # type: ignore[method-assign]  # likewise
    with pytest.raises(ConnectionLost, match="new connection"):
        network.run(exchanges.next_invocation(session()))


def test_a_poll_is_never_asked_twice() -> None:
    """A poll that was cancelled while it waited is resumed by reading on."""
    network = Network(INVOCATION)
    held = session()
    cancelled = exchanges.next_invocation(held)
    want = next(cancelled)
    while not isinstance(want, Read):
        want = cancelled.send(network.do(want))
    cancelled.close()
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.heard == [NextAsked()]


def test_an_open_poll_is_not_thrown_away_for_another_request() -> None:
    """Whoever asks something else meanwhile is told so; the invocation still comes."""
    network = Network(INVOCATION)
    held = session()
    cancelled = exchanges.next_invocation(held)
    want = next(cancelled)
    while not isinstance(want, Read):
        want = cancelled.send(network.do(want))
    cancelled.close()
    with pytest.raises(LocalProtocolError, match="AWAITING"):
        network.run(exchanges.report_init_error(held, error_type="Runtime.X", payload=b"{}"))
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_garbage_in_answer_to_a_cancelled_report_is_nobodys_later_fault() -> None:
    """Who cancelled it does not hear of it; whoever comes next gets another connection."""
    network = Network(INVOCATION, Accepted(), INVOCATION)
    held = session()
    cancelled = exchanges.respond(held, network.run(exchanges.next_invocation(held)), b"1")
    want = next(cancelled)
    network.do(want)
    while not isinstance(want := cancelled.send(b""), Read):
        network.do(want)
    cancelled.close()
    network.inbox = [b"garbage\r\n\r\n"]
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


@pytest.mark.parametrize("what", ["poll", "respond", "report", "stream"])
def test_a_stream_that_is_open_is_not_cut(what: str) -> None:
    """Nothing else can be asked meanwhile, and a refused conversation changes nothing: the stream goes on."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    response = network.run(exchanges.start_response(held, invocation, (b"one",)))
    other: dict[str, Exchange[object]] = {
        "poll": exchanges.next_invocation(held),
        "respond": exchanges.respond(held, invocation, b"1"),
        "report": exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}"),
        "stream": exchanges.start_response(held, invocation),
    }
    held.quiet_s = 3600.0
    with pytest.raises(LocalProtocolError, match="may not be sent while the connection is SENDING"):
        network.run(other[what])
    network.run(exchanges.write_chunks(response, (b"two",)))
    assert network.run(exchanges.finish_response(response)) == Accepted()
    assert network.dials == 1


def test_a_cancelled_write_breaks_its_connection() -> None:
    """Nobody knows what of a cancelled write went out, so nothing follows it on that connection."""
    network = Network(INVOCATION, INVOCATION)
    held = session()
    cancelled = exchanges.next_invocation(held)
    want = next(cancelled)
    while not (isinstance(want, Write) and not want.done):
        want = cancelled.send(network.do(want))
    with pytest.raises(KeyboardInterrupt):
        cancelled.throw(KeyboardInterrupt())
    assert held.connection.must_close
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


@pytest.mark.parametrize("answer", [REFUSED, Accepted()])
@pytest.mark.parametrize("way", range(5))
def test_an_early_answer_stops_the_stream(answer: Accepted | Refused, way: int) -> None:
    """An answer that comes while we still write is noticed, and the connection is given up.

    (RS-EARLY-3, RS-EARLY-4, RS-EARLY-5)
    """
    network = Network(INVOCATION, INVOCATION)
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held)), (b"one",)))
    said = b"".join(encode_answer(answer, connection="close"))  # not by our service: RS-END-3
    network.inbox = list(deliveries(said))[way]
    with pytest.raises(StreamInterrupted) as caught:
        network.run(exchanges.write_chunks(response, (b"two",)))
    assert caught.value.answer == answer
    assert ResponseChunk(data=b"two") not in network.heard
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    assert network.dials == 2


def test_an_interim_response_does_not_stop_the_stream() -> None:
    """Any server may send one (RFC 9110, 15.2); nothing of what was to be written is left out."""
    network = Network(INVOCATION, Accepted())
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    network.inbox = [b"HTTP/1.1 100 Con", b"tinue\r\n\r\n"]
    network.run(exchanges.write_chunks(response, (b"one",)))
    assert network.run(exchanges.finish_response(response)) == Accepted()
    assert network.heard[-2:] == [ResponseChunk(data=b"one"), ResponseFinished()]


def test_an_answer_before_the_head_went_out_stops_the_stream() -> None:
    """A service that speaks just then refuses what it has not read (RS-EARLY-3)."""
    network = Network(INVOCATION)
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    original = network.do

    def speak(want: Want) -> bytes:
        if isinstance(want, Write) and not want.done:
            return b"".join(encode_answer(REFUSED, connection="close"))
        return original(want)

    network.do = speak  # type: ignore[method-assign]  # a service that speaks at that moment
    with pytest.raises(StreamInterrupted) as caught:
        network.run(exchanges.start_response(held, invocation, (b"one",)))
    assert caught.value.answer == REFUSED
    assert held.connection.must_close


@pytest.mark.parametrize("end", [True, False])
def test_an_early_refusal_that_comes_in_parts_is_waited_for(end: bool) -> None:
    """A final answer that ends its connection has begun: nothing more can be sent, and its rest says why."""
    network = Network(INVOCATION)
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    head, body = network._service.send(REFUSED).split(b"\r\n\r\n")
    network.inbox = [head + b"\r\nConnection: close\r\n\r\n"]
    original = network.do

    def late(want: Want) -> bytes:
        return body if isinstance(want, Read) else original(want)

    network.do = late  # type: ignore[method-assign]  # the rest of the answer comes after a pause
    with pytest.raises(StreamInterrupted) as caught:
        network.run(exchanges.write_chunks(response, (b"one",)))
    assert caught.value.answer == REFUSED


def answer_whole(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    return exchanges.respond(held, invocation, b"1")


def answer_with_error(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    return exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}")


def answer_in_parts(held: exchanges.RuntimeSession, invocation: Invocation) -> Exchange[object]:
    response = yield from exchanges.start_response(held, invocation, (b"one",))
    yield from exchanges.write_chunks(response, (b"two",))
    return (yield from exchanges.finish_response(response))


@pytest.mark.parametrize("how", [KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("conversation", [answer_whole, answer_with_error, answer_in_parts])
@pytest.mark.parametrize("at", range(8))
def test_a_conversation_cancelled_anywhere_leaves_the_session_usable(
    conversation: Callable[[exchanges.RuntimeSession, Invocation], Exchange[object]], at: int, how: type[BaseException]
) -> None:
    """Thrown at each of its wants in turn: the next poll is answered, and nothing is ever posted twice."""
    network = Network(INVOCATION, Accepted(), INVOCATION, Accepted(), INVOCATION)
    network.slow = True
    held = session()
    exchange = conversation(held, network.run(exchanges.next_invocation(held)))
    want = next(exchange)
    try:
        for _ in range(at):
            want = exchange.send(network.do(want))
        with pytest.raises(how):
            exchange.throw(how())
    except StopIteration:
        pass  # it has fewer wants
    network.answers = network.answers if network.answers[0] == INVOCATION else [INVOCATION]
    assert network.run(exchanges.next_invocation(held)) == INVOCATION
    ends = (BufferedResponse, ErrorReported, ResponseFinished)
    assert sum(isinstance(event, ends) for event in network.heard) <= 1


def test_a_closed_connection_stops_the_stream() -> None:
    """A service that goes away without a word is noticed too; so is one that resets."""
    for reset in (False, True):
        network = Network(INVOCATION, INVOCATION)
        held = session()
        response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held)), (b"one",)))
        network.closed, network.reset_on_write = not reset, reset
        with pytest.raises(StreamInterrupted) as caught:
            network.run(exchanges.write_chunks(response, (b"two",)))
        assert caught.value.answer is None
        assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_a_service_that_cannot_be_reached() -> None:
    """Nothing was sent, and the fault says so; the session can be used again later."""
    network = Network(INVOCATION)
    network.unreachable = True
    held = session()
    with pytest.raises(ConnectionLost, match="nothing was sent") as caught:
        network.run(exchanges.next_invocation(held))
    assert caught.value.nothing_sent
    network.unreachable = False
    assert network.run(exchanges.next_invocation(held)) == INVOCATION


def test_an_answer_that_cannot_be_dialled_costs_no_other_invocation() -> None:
    """Nothing was sent of it; the next poll brings what the service has, which can be answered (RT-MANAGED-15)."""
    other = Invocation(request_id="other", payload=b"{}")
    network, held = Network(INVOCATION, other, Accepted()), session()
    invocation = network.run(exchanges.next_invocation(held))
    network.closed = network.unreachable = True
    with pytest.raises(ConnectionLost, match="nothing was sent"):
        network.run(exchanges.respond(held, invocation, b"1"))
    network.unreachable, network.lifecycle = False, StandardLifecycle()  # that of another slot, as it were
    assert network.run(exchanges.next_invocation(held)) == other
    with pytest.raises(LocalProtocolError):
        network.run(exchanges.respond(held, invocation, b"1"))
    assert network.run(exchanges.respond(held, other, b"2")) == Accepted()
    assert network.heard == [NextAsked(), NextAsked(), BufferedResponse(request_id="other", payload=b"2")]


def test_wrong_invocation_is_refused_before_anything_is_sent() -> None:
    """Answering an invocation that is not the current one is our own fault, and changes nothing."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    with pytest.raises(LocalProtocolError):
        network.run(exchanges.respond(held, Invocation(request_id="other", payload=b""), b"1"))
    assert network.run(exchanges.respond(held, invocation, b"1")) == Accepted()


OTHER = Invocation(request_id="other", payload=b"")
#: What the law of the environment forbids, by what was done before: nothing, a poll, an answer, an init error.
FORBIDDEN: dict[str, list[Callable[[exchanges.RuntimeSession], Exchange[object]]]] = {
    "nothing": [
        lambda held: exchanges.respond(held, INVOCATION, b"1"),
        lambda held: exchanges.start_response(held, INVOCATION),
        lambda held: exchanges.report_error(held, INVOCATION, error_type="X", payload=b"{}"),
        lambda held: exchanges.report_restore_error(held, error_type="X", payload=b"{}"),
    ],
    "poll": [
        lambda held: exchanges.respond(held, OTHER, b"1"),
        lambda held: exchanges.start_response(held, OTHER),
        lambda held: exchanges.report_error(held, OTHER, error_type="X", payload=b"{}"),
        lambda held: exchanges.report_init_error(held, error_type="X", payload=b"{}"),
        exchanges.next_restore,
    ],
    "answer": [
        lambda held: exchanges.respond(held, INVOCATION, b"1"),
        lambda held: exchanges.start_response(held, INVOCATION),
        lambda held: exchanges.report_error(held, INVOCATION, error_type="X", payload=b"{}"),
    ],
    "init error": [
        lambda held: exchanges.report_init_error(held, error_type="X", payload=b"{}"),
        exchanges.next_invocation,
        exchanges.next_restore,
    ],
}


@pytest.mark.parametrize(
    ("before", "conversation"), [(before, forbidden) for before in FORBIDDEN for forbidden in FORBIDDEN[before]]
)
def test_what_is_illegal_dials_nothing(
    before: str, conversation: Callable[[exchanges.RuntimeSession], Exchange[object]]
) -> None:
    """What the service would refuse is known without it, and said though it cannot be reached (RT-INIT-4)."""
    network, held = Network(Accepted() if before == "init error" else INVOCATION, Accepted()), session()
    if before in ("poll", "answer"):
        network.run(exchanges.next_invocation(held))
    if before == "answer":
        network.run(exchanges.respond(held, INVOCATION, b"1"))
    if before == "init error":
        network.run(exchanges.report_init_error(held, error_type="X", payload=b"{}"))
    dials, network.closed, network.unreachable = network.dials, True, True
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="would be refused"):
            network.run(conversation(held))
    assert network.dials == dials
    assert network.hangups == dials + 2  # a connection that had ended is not kept, either


def test_what_became_legal_with_the_end_of_a_connection_is_dialled_for() -> None:
    """A poll that was cut while it was written holds the environment no longer than its connection."""
    network, held = Network(Accepted()), session()
    cancelled = exchanges.next_restore(held)
    want = next(cancelled)
    while not (isinstance(want, Write) and not want.done):
        want = cancelled.send(network.do(want))
    with pytest.raises(KeyboardInterrupt):
        cancelled.throw(KeyboardInterrupt())
    assert network.run(exchanges.report_init_error(held, error_type="X", payload=b"{}")) == Accepted()
    assert network.dials == 2


def refused(error: type[Exception], exchange: Exchange[object], *, match: str | None = None) -> None:
    """Check that a conversation fails before it wants anything."""
    with pytest.raises(error, match=match):
        next(exchange)


@pytest.mark.parametrize("chunks", ["text", b"text", ("text",), (b"one", "two"), (b"one", 5), (0,), (None,), ([1],)])
def test_chunks_that_are_no_bytes(chunks: Any) -> None:
    """They are refused before the response begins, so that the failure can still be reported; and later too."""
    network = Network(INVOCATION, Accepted(), INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    refused(Malformed, exchanges.start_response(held, invocation, chunks))
    report = exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}")
    assert network.run(report) == Accepted()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    refused(Malformed, exchanges.write_chunks(response, chunks))
    assert network.run(exchanges.finish_response(response)) == Accepted()


BAD_TEXT = ["a\r\nb", "a\0", " a", "\ud800", 5, None]
BAD_PAYLOADS = [5, "text", None, [1], {"a": 1}]
BAD_ANSWERS = [
    *((exchanges.respond, {"payload": b"1", "content_type": text}) for text in BAD_TEXT),
    *((exchanges.respond, {"payload": payload}) for payload in BAD_PAYLOADS),
    *((exchanges.start_response, {"content_type": text}) for text in BAD_TEXT),
    *((exchanges.report_error, {"error_type": text, "payload": b"{}"}) for text in BAD_TEXT),
    *((exchanges.report_error, {"error_type": "X", "payload": b"{}", "xray_cause": text}) for text in BAD_TEXT),
    *((exchanges.report_error, {"error_type": "X", "payload": payload}) for payload in BAD_PAYLOADS),
]


@pytest.mark.parametrize(("conversation", "wrong"), BAD_ANSWERS)
def test_what_cannot_be_said_leaves_the_invocation_reportable(
    conversation: Callable[..., Exchange[object]], wrong: dict[str, Any]
) -> None:
    """Check, encode, then move: after any bad argument the error can be reported, and nothing was sent."""
    network = Network(INVOCATION, Accepted())
    held = session()
    invocation = network.run(exchanges.next_invocation(held))
    refused(Malformed, conversation(held, invocation, **wrong))
    report = exchanges.report_error(held, invocation, error_type="Function.X", payload=b"{}")
    assert network.run(report) == Accepted()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"error_type": text, "error_body": b"{}"} for text in ["", *BAD_TEXT]),
        *({"error_type": "Function.X", "error_body": body} for body in BAD_PAYLOADS),
        {"error_type": "Function.X", "error_body": bytes(2 * MAX_TRAILER_DOCUMENT)},
    ],
)
def test_a_failure_that_cannot_be_said_leaves_the_stream_open(wrong: dict[str, Any]) -> None:
    """A document that does not fit the trailers, and the like: the stream can still be failed with another."""
    network = Network(INVOCATION, Accepted())
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    refused(Malformed, exchanges.fail_response(response, **wrong))
    assert network.run(exchanges.fail_response(response, error_type="Function.X", error_body=b"{}")) == Accepted()


def test_an_init_error_that_cannot_be_said() -> None:
    """It can be reported again, said rightly."""
    network = Network(Accepted())
    held = session()
    for wrong in (*({"error_type": text} for text in BAD_TEXT), *({"payload": payload} for payload in BAD_PAYLOADS)):
        arguments: dict[str, Any] = {"error_type": "Runtime.X", "payload": b"{}"} | wrong
        refused(Malformed, exchanges.report_init_error(held, **arguments))
    report = exchanges.report_init_error(held, error_type="Runtime.X", payload=memoryview(b"{}"))
    assert network.run(report) == Accepted()
    assert network.dials == 1


def end_of_kind(kind: str, response: exchanges.OpenResponse) -> Exchange[object]:
    if kind == "finish":
        return exchanges.finish_response(response)
    return exchanges.fail_response(response, error_type="Function.X", error_body=b"{}")


@pytest.mark.parametrize("kind", ["finish", "fail"])
def test_a_response_that_has_ended_cannot_write_into_the_next(kind: str) -> None:
    """Even on the same connection, to the same request id: whoever kept it is told that its stream has ended."""
    network = Network(INVOCATION, Accepted(), INVOCATION, Accepted())
    held = session()
    first = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    network.run(end_of_kind(kind, first))
    assert_ended(first)
    invocation = network.run(exchanges.next_invocation(held))
    assert_ended(first)
    second = network.run(exchanges.start_response(held, invocation, (b"two",)))
    assert_ended(first)
    assert network.run(exchanges.finish_response(second)) == Accepted()
    assert network.dials == 1
    assert network.heard[-3:] == [
        ResponseStarted(request_id="id-1", invocation_id="attempt-1"),
        ResponseChunk(data=b"two"),
        ResponseFinished(),
    ]


def assert_ended(response: exchanges.OpenResponse) -> None:
    """Check that whatever is said with it is refused before anything is sent."""
    for stale in (
        exchanges.write_chunks(response, (b"STALE",)),
        exchanges.write_chunks(response, ()),
        exchanges.finish_response(response),
        exchanges.fail_response(response, error_type="Function.X", error_body=b"{}"),
    ):
        refused(LocalProtocolError, stale, match="the stream has ended")


def test_an_interrupted_response_has_ended() -> None:
    """Its connection is given up, so nothing of it can be sent any more."""
    network = Network(INVOCATION)
    held = session()
    response = network.run(exchanges.start_response(held, network.run(exchanges.next_invocation(held))))
    network.closed = True
    with pytest.raises(StreamInterrupted):
        network.run(exchanges.write_chunks(response, (b"one",)))
    assert_ended(response)


def every_conversation(held: exchanges.RuntimeSession, response: exchanges.OpenResponse) -> list[Exchange[object]]:
    return [
        exchanges.next_invocation(held),
        exchanges.next_restore(held),
        exchanges.report_restore_error(held, error_type="Runtime.X", payload=b"{}"),
        exchanges.respond(held, INVOCATION, b"1"),
        exchanges.report_error(held, INVOCATION, error_type="Function.X", payload=b"{}"),
        exchanges.report_init_error(held, error_type="Runtime.X", payload=b"{}"),
        exchanges.start_response(held, INVOCATION),
        exchanges.write_chunks(response, (b"one",)),
        exchanges.write_chunks(response, ()),
        exchanges.finish_response(response),
        exchanges.fail_response(response, error_type="Function.X", error_body=b"{}"),
    ]


@pytest.mark.parametrize("until", ["new", "running", "streaming", "answered"])
def test_a_closed_session_says_nothing_more(until: str) -> None:
    """However far it has come, every conversation is told so, wants nothing, and never dials."""
    network = Network(INVOCATION, Accepted())
    held = session()
    response = exchanges.OpenResponse(held)
    if until != "new":
        invocation = network.run(exchanges.next_invocation(held))
        if until != "running":
            response = network.run(exchanges.start_response(held, invocation))
        if until == "answered":
            network.run(exchanges.finish_response(response))
    held.closed = True
    for conversation in every_conversation(held, response):
        refused(ConnectionLost, conversation, match="this runtime was closed")


POLLS = [exchanges.next_invocation, exchanges.next_restore]


@pytest.mark.parametrize("conversation", [*POLLS, answer_whole, answer_with_error, answer_in_parts])
@pytest.mark.parametrize("at", range(7))
def test_closing_ends_a_conversation_at_any_of_its_wants(conversation: Callable[..., Any], at: int) -> None:
    """The driver answers what the closed connection gives it, and the conversation ends without dialling again."""
    polls = conversation in POLLS
    network = Network(None, snap_start=True) if polls else Network(INVOCATION, None)
    held = session()
    exchange = conversation(held) if polls else conversation(held, network.run(exchanges.next_invocation(held)))
    want = next(exchange)
    try:
        for _ in range(at):
            want = exchange.send(network.do(want))
    except (StopIteration, ConnectionLost):
        return  # it has fewer wants
    dials = network.dials + isinstance(want, Dial)
    held.closed = network.closed = True
    network.inbox = []
    with pytest.raises(ConnectionLost, match="this runtime was closed"):
        network.run(exchange, want)
    assert network.dials == dials


def test_an_invocation_that_nobody_wants_is_not_taken() -> None:
    """It came while the session was closed: whoever polls is told that, and is given nothing to run."""
    network = Network(INVOCATION)
    held = session()
    poll = exchanges.next_invocation(held)
    want = next(poll)
    while not isinstance(want, Read):
        want = poll.send(network.do(want))
    held.closed = True
    with pytest.raises(ConnectionLost, match="this runtime was closed"):
        network.run(poll, want)
    refused(ConnectionLost, exchanges.next_invocation(held), match="this runtime was closed")


@pytest.mark.parametrize("text", BAD_TEXT)
@pytest.mark.parametrize("what", ["host", "user_agent"])
def test_what_every_request_would_say_is_checked_at_once(what: str, text: Any) -> None:
    """A session that could never say anything is not made."""
    with pytest.raises(Malformed, match=what):
        exchanges.RuntimeSession(**({"host": "127.0.0.1:9001"} | {what: text}))
