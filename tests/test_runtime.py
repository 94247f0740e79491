"""The runtime's end: what it says, what it hears, and what it makes of a service that breaks the law."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_runtime import ASKS, SITUATIONS, assert_silenced, one_input
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Ask,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
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
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._runtime import USER_AGENT, RuntimeConnection, RuntimeEvent
from lambda_wire._signals import NEED_DATA, Signal
from lambda_wire._state import State, Turn
from lambda_wire._types import BytesLike
from lambda_wire.testing import deliveries

COMMON = f"Host: h:1\r\nUser-Agent: {USER_AGENT}\r\n".encode()
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
EVENT = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id\r\nContent-Length: 2\r\n\r\n{}"
TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 9\r\n\r\ntoo large"
PONG = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong"
CLOSED = ConnectionClosed()
INVOCATION = Invocation(request_id="id", payload=b"{}", content_type="")
STREAM = ResponseStarted(request_id="id")


def new(lifecycle: StandardLifecycle | None = None, *, max_payload: int = 64) -> RuntimeConnection:
    return RuntimeConnection(host="h:1", lifecycle=lifecycle, max_payload=max_payload)


def busy() -> StandardLifecycle:
    """Return an environment whose invocation waits for its answer."""
    lifecycle = StandardLifecycle(snap_start=True)
    lifecycle.asked(NextAsked, "")
    lifecycle.invoked(INVOCATION)
    return lifecycle


def asking(*asks: Ask) -> tuple[RuntimeConnection, StandardLifecycle]:
    """Return a connection that has said this, first of which polls where the environment must not be busy."""
    fresh = not asks or isinstance(asks[0], (NextAsked, InitErrorReported, RestoreAsked))
    lifecycle = StandardLifecycle(snap_start=True) if fresh else busy()
    runtime = new(lifecycle)
    for ask in asks:
        runtime.send(ask)
    return runtime, lifecycle


def heard(runtime: RuntimeConnection) -> list[RuntimeEvent]:
    """Return every event that is there."""
    events: list[RuntimeEvent] = []
    while not isinstance(event := runtime.next_event(), Signal):
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def hear(wire: bytes, *asks: Ask, eof: bool = True) -> tuple[list[RuntimeEvent], State, RuntimeConnection]:
    """Return what a runtime that has said ``asks`` hears, however it is delivered, and the state after."""
    everything: list[tuple[list[RuntimeEvent], State]] = []
    runtime, lifecycle = asking(*asks)
    for pieces in deliveries(wire):
        runtime, lifecycle = asking(*asks)
        events: list[RuntimeEvent] = []
        for data in (*pieces, b"") if eof else pieces:
            runtime.receive_data(data)
            events += heard(runtime)
        everything.append((events, lifecycle.state))
    assert all(one == everything[0] for one in everything)
    return *everything[0], runtime


def fault_of(wire: bytes, *asks: Ask, eof: bool = False) -> tuple[str, RuntimeConnection, StandardLifecycle]:
    """Return the fault that every delivery of ``wire`` meets after ``asks``."""
    faults: list[str] = []
    runtime, lifecycle = asking(*asks)
    for pieces in deliveries(wire):
        runtime, lifecycle = asking(*asks)
        with pytest.raises(RemoteProtocolError) as caught:
            _feed(runtime, [*pieces, b""] if eof else pieces)
        assert caught.value.reply is None
        faults.append(str(caught.value))
    assert len(set(faults)) == 1
    return faults[0], runtime, lifecycle


def _feed(runtime: RuntimeConnection, pieces: list[bytes]) -> None:
    for data in pieces:
        runtime.receive_data(data)
        heard(runtime)


def large_event(size: int, framing: str, payload: bytes = b"") -> bytes:
    """Return an event of so many bytes, framed so."""
    head, body = EVENT.removesuffix(b"Content-Length: 2\r\n\r\n{}"), payload or bytes(size)
    if framing == "counted":
        return head + b"Content-Length: %d\r\n\r\n%b" % (size, body)
    if framing == "until close":
        return head + b"\r\n" + body
    step = size if framing == "chunk" else 70_000
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for at in range(0, size, step) if (part := body[at : at + step])]
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def feed(runtime: RuntimeConnection, wire: bytearray, size: int, there: Callable[[], bool]) -> list[RuntimeEvent]:
    """Deliver ``wire`` in pieces, received where they belong where ``there`` says so; return what was heard."""
    events: list[RuntimeEvent] = []
    at = 0
    with memoryview(wire) as view:
        while at < len(view):
            into = runtime.receive_buffer if there() else None
            piece = view[at : at + size]
            if into is None:
                runtime.receive_data(piece)
            else:
                piece = piece[: len(into)]
                into[: len(piece)] = piece
                runtime.receive_data(into[: len(piece)])
            at += len(piece)
            events += heard(runtime)
    return events


def invocation_of(runtime: RuntimeConnection, wire: bytearray, size: int, there: Callable[[], bool]) -> Invocation:
    """Return the one event in ``wire``."""
    events = feed(runtime, wire, size, there)
    if not events:
        runtime.receive_data(b"")
        events = heard(runtime)[:1]
    (invocation,) = events
    assert isinstance(invocation, Invocation)
    return invocation


class TestSays:
    """Every ask as its bytes."""

    @pytest.mark.parametrize("ask", [NextAsked(), RestoreAsked(), PingAsked()])
    def test_the_same_each_time(self, ask: Ask) -> None:
        """What says nothing of an invocation is made once, and is in the same bytes on another connection."""
        answer = PONG if ask == PingAsked() else b"HTTP/1.1 500 A\r\nContent-Length: 0\r\n\r\n"
        runtime, said = new(), list[BytesLike]()
        for _ in range(3):
            said += runtime.send_buffers(ask)
            runtime.receive_data(answer)
            assert len(heard(runtime)) == 1
        assert said == [new().send(ask)] * 3
        assert all(head is said[0] for head in said)
        assert new().send(ask) != RuntimeConnection(host="other").send(ask)

    def test_each_invocation_by_its_name(self) -> None:
        """However little else is said of it."""
        runtime = new()
        for request_id in ("one", "two"):
            runtime.send(NextAsked())
            runtime.receive_data(EVENT.replace(b"Id: id", b"Id: " + request_id.encode()))
            assert len(heard(runtime)) == 1
            said = runtime.send(BufferedResponse(request_id=request_id, payload=b"", content_type=""))
            assert said.startswith(
                b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\n" % request_id.encode()
            )
            runtime.receive_data(ACCEPTED)
            assert len(heard(runtime)) == 1

    @pytest.mark.parametrize(
        "ask", [None, NextAsked(), RestoreAsked(), PingAsked(), BufferedResponse(request_id="id", payload=b"")]
    )
    def test_whether_it_polls(self, ask: Ask | None) -> None:
        """While a poll is open, and only then; idle when nothing is."""
        runtime, _ = asking() if ask is None else asking(ask)
        polls = isinstance(ask, (NextAsked, RestoreAsked))
        assert (runtime.idle, runtime.polling) == (ask is None, polls)
        runtime.receive_data(b"H")
        assert (runtime.idle, runtime.polling) == (False, polls)
        runtime.receive_data(b"")
        heard(runtime)
        assert (runtime.idle, runtime.polling, runtime.must_close) == (False, False, True)

    def test_get(self) -> None:
        """A poll is a bare GET (RT-CONN-2, RT-NEXT-1)."""
        wire = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + COMMON + b"\r\n"
        assert new().send(NextAsked()) == wire

    def test_post(self) -> None:
        """A report is counted; the id is percent-encoded; what is empty is left out.

        (RT-RESP-3, RT-RESP-4, RT-RESP-8)
        """
        lifecycle = StandardLifecycle()
        lifecycle.asked(NextAsked, "")
        lifecycle.invoked(Invocation(request_id="a b", payload=b""))
        runtime = new(lifecycle)
        assert runtime.send(BufferedResponse(request_id="a b", payload=b"[]", invocation_id="i")) == (
            b"POST /2018-06-01/runtime/invocation/a%20b/response HTTP/1.1\r\n"
            + COMMON
            + b"Content-Type: application/json\r\n"
            b"Lambda-Runtime-Invocation-Id: i\r\nContent-Length: 2\r\n\r\n[]"
        )

    def test_stream(self) -> None:
        """Chunks as given, one terminator, trailers declared beforehand (RS-HEAD-1, RS-END-1)."""
        runtime, _ = asking()
        runtime = new(busy())
        head = runtime.send(STREAM)
        assert head.endswith(
            b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
        )
        assert runtime.send(ResponseChunk(data=b"x" * 26)) == b"1a\r\n" + b"x" * 26 + b"\r\n"
        assert runtime.send(ResponseFinished()) == b"0\r\n\r\n"
        assert runtime.turn is Turn.AWAITING

    def test_chunks_together(self) -> None:
        """The same bytes as one by one, small ones in one buffer; only when one could be sent, and none empty."""
        runtime, _ = asking(STREAM)
        assert runtime.send_chunks([b"a", b"x" * 26]) == [b"1\r\na\r\n1a\r\n" + b"x" * 26 + b"\r\n"]
        large = b"x" * 65_536
        assert runtime.send_chunks([large, b"a"]) == [b"10000\r\n", large, b"\r\n1\r\na\r\n"]
        assert runtime.send_chunks([large])[1] is large
        with pytest.raises(Malformed, match="ends the body"):
            runtime.send_chunks([b"a", b""])
        runtime.send(ResponseFinished())
        with pytest.raises(LocalProtocolError, match="ResponseChunk may not be sent"):
            runtime.send_chunks([b"a"])

    def test_failure(self) -> None:
        """Two trailers, the document in base64 (RS-TRAILER-1, RS-TRAILER-12)."""
        runtime, _ = asking(STREAM)
        assert runtime.send(ResponseFailed(error_type="Function.E", error_body=b"{}")) == (
            b"0\r\nLambda-Runtime-Function-Error-Type: Function.E\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n"
        )

    def test_payloads_are_not_copied(self) -> None:
        """``send_buffers`` gives the payload as it is."""
        runtime = new(busy())
        response = BufferedResponse(request_id="id", payload=b"x" * 1000)
        assert runtime.send_buffers(response)[1] is response.payload
        runtime, _ = asking(STREAM)
        chunk = ResponseChunk(data=b"x" * 1000)
        assert runtime.send_buffers(chunk)[1] is chunk.data

    def test_who_is_asking(self) -> None:
        """Host and User-Agent are the caller's; what would end a line is refused before there is a connection.

        (RT-CONN-19)
        """
        runtime = RuntimeConnection(host="h", user_agent="me/1")
        assert b"Host: h\r\nUser-Agent: me/1\r\n" in runtime.send(NextAsked())
        for host, user_agent, what in (("h\r\nX: y", "me", "host"), ("h", "me\n", "user_agent")):
            with pytest.raises(Malformed, match=f"^{what} must be a header value"):
                RuntimeConnection(host=host, user_agent=user_agent)

    @pytest.mark.parametrize("host", ["", "h/x", "é"])
    def test_a_host_that_is_none(self, host: str) -> None:
        """RT-CONN-2: a request without Host, or with what cannot stand there, would be refused by the service."""
        with pytest.raises(Malformed, match="host must be"):
            RuntimeConnection(host=host)

    def test_what_was_heard_of_an_answer(self) -> None:
        """Nothing, until its first byte has come; and nothing where none is due."""
        runtime = RuntimeConnection(host="h")
        assert not runtime.unheard
        runtime.send(NextAsked())
        assert runtime.unheard
        runtime.receive_data(b"H")
        assert not runtime.unheard


class TestHears:
    """Every answer, as an event; and the environment moves with it."""

    @pytest.mark.parametrize(
        ("wire", "ask", "answer", "state"),
        [
            (EVENT, NextAsked(), INVOCATION, State.RUNNING),
            (ACCEPTED, BufferedResponse(request_id="id", payload=b""), Accepted(), State.RESPONSE_SENT),
            (ACCEPTED.replace(b"202", b"200"), ErrorReported(request_id="id", error_type="", payload=b""), Accepted(),
             State.RESPONSE_SENT),
            (ACCEPTED, InitErrorReported(error_type="", payload=b""), Accepted(), State.INIT_ERROR),
            (PONG, PingAsked(), Pong(), State.RUNNING),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", RestoreAsked(), RestoreReady(), State.RESTORING),
            (TOO_LARGE, BufferedResponse(request_id="id", payload=b""),
             Refused(status=413, error_message="too large"), State.RESPONSE_SENT),
            (TOO_LARGE.replace(b"413", b"403"), NextAsked(), Refused(status=403, error_message="too large"),
             State.READY),
            (TOO_LARGE.replace(b"413", b"404"), RestoreAsked(), Refused(status=404, error_message="too large"),
             State.STARTED),
        ],
    )  # fmt: skip
    def test_answers(self, wire: bytes, ask: Ask, answer: RuntimeEvent, state: State) -> None:
        """With or without interim responses before it, and then the connection is free again (RT-CONN-13)."""
        for interim in (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3):
            events, after, runtime = hear(interim + wire, ask, eof=False)
            assert (events, after) == ([answer], state)
            assert (runtime.turn, runtime.must_close) == (Turn.IDLE, False)
            assert hear(interim + wire, ask)[0] == [answer, CLOSED]

    def test_restore_error(self) -> None:
        """An after-restore hook failed."""
        runtime, lifecycle = asking(RestoreAsked())
        runtime.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        heard(runtime)
        runtime.send(RestoreErrorReported(error_type="Runtime.E", payload=b"{}"))
        runtime.receive_data(ACCEPTED)
        assert (heard(runtime), lifecycle.state) == ([Accepted()], State.RESTORE_ERROR)

    @pytest.mark.parametrize(
        "body",
        [
            b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x\r\n}\r\n0\r\n\r\n",
            b"Content-Length: 2\r\nConnection: close\r\n\r\n{}",
            b"\r\n{}",
        ],
    )
    def test_every_framing(self, body: bytes) -> None:
        """Counted, chunked (as the emulator does from 2,049 bytes), or up to the end (RT-CONN-11, LI-EVENT-1)."""
        head = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id\r\n"
        assert hear(head + body, NextAsked())[0] == [INVOCATION, CLOSED]

    def test_the_service_closes_after_this_answer(self) -> None:
        """The answer counts, and the connection can carry nothing more."""
        wire = ACCEPTED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        events, _, runtime = hear(wire, BufferedResponse(request_id="id", payload=b""), eof=False)
        assert (events, runtime.turn, runtime.must_close) == ([Accepted()], Turn.CUT, True)
        with pytest.raises(LocalProtocolError, match="must be closed"):
            runtime.send(NextAsked())

    def test_a_client_context_that_no_header_may_hold(self) -> None:
        """A caller can put any bytes there, and the emulator hands them on raw (observed): the runtime goes on.

        (RT-NEXT-17)
        """
        wire = EVENT.replace(b"\r\n\r\n", b"\r\nLambda-Runtime-Client-Context: a\x00b\x0b\x0c\x01c\r\n\r\n")
        (invocation, *_), _, _ = hear(wire, NextAsked())
        assert isinstance(invocation, Invocation)
        assert invocation.client_context == "a b   c"

    def test_the_first_lifecycle(self) -> None:
        """A connection that is given none begins one, in which SnapStart may be asked for."""
        runtime = RuntimeConnection(host="h")
        assert runtime.send(RestoreAsked()).startswith(b"GET /2018-06-01/runtime/restore/next ")


class TestPolling:
    """A poll is resumed, never asked twice."""

    def test_open(self) -> None:
        """While its answer is due."""
        runtime, _ = asking()
        assert not runtime.awaits(NextAsked)
        runtime.send(NextAsked())
        assert runtime.awaits(NextAsked)
        runtime.receive_data(EVENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")[:-1])
        assert runtime.next_event() is NEED_DATA
        assert (runtime.awaits(NextAsked), runtime.must_close) == (True, True)
        runtime.receive_data(EVENT[-1:])
        assert heard(runtime) == [INVOCATION]
        assert not runtime.awaits(NextAsked)

    def test_which(self) -> None:
        """Whoever resumes it knows what was asked."""
        runtime, _ = asking()
        assert not runtime.awaits(RestoreAsked)
        runtime.send(RestoreAsked())
        assert (runtime.awaits(RestoreAsked), runtime.awaits(NextAsked), runtime.awaits(NextAsked)) == (
            True, False, False)  # fmt: skip
        runtime.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert heard(runtime) == [RestoreReady()]
        assert not runtime.awaits(RestoreAsked)

    def test_an_invocation_answers_no_other_poll(self) -> None:
        """The service is at fault; the environment is not restored, and may say what is wrong elsewhere.

        (RT-RESTORE-4)
        """
        runtime, lifecycle = asking(RestoreAsked())
        runtime.receive_data(EVENT)
        with pytest.raises(RemoteProtocolError, match="expected no invocation after RestoreAsked, got 'id'"):
            runtime.next_event()
        assert lifecycle.state is State.STARTED
        assert new(lifecycle).send(InitErrorReported(error_type="", payload=b""))

    def test_not_written_whole(self) -> None:
        """Nobody will answer half a request: it is not resumed."""
        runtime, _ = asking(NextAsked())
        runtime.send_failed()
        assert (runtime.awaits(NextAsked), runtime.must_close) == (False, True)

    def test_after_a_fault(self) -> None:
        """Nor is one whose answer cannot be read."""
        _, runtime, _ = fault_of(b"x\r\n\r\n", NextAsked())
        assert not runtime.awaits(NextAsked)

    def test_on_a_new_connection(self) -> None:
        """The environment outlives its connections: closed, and asked again (RT-CONN-5)."""
        runtime, lifecycle = asking(NextAsked())
        runtime.receive_data(b"")
        assert (heard(runtime), lifecycle.state) == ([CLOSED], State.READY)
        assert_silenced(runtime, lifecycle)
        again = new(lifecycle)
        again.send(NextAsked())
        again.receive_data(EVENT)
        assert (heard(again), lifecycle.state) == ([INVOCATION], State.RUNNING)

    def test_two_polls_and_one_invocation(self) -> None:
        """Another poll may bring the same event again (RT-NEXT-20), and none while it is answered."""
        lifecycle = StandardLifecycle()
        first, again, late = (new(lifecycle) for _ in range(3))
        for runtime in (first, again, late):
            runtime.send(NextAsked())
        for runtime in (first, again):
            runtime.receive_data(EVENT)
            assert heard(runtime) == [INVOCATION]
        message = "^the service sent what it may not: expected no invocation while the environment holds another$"
        first.send(BufferedResponse(request_id="id", payload=b""))
        late.receive_data(EVENT)
        with pytest.raises(RemoteProtocolError, match=message):
            late.next_event()
        first.receive_data(ACCEPTED)
        assert (heard(first), lifecycle.state) == ([Accepted()], State.RESPONSE_SENT)

    def test_a_poll_that_gives_an_invocation_up_brings_another(self) -> None:
        """A service that knows of no slots hands out what is next; that is answered (RT-MANAGED-15)."""
        lifecycle = busy()
        runtime = new(lifecycle)
        runtime.send(NextAsked())
        runtime.receive_data(EVENT.replace(b"-Id: id", b"-Id: other"))
        assert heard(runtime) == [Invocation(request_id="other", payload=b"{}", content_type="")]
        with pytest.raises(LocalProtocolError, match="Invalid request ID"):
            runtime.send(BufferedResponse(request_id="id", payload=b""))
        assert runtime.send(BufferedResponse(request_id="other", payload=b""))


class TestReporting:
    """A report is open until its answer, or the end: no poll is legal before (RT-RESP-12)."""

    @pytest.mark.parametrize("ask", [BufferedResponse(request_id="id", payload=b""), STREAM])
    @pytest.mark.parametrize("end", [ACCEPTED, TOO_LARGE, b""])
    def test_until_its_end(self, ask: BufferedResponse | ResponseStarted, end: bytes) -> None:
        """Also when it was not written whole; whether its stream can go on is another question."""
        runtime = new(busy())
        assert not runtime.reporting
        runtime.send(ask)
        assert (runtime.reporting, runtime.streaming) == (True, ask is STREAM)
        runtime.send_failed()
        assert (runtime.reporting, runtime.streaming) == (True, False)
        runtime.receive_data(end)
        heard(runtime)
        assert not runtime.reporting

    def test_until_it_is_given_up(self) -> None:
        """Here; the service may know nothing of it yet."""
        runtime = new(busy())
        runtime.send(STREAM)
        runtime.abandon()
        assert not runtime.reporting

    @pytest.mark.parametrize("poll", [NextAsked(), RestoreAsked()])
    def test_a_poll_is_none(self, poll: NextAsked | RestoreAsked) -> None:
        """It holds nothing that another one could not have."""
        runtime, _ = asking(poll)
        assert not runtime.reporting


class TestEarlyAnswers:
    """While the runtime streams, the service may have had enough."""

    @pytest.mark.parametrize(
        ("wire", "answer"),
        [
            (ACCEPTED, Accepted()),
            (TOO_LARGE, Refused(status=413, error_message="too large")),
            (TOO_LARGE.replace(b"413", b"410"), Refused(status=410, error_message="too large")),
            (TOO_LARGE.replace(b"413", b"400"), Refused(status=400, error_message="too large")),
        ],
    )
    def test_given_at_once(self, wire: bytes, answer: RuntimeEvent) -> None:
        """And the connection can carry nothing more, not even the rest of the stream (RS-EARLY-4)."""
        for asks in ((STREAM,), (STREAM, ResponseChunk(data=b"x"))):
            events, state, runtime = hear(wire, *asks, eof=False)
            assert (events, state) == ([answer], State.RESPONSE_SENT)
            assert (runtime.turn, runtime.must_close) == (Turn.CUT, True)
            with pytest.raises(LocalProtocolError, match="while the connection is CUT, and the connection must be"):
                runtime.send(ResponseChunk(data=b"x"))
            assert hear(wire, *asks)[0] == [answer, CLOSED]

    def test_half_of_it(self) -> None:
        """Until it is complete, the stream goes on."""
        runtime, _ = asking(STREAM)
        runtime.receive_data(TOO_LARGE[:-1])
        assert runtime.next_event() is NEED_DATA
        assert runtime.send(ResponseChunk(data=b"x")) == b"1\r\nx\r\n"
        runtime.receive_data(TOO_LARGE[-1:])
        assert len(heard(runtime)) == 1

    def test_without_a_word(self) -> None:
        """The emulator closes the connection on some faults: the response is over, its fate unknown."""
        for asks in ((STREAM,), (STREAM, ResponseChunk(data=b"x")), (STREAM, ResponseFinished())):
            events, state, runtime = hear(b"", *asks)
            assert (events, state, runtime.turn) == ([CLOSED], State.RESPONSE_SENT, Turn.CLOSED)
            with pytest.raises(LocalProtocolError):
                runtime.send(ResponseChunk(data=b"x"))

    def test_interim_answers_are_none(self) -> None:
        """100 does not end a stream."""
        events, state, runtime = hear(b"HTTP/1.1 100 Continue\r\n\r\n" * 9, STREAM, eof=False)
        assert (events, state, runtime.turn) == ([], State.INVOCATION_RESPONSE, Turn.SENDING)
        runtime.send(ResponseFinished())

    @pytest.mark.parametrize("second", [ACCEPTED, TOO_LARGE])
    def test_a_second_answer(self, second: bytes) -> None:
        """Nobody asked for it."""
        _, _, lifecycle = fault_of(TOO_LARGE + second, STREAM)
        assert lifecycle.state is State.RESPONSE_SENT

    def test_after_a_failed_send(self) -> None:
        """What could not be written because the service spoke: what it said is still heard (RS-END-2)."""
        runtime, lifecycle = asking(STREAM)
        runtime.send_failed()
        assert runtime.must_close
        with pytest.raises(LocalProtocolError):
            runtime.send(ResponseFinished())
        runtime.receive_data(TOO_LARGE)
        assert len(heard(runtime)) == 1
        assert lifecycle.state is State.RESPONSE_SENT


class TestUnasked:
    """Answers without a question."""

    @pytest.mark.parametrize("wire", [ACCEPTED, EVENT, PONG])
    def test_good_news(self, wire: bytes) -> None:
        """Is a fault before the first request, and after an answer."""
        assert "no request is open" in fault_of(wire)[0]
        assert "no request is open" in fault_of(ACCEPTED + wire, BufferedResponse(request_id="id", payload=b""))[0]

    def test_bad_news(self) -> None:
        """A server that closes an idle connection may say why: that is news, and the connection is over."""
        events, state, runtime = hear(TOO_LARGE.replace(b"413", b"408"), eof=False)
        assert (events, state) == ([Refused(status=408, error_message="too large")], State.STARTED)
        assert (runtime.turn, runtime.must_close) == (Turn.CUT, True)

    def test_bad_news_is_not_waited_for(self) -> None:
        """A farewell that is half here is no answer to a poll that nobody sent."""
        runtime, _ = asking()
        runtime.receive_data(TOO_LARGE[:-1])
        assert runtime.next_event() is NEED_DATA
        assert (runtime.must_close, runtime.awaiting_answer, runtime.awaits(NextAsked)) == (True, False, False)

    @pytest.mark.parametrize("cut", [1, 30, None])
    def test_not_taken_for_the_next_answer(self, cut: int | None) -> None:
        """Bytes that are there before the request cannot answer it: there is none on this connection any more."""
        runtime, lifecycle = asking(BufferedResponse(request_id="id", payload=b""))
        runtime.receive_data(ACCEPTED + EVENT[:cut])
        assert runtime.next_event() == Accepted()
        assert runtime.must_close
        before = lifecycle.state
        with pytest.raises(LocalProtocolError, match="must be closed"):
            runtime.send(NextAsked())
        assert lifecycle.state is before

    def test_an_interim_answer_is_harmless(self) -> None:
        """Once it was read."""
        runtime, _ = asking()
        runtime.receive_data(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert runtime.must_close
        assert runtime.next_event() is NEED_DATA
        assert not runtime.must_close
        runtime.send(NextAsked())


class TestOrder:
    """Only what may be said now; a refused send changes nothing."""

    def test_every_ask_in_every_situation(self) -> None:
        """Each is said or refused, and a refusal leaves everything as it was."""
        for situation in SITUATIONS:
            for ask in ASKS:
                lifecycle = StandardLifecycle(snap_start=True)
                runtime = situation(lifecycle)
                before = runtime.turn, lifecycle.state, lifecycle.request_id, runtime.awaits(NextAsked)
                try:
                    runtime.send(ask)
                except LocalProtocolError:
                    assert (runtime.turn, lifecycle.state, lifecycle.request_id, runtime.awaits(NextAsked)) == before
                else:
                    assert before[0] in (Turn.IDLE, Turn.SENDING)

    def test_only_the_invocation_that_waits(self) -> None:
        """Another id is refused before it is sent."""
        runtime = new(busy())
        for ask in (
            BufferedResponse(request_id="other", payload=b""),
            ResponseStarted(request_id="ID"),
            ErrorReported(request_id="other", error_type="", payload=b""),
        ):
            with pytest.raises(
                LocalProtocolError, match=f"^{type(ask).__name__} would be refused: Invalid request ID$"
            ):
                runtime.send(ask)
        runtime.send(BufferedResponse(request_id="id", payload=b""))

    def test_no_answer_twice(self) -> None:
        """Not even on another connection, and not when the first one's fate is unknown (RT-RESP-15)."""
        runtime, lifecycle = asking(BufferedResponse(request_id="id", payload=b""))
        runtime.receive_data(b"")
        heard(runtime)
        for ask in (
            BufferedResponse(request_id="id", payload=b""),
            ErrorReported(request_id="id", error_type="", payload=b""),
        ):
            with pytest.raises(LocalProtocolError, match="would be refused"):
                new(lifecycle).send(ask)
        new(lifecycle).send(NextAsked())

    @pytest.mark.parametrize(
        "report",
        [BufferedResponse(request_id="id", payload=b""), ErrorReported(request_id="id", error_type="", payload=b"")],
    )
    def test_no_poll_before_the_answer_to_a_report(self, report: Ask) -> None:
        """Not on another connection (RT-RESP-12), and by our choice not on that of the report, either."""
        runtime, lifecycle = asking(report)
        for each in (runtime, new(lifecycle)):
            with pytest.raises(LocalProtocolError):
                each.send(NextAsked())
        runtime.receive_data(ACCEPTED)
        assert heard(runtime) == [Accepted()]
        new(lifecycle).send(NextAsked())

    @pytest.mark.parametrize("wire", [EVENT, EVENT[:-1], PONG, b"\0", b""])
    def test_given_up(self, wire: bytes) -> None:
        """Only the end is heard: what waits unread accuses nobody, and moves no environment."""
        runtime, lifecycle = asking(NextAsked())
        runtime.receive_data(wire)
        runtime.abandon()
        for data in (wire, b""):
            assert runtime.next_event() == CLOSED
            runtime.receive_data(data)
        assert (runtime.next_event(), runtime.turn, lifecycle.state) == (CLOSED, Turn.CLOSED, State.READY)
        assert (runtime.must_close, runtime.awaiting_answer, runtime.awaits(NextAsked)) == (True, False, False)
        with pytest.raises(LocalProtocolError, match="must be closed"):
            runtime.send(NextAsked())
        new(lifecycle).send(NextAsked())

    def test_no_answer_is_an_ask(self) -> None:
        """Whatever the types say."""
        runtime = new()
        for event in (Refused(status=500), Violation(reply=Refused(status=500)), CLOSED, ContinueAsked(), Continue()):
            with pytest.raises(LocalProtocolError, match=f"^{type(event).__name__} may not be sent by a runtime$"):
                runtime.send(event)  # type: ignore[arg-type]  # what is tested
        assert runtime.turn is Turn.IDLE

    @pytest.mark.parametrize(
        ("asks", "ask", "turn"),
        [
            ([], ResponseChunk(data=b"x"), "IDLE"),
            ([], ResponseFinished(), "IDLE"),
            ([], ResponseFailed(error_type="E", error_body=b""), "IDLE"),
            ([NextAsked()], NextAsked(), "AWAITING"),
            ([STREAM], NextAsked(), "SENDING"),
        ],
    )
    def test_what_is_not_its_turn(self, asks: list[Ask], ask: Ask, turn: str) -> None:
        """Is named, with whose turn it is instead."""
        runtime, _ = asking(*asks)
        with pytest.raises(LocalProtocolError) as caught:
            runtime.send(ask)
        assert str(caught.value) == f"{type(ask).__name__} may not be sent while the connection is {turn}"

    def test_trailers_that_do_not_fit(self) -> None:
        """Are refused, and another end may still be sent."""
        runtime, _ = asking(STREAM)
        with pytest.raises(Malformed):
            runtime.send(ResponseFailed(error_type="E", error_body=bytes(4096)))
        runtime.send(ResponseFailed(error_type="E", error_body=b"{}"))

    def test_a_field_that_is_no_text(self) -> None:
        """Is refused, and the error may still be reported."""
        runtime, lifecycle = asking()
        runtime = new(lifecycle := busy())
        with pytest.raises(Malformed):
            runtime.send(ErrorReported(request_id="id", error_type="", payload=b"", xray_cause="\ud800"))
        assert (runtime.turn, lifecycle.state) == (Turn.IDLE, State.RUNNING)
        runtime.send(ErrorReported(request_id="id", error_type="", payload=b""))


class TestFaults:
    """A service that says what it may not."""

    @pytest.mark.parametrize(
        ("wire", "ask"),
        [
            (b"x\r\n\r\n", NextAsked()),
            (b"\r\n" + EVENT, NextAsked()),
            (ACCEPTED, NextAsked()),
            (ACCEPTED, PingAsked()),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NextAsked()),  # RT-NEXT-15
            (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", BufferedResponse(request_id="id", payload=b"")),
            (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", STREAM),
            (b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", NextAsked()),
            (b"HTTP/2.0 200 OK\r\n\r\n", NextAsked()),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", NextAsked()),
            (EVENT.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"\r\n", NextAsked()),
            (EVENT.replace(b"Content-Length: 2", b"Content-Length: 65") + b"x" * 63, NextAsked()),
            (TOO_LARGE.replace(b"Content-Length: 9", b"Content-Length: 65") + b"x" * 56, STREAM),
        ],
    )
    def test_for_ever(self, wire: bytes, ask: Ask) -> None:
        """The same words again, nothing more is read or sent, and the environment is let go."""
        reason, runtime, lifecycle = fault_of(wire, ask)
        assert reason.startswith("the service sent what it may not: ")
        assert_silenced(runtime, lifecycle)
        assert lifecycle.state not in (State.INVOCATION_RESPONSE, State.INVOCATION_ERROR_RESPONSE)
        runtime.receive_data(EVENT)
        runtime.receive_data(b"")
        with pytest.raises(RemoteProtocolError) as again:
            runtime.next_event()
        assert str(again.value) == reason
        new(lifecycle).send(NextAsked() if lifecycle.state is not State.STARTED else PingAsked())

    @pytest.mark.parametrize(("wire", "ask"), [(EVENT, NextAsked()), (ACCEPTED, STREAM)])
    def test_truncated_at_every_byte(self, wire: bytes, ask: Ask) -> None:
        """Half an answer is none, and nobody's fault: the connection was lost (RT-CONN-18)."""
        for cut in range(1, len(wire)):
            runtime, lifecycle = asking(ask)
            runtime.receive_data(wire[:cut])
            runtime.receive_data(b"")
            assert runtime.next_event() == ConnectionClosed()
            assert runtime.must_close
            assert lifecycle.state is (State.READY if ask == NextAsked() else State.RESPONSE_SENT)

    def test_of_the_limit(self) -> None:
        """The largest answer is taken."""
        wire = EVENT.replace(b"Length: 2", b"Length: 64") + b"x" * 62
        (invocation, *_), _, _ = hear(wire, NextAsked())
        assert isinstance(invocation, Invocation)
        assert len(invocation.payload) == 64

    def test_refused_before_it_comes(self) -> None:
        """As soon as its size is announced, in one way or the other, in the same words (LI-EVENT-2)."""
        counted = EVENT.removesuffix(b"{}").replace(b"Length: 2", b"Length: 65")
        chunk = EVENT.replace(b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n41\r\n")
        for wire in (counted, chunk):
            for more in (b"", b"x", b"x" * 65 + b"\r\n0\r\n\r\n"):
                fault, runtime, lifecycle = fault_of(wire + more, NextAsked())
                assert fault == "the service sent what it may not: expected an answer of at most 64 bytes, got more"
                assert runtime.receive_buffer is None
                assert_silenced(runtime, lifecycle)

    @pytest.mark.parametrize("framing", ["counted", "chunk"])
    @pytest.mark.parametrize("there", [True, False])
    def test_memory_of_a_large_event(self, framing: str, there: bool) -> None:
        """One copy at every moment, received where it belongs or given in pieces: no more than the piece beside it."""
        size, piece = 6 << 20, 65_536
        data = bytearray(large_event(size, framing))
        runtime = new(max_payload=size)
        runtime.send(NextAsked())
        tracemalloc.start()
        try:
            payload = invocation_of(runtime, data, piece, lambda: there).payload
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (type(payload), len(payload)) == (bytes, size)
        assert peak <= size * 105 // 100 + (131_072 if there else piece)

    @settings(max_examples=30)
    @given(
        size=st.integers(65_000, 400_000),
        framing=st.sampled_from(["counted", "chunk", "chunks", "until close"]),
        piece=st.sampled_from([1500, 40_000, 65_536, 1 << 20]),
        there=st.lists(st.booleans(), min_size=1, max_size=4),
    )
    def test_a_large_event_comes_as_it_was_sent(self, size: int, framing: str, piece: int, there: list[bool]) -> None:
        """Received where it belongs, given, or by turns; the next event changes nothing of it."""
        events: list[Invocation] = []
        payloads = [bytes((at + fill) % 251 for at in range(251)) * (size // 251 + 1) for fill in range(2)]
        turns = cycle(there)
        for payload in payloads:
            runtime = new(max_payload=size + 251)
            for _ in range(1 if framing == "until close" else 2):
                runtime.send(NextAsked())
                wire = bytearray(large_event(len(payload), framing, payload))
                invocation = invocation_of(runtime, wire, piece, lambda: next(turns))
                events.append(invocation)
                assert invocation.payload == payload
                if framing != "until close":
                    runtime.send(BufferedResponse(request_id="id", payload=b""))
                    runtime.receive_data(ACCEPTED)
                    assert heard(runtime) == [Accepted()]
        assert {event.payload for event in events} == set(payloads)

    @pytest.mark.parametrize("framing", ["counted", "chunk"])
    def test_a_large_event_that_is_cut(self, framing: str) -> None:
        """Its connection was lost, whoever received it; what came of it is not kept."""
        wire = large_event(200_000, framing)
        for there in (True, False):
            for end in (b"", None):
                lifecycle = StandardLifecycle(snap_start=True)
                runtime = new(lifecycle, max_payload=200_000)
                runtime.send(NextAsked())
                feed(runtime, bytearray(wire[:150_000]), 1000, cycle([there]).__next__)
                into = runtime.receive_buffer
                assert into is not None
                runtime.receive_data(into[:0] if end is None else end)
                assert runtime.next_event() == CLOSED
                assert runtime.receive_buffer is None
                assert runtime.must_close
                assert lifecycle.state is State.READY

    @pytest.mark.parametrize("there", [True, False])
    def test_a_fault_behind_a_large_chunk(self, there: bool) -> None:
        """Is found at the byte where it is, whoever received the chunk."""
        wire = large_event(200_000, "chunk").replace(b"\0\r\n0", b"\0xx0")
        lifecycle = StandardLifecycle(snap_start=True)
        runtime = new(lifecycle, max_payload=200_000)
        runtime.send(NextAsked())
        with pytest.raises(RemoteProtocolError, match=rf"followed by .* got b'xx' \(at byte {wire.index(b'xx')}\)$"):
            feed(runtime, bytearray(wire), 1000, lambda: there)
        assert runtime.receive_buffer is None
        assert_silenced(runtime, lifecycle)

    def test_memory(self) -> None:
        """Neither an answer that is too large, nor a flood of interim ones, nor what follows a fault is kept."""
        flooded, _ = asking(NextAsked())
        _, faulty, _ = fault_of(ACCEPTED, NextAsked())
        data = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 100
        tracemalloc.start()
        try:
            for _ in range(100):
                flooded.receive_data(data)
                assert flooded.next_event() is NEED_DATA
                faulty.receive_data(data)
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()
        assert flooded.awaits(NextAsked)

    def test_nothing_comes_after_the_end(self) -> None:
        """``b""`` is the end, and nothing after it is read."""
        runtime, _ = asking(NextAsked())
        runtime.receive_data(b"")
        runtime.receive_data(TOO_LARGE)
        assert heard(runtime) == [CLOSED]
        assert heard(runtime) == [CLOSED]


PARTS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 202 A\r\n", b"HTTP/1.1 413 A\r\n", b"HTTP/1.1 100 A\r\n\r\n",
    b"HTTP/1.0 200\r\n", b"Lambda-Runtime-Aws-Request-Id: id\r\n", b"Content-Length: 2\r\n", b"Content-Length: 70\r\n",
    b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"\n", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n",
    b"\0", b"x" * 40, ACCEPTED, EVENT, TOO_LARGE, PONG,
)  # fmt: skip


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @settings(max_examples=50)
    @given(data=st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @settings(max_examples=100)
    @given(parts=st.lists(st.sampled_from(PARTS), max_size=8))
    def test_nearly_right(self, parts: list[bytes]) -> None:
        """Answers and parts of answers in any order."""
        one_input(b"".join(parts))
