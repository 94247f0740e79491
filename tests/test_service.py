"""The service's end: what it hears, what it answers, and what it makes of a runtime that breaks the law.

What the service answers, and whether it keeps the connection, was observed with the emulator of aws-sam-cli 1.170.0.
"""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_service import assert_refused, one_input
from lambda_wire._chunked import MAX_PIECE
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Answer,
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
from lambda_wire._lifecycle import ManagedLifecycle, StandardLifecycle, too_large
from lambda_wire._limits import MAX_PAYLOAD, MAX_UNREAD
from lambda_wire._malformed import Malformed
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import NEED_DATA, PAUSED, Signal
from lambda_wire._state import State, Turn
from lambda_wire.testing import deliveries

INVOCATION = Invocation(request_id="id", payload=b"{}")
API = b"/2018-06-01/runtime/"
STREAMING = b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TRAILER = b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
ERROR_TYPE = b"Lambda-Runtime-Function-Error-Type: F.E\r\n"
UNKNOWN_ID = Refused(status=400, error_type="InvalidRequestID", error_message="Invalid request ID")
TRUNCATED = Refused(status=400, error_type="TruncatedHTTPRequest", error_message="HTTP request detected as truncated")
INVALID_MODE = Refused(
    status=400, error_type="InvalidFunctionResponseMode", error_message="Invalid function response mode"
)
NOT_FOUND = Refused(status=404, error_message="404 page not found")


def get(path: bytes, *fields: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(fields) + b"\r\n"


def post(
    path: bytes, *fields: bytes, body: bytes = b"", chunks: tuple[bytes, ...] | None = None, end: bytes = b""
) -> bytes:
    """Return a request with a counted body, or with a chunked one where chunks are given."""
    if chunks is None:
        framing, framed = b"Content-Length: %d\r\n" % len(body), body
    else:
        framing = CHUNKED
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + end + b"\r\n"
    return b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(fields) + framing + b"\r\n" + framed


NEXT = get(API + b"invocation/next")
RESPONSE = API + b"invocation/id/response"
ERROR = API + b"invocation/id/error"
RESPONSE_WHOLE = post(RESPONSE, body=b"{}")


def refused_413(limit: int) -> Refused:
    message = f"Exceeded maximum allowed payload size ({limit} bytes)."
    return Refused(status=413, error_type="RequestEntityTooLarge", error_message=message)


def new(
    lifecycle: StandardLifecycle | None = None, *, max_payload: int = 64, max_stream: int = 128
) -> ServiceConnection:
    return ServiceConnection(lifecycle, max_payload=max_payload, max_stream=max_stream)


def busy() -> StandardLifecycle:
    """Return an environment whose invocation waits for its answer."""
    lifecycle = StandardLifecycle()
    lifecycle.asked(NextAsked, "")
    lifecycle.invoked(INVOCATION)
    return lifecycle


def heard(service: ServiceConnection) -> list[ServiceEvent]:
    """Return every event that is there."""
    events: list[ServiceEvent] = []
    while not isinstance(event := service.next_event(), Signal):
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def hear(wire: bytes, lifecycle: StandardLifecycle | None = None) -> list[ServiceEvent]:
    """Return what a busy service hears, whichever way ``wire`` is delivered."""
    everything: list[list[ServiceEvent]] = []
    for pieces in deliveries(wire):
        service = new(busy() if lifecycle is None else lifecycle)
        events: list[ServiceEvent] = []
        for data in pieces:
            service.receive_data(data)
            events += heard(service)
        everything.append(events)
    assert all(events == everything[0] for events in everything)
    return everything[0]


def fault_of(wire: bytes, *, eof: bool = False) -> tuple[RemoteProtocolError, ServiceConnection, StandardLifecycle]:
    """Return the fault that every delivery of ``wire`` meets, on a service that is busy."""
    faults: list[RemoteProtocolError] = []
    for pieces in deliveries(wire):
        lifecycle = busy()
        service = new(lifecycle)
        with pytest.raises(RemoteProtocolError) as caught:
            _feed(service, [*pieces, b""] if eof else pieces)
        faults.append(caught.value)
    assert len({(str(fault), fault.reply) for fault in faults}) == 1
    return faults[-1], service, lifecycle


def _feed(service: ServiceConnection, pieces: list[bytes]) -> None:
    for data in pieces:
        service.receive_data(data)
        heard(service)


class TestAsks:
    """Every request of a runtime, as an event."""

    @pytest.mark.parametrize(
        ("wire", "event"),
        [
            (NEXT, NextAsked()),
            (NEXT.replace(b"HTTP/1.1", b"HTTP/1.0"), NextAsked()),  # RT-CONN-14
            (get(API + b"invocation/next", b"Content-Length: 3\r\n") + b"abc", NextAsked()),  # RT-NEXT-1
            (NEXT.replace(b"Host: a", b"Host: some.other:99"), NextAsked()),  # RT-CONN-3
            (NEXT.replace(b"Host: a", b"Host:"), NextAsked()),
            (get(b"/2018-06-01/ping"), PingAsked()),
            (get(b"http://h/2018-06-01/ping?x=y"), PingAsked()),
            (
                post(RESPONSE, b"Content-Type: a/b\r\n", b"Lambda-Runtime-Invocation-Id: i\r\n", body=b"[1]"),
                BufferedResponse(request_id="id", payload=b"[1]", content_type="a/b", invocation_id="i"),
            ),
            (post(RESPONSE), BufferedResponse(request_id="id", payload=b"", content_type="")),  # RT-RESP-2
            (  # RT-CONN-9
                b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                BufferedResponse(request_id="id", payload=b"", content_type=""),
            ),
            (
                post(
                    ERROR,
                    b"lambda-runtime-function-error-type: Function.E\r\n",  # RT-CONN-7
                    b"Lambda-Runtime-Function-XRay-Error-Cause: {}\r\n",
                    b"Lambda-Runtime-Function-Response-Mode: bogus\r\n",  # RT-ERR-3
                    chunks=(b"{", b"}"),
                ),
                ErrorReported(
                    request_id="id", error_type="Function.E", payload=b"{}", xray_cause="{}", content_type=""
                ),
            ),
        ],
    )
    def test_whole(self, wire: bytes, event: ServiceEvent) -> None:
        """One event for a request whose body is given whole."""
        assert hear(wire) == [event]

    @pytest.mark.parametrize(
        ("path", "event"),
        [
            (b"init/error", InitErrorReported(error_type="Runtime.E", payload=b"{}", content_type="a/b")),
            (b"restore/error", RestoreErrorReported(error_type="Runtime.E", payload=b"{}", content_type="a/b")),
        ],
    )
    def test_reports_of_the_start(self, path: bytes, event: ServiceEvent) -> None:
        """Errors that belong to no invocation, before the first poll (RT-INIT-3, RT-RESTORE-8)."""
        lifecycle = StandardLifecycle(snap_start=True)
        service = new(lifecycle)
        if path.startswith(b"restore"):
            service.receive_data(get(API + b"restore/next"))
            assert heard(service) == [RestoreAsked()]
            assert service.send(RestoreReady()).startswith(b"HTTP/1.1 200")
            assert lifecycle.state is State.RESTORING
        service.receive_data(
            post(API + path, b"Content-Type: a/b\r\nLambda-Runtime-Function-Error-Type: Runtime.E\r\n", body=b"{}")
        )
        assert heard(service) == [event]
        assert service.send(Accepted()).startswith(b"HTTP/1.1 202")
        service.receive_data(NEXT)
        assert isinstance(heard(service)[0], Violation)

    @pytest.mark.parametrize(
        ("fields", "mode"),
        [
            (STREAMING, "streaming"),
            (STREAMING + b"Lambda-Runtime-Function-Response-Mode: bogus\r\n", "streaming"),  # RT-CONN-8
            (b"", "buffered"),  # RT-RESP-5
            (b"Lambda-Runtime-Function-Response-Mode: \r\n", "buffered"),
        ],
    )
    def test_streamed(self, fields: bytes, mode: str) -> None:
        """Chunks as they were sent; without the header it is a buffered response that comes in chunks (RT-RESP-5)."""
        wire = post(RESPONSE, fields, b"Content-Type: a/b\r\n", chunks=(b"a", b"bc"))
        start, *rest = hear(wire)
        assert isinstance(start, ResponseStarted)
        assert (start.response_mode, start.content_type, start.request_id) == (mode, "a/b", "id")
        assert rest == [ResponseChunk(data=b"a"), ResponseChunk(data=b"bc"), ResponseFinished()]

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 100])
    def test_a_limit_between_chunks_that_came_together(self, limit: int) -> None:
        """Those within it are given first, and until then the answer may be any; then it can only be the refusal."""
        for size in (1000, 1):
            service = ServiceConnection(busy(), max_stream=limit)
            wire = post(RESPONSE, STREAMING, chunks=(b"a", b"b", b"cde", b"f"))
            events: list[object] = []
            for at in range(0, len(wire), size):
                service.receive_data(wire[at : at + size])
                events += heard(service)
            kept = [data for data, end in ((b"a", 1), (b"b", 2), (b"cde", 5), (b"f", 6)) if end <= limit]
            assert events[1 : 1 + len(kept)] == [ResponseChunk(data=data) for data in kept]
            last = ResponseFinished() if limit >= 6 else Violation(reply=too_large(limit))
            assert events[1 + len(kept) :] == [last]

    def test_streamed_and_counted(self) -> None:
        """The mode says that it streams, the length says how far: in pieces of the message's making (RS-HEAD-7)."""
        start = ResponseStarted(request_id="id", content_type="")
        assert hear(post(RESPONSE, STREAMING)) == [start, ResponseFinished()]
        assert hear(post(RESPONSE, STREAMING, chunks=())) == [start, ResponseFinished()]  # RS-END-5
        assert hear(post(RESPONSE, STREAMING, body=b"abc")) == [start, ResponseChunk(data=b"abc"), ResponseFinished()]

    def test_chunks_larger_than_a_piece(self) -> None:
        """A large chunk comes in even pieces, so that it is never held whole."""
        data = bytes(MAX_PIECE) + b"x"
        for wire in (post(RESPONSE, STREAMING, chunks=(data,)), post(RESPONSE, STREAMING, body=data)):
            for size in (len(wire), 10_000):
                service = ServiceConnection(busy())
                events: list[ServiceEvent] = []
                for at in range(0, len(wire), size):
                    service.receive_data(wire[at : at + size])
                    events += heard(service)
                assert events[1:] == [
                    ResponseChunk(data=bytes(MAX_PIECE)),
                    ResponseChunk(data=b"x"),
                    ResponseFinished(),
                ]

    @pytest.mark.parametrize(
        ("declared", "end", "event"),
        [
            (TRAILER, ERROR_TYPE + b"Lambda-Runtime-Function-Error-Body: e30=\r\n", b"{}"),
            (TRAILER.lower(), b"lambda-runtime-function-error-type: F.E\r\n", b""),
            (b"Trailer: Lambda-Runtime-Function-Error-Type\r\n" + TRAILER[:8] + b" X\r\n",
             ERROR_TYPE + b"Lambda-Runtime-Function-Error-Body: e30=\r\n", b""),  # RS-TRAILER-4
            (b"Trailer: X\r\nTrailer: lambda-runtime-function-error-type\r\n", ERROR_TYPE, b""),  # RS-HEAD-4
            (TRAILER.replace(b", ", b","), b"Lambda-Runtime-Function-Error-Body: e30=\r\n" + ERROR_TYPE, b"{}"),
            (TRAILER, b"Lambda-Runtime-Function-Error-Body: e30=\r\n", None),  # RS-TRAILER-3
            (b"", ERROR_TYPE, None),
            (TRAILER, b"Content-Length: 3\r\n", None),  # RS-TRAILER-5
            (TRAILER, b"", None),
        ],
    )  # fmt: skip
    def test_trailers(self, declared: bytes, end: bytes, event: bytes | None) -> None:
        """Those that the head declared make it a failure; the others are never seen (RS-TRAILER-4)."""
        wire = post(RESPONSE, STREAMING, declared, chunks=(b"a",), end=end)
        expected = ResponseFinished() if event is None else ResponseFailed(error_type="F.E", error_body=event)
        assert hear(wire)[2:] == [expected]


class TestConversation:
    """Requests and answers alternate, and the environment moves with them."""

    def test_one_invocation(self) -> None:
        """Poll, event, response, acceptance, poll (RT-CONN-4)."""
        lifecycle = StandardLifecycle()
        service = new(lifecycle)
        service.receive_data(NEXT)
        assert heard(service) == [NextAsked()]
        assert (service.turn, lifecycle.state) == (Turn.AWAITING, State.READY)
        assert service.send(INVOCATION).endswith(b"Content-Length: 2\r\n\r\n{}")
        assert (service.turn, lifecycle.state) == (Turn.IDLE, State.RUNNING)
        service.receive_data(post(RESPONSE, body=b"[]"))
        assert len(heard(service)) == 1
        assert lifecycle.state is State.INVOCATION_RESPONSE
        assert service.send(Accepted()).startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert (service.turn, lifecycle.state) == (Turn.IDLE, State.RESPONSE_SENT)
        service.receive_data(NEXT)
        assert heard(service) == [NextAsked()]

    def test_polls_one_after_the_other(self) -> None:
        """The second waits for the first, however long that is, and does not end it (RT-CONN-6)."""
        service = new()
        service.receive_data(NEXT + NEXT)
        assert heard(service) == [NextAsked()]
        assert service.next_event() is PAUSED
        assert (service.turn, service.must_close) == (Turn.AWAITING, False)
        assert service.send(INVOCATION).endswith(b"{}")
        assert heard(service) == [NextAsked()]

    @pytest.mark.parametrize("path", [b"invocation/next", b"restore/next"])
    def test_who_leaves_while_he_waits_is_gone_at_once(self, path: bytes) -> None:
        """Whatever he waits for: nothing that he has reported waits for its answer."""
        service = new(StandardLifecycle(snap_start=True))
        service.receive_data(get(API + path))
        assert len(heard(service)) == 1
        service.receive_data(b"")
        assert heard(service) == [ConnectionClosed()]

    def test_payloads_are_not_copied(self) -> None:
        """``send_buffers`` gives the payload as it is."""
        service = new()
        service.receive_data(NEXT)
        heard(service)
        assert service.send_buffers(INVOCATION)[1] is INVOCATION.payload

    def test_pipelined(self) -> None:
        """The next request waits until this one is answered (observed, case a41_keepalive_and_pipelining).

        (RT-CONN-6)
        """
        for pieces in deliveries(get(b"/2018-06-01/ping") + get(b"/2018-06-01/ping") + NEXT):
            service = new()
            events: list[object] = []
            for data in pieces:
                service.receive_data(data)
                while (event := service.next_event()) is not NEED_DATA:
                    if event is PAUSED:
                        assert service.turn is Turn.AWAITING
                        service.send(Pong())
                    else:
                        events.append(event)
            assert events == [PingAsked(), PingAsked(), NextAsked()]

    def test_blank_lines_after_a_post(self) -> None:
        """Old clients add them; the service forgives it (observed)."""
        service = new(busy())
        service.receive_data(post(RESPONSE, body=b"[]") + b"\r\n" + NEXT)
        heard(service)
        service.send(Accepted())
        assert heard(service) == [NextAsked()]

    def test_a_default_lifecycle(self) -> None:
        """Each connection that is given none begins an environment of its own, without SnapStart."""
        service = ServiceConnection()
        service.receive_data(get(API + b"restore/next"))
        assert heard(service) == [Violation(reply=NOT_FOUND)]

    @pytest.mark.parametrize(
        ("wire", "answer"),
        [
            (get(b"/2018-06-01/ping", b"Connection: close\r\n"), Pong()),
            (get(b"/2018-06-01/ping").replace(b"HTTP/1.1", b"HTTP/1.0"), Pong()),
        ],
    )
    def test_the_runtime_wants_it_closed(self, wire: bytes, answer: Answer) -> None:
        """Then the answer says so, and nothing more is read (RT-CONN-4, RT-CONN-14)."""
        service = new()
        service.receive_data(wire + NEXT)
        heard(service)
        assert not service.must_close
        assert b"Connection: close\r\n" in service.send(answer)
        assert (service.must_close, service.next_event()) == (True, PAUSED)

    def test_the_end(self) -> None:
        """Between requests it is an event, and says so again."""
        service = new()
        service.receive_data(b"")
        assert heard(service) == [ConnectionClosed()]
        assert heard(service) == [ConnectionClosed()]
        assert (service.turn, service.must_close) == (Turn.CLOSED, True)
        assert_refused(service, Accepted(), INVOCATION, Refused(status=500))

    @pytest.mark.parametrize("wire", [NEXT, RESPONSE_WHOLE, NEXT[:-1], RESPONSE_WHOLE[:-1]])
    @pytest.mark.parametrize("heard_before", [False, True])
    def test_given_up(self, wire: bytes, heard_before: bool) -> None:
        """Only the end is heard of it; what was not heard before moves no environment."""
        lifecycle = StandardLifecycle() if wire.startswith(NEXT[:-1]) else busy()
        service = new(lifecycle)
        service.receive_data(wire)
        if heard_before:
            heard(service)
        service.abandon()
        state, request_id = lifecycle.state, lifecycle.request_id
        for data in (b"", NEXT, b"\0"):
            assert service.next_event() == ConnectionClosed()
            service.receive_data(data)
        assert service.next_event() == ConnectionClosed()
        assert (lifecycle.state, lifecycle.request_id) == (state, request_id)
        assert (service.turn, service.must_close) == (Turn.CLOSED, True)
        assert_refused(service, Accepted(), INVOCATION, Refused(status=500))


class TestSend:
    """Only what answers, only when it is due; a refused send changes nothing."""

    @pytest.mark.parametrize(
        ("wire", "right"),
        [
            (NEXT, INVOCATION),
            (post(RESPONSE), Accepted()),
            (post(RESPONSE, STREAMING, chunks=(b"a",)), Accepted()),
            (post(ERROR), Accepted()),
            (get(b"/2018-06-01/ping"), Pong()),
        ],
    )
    def test_only_what_answers(self, wire: bytes, right: Answer) -> None:
        """Every other answer is refused, and then the right one is still due."""
        service = new(busy())
        wrong: list[Answer] = [INVOCATION, Accepted(), RestoreReady(), Pong(), Continue()]
        wrong.remove(right)
        assert_refused(service, *wrong, right)
        service.receive_data(wire)
        heard(service)
        assert_refused(service, *wrong)
        service.send(right)
        assert_refused(service, *wrong, right)

    def test_any_request_may_be_refused(self) -> None:
        """With whatever the caller of this library has to say."""
        service = new(busy())
        service.receive_data(post(RESPONSE))
        heard(service)
        assert service.send(Refused(status=410, error_type="InvokeTimeout")).startswith(b"HTTP/1.1 410 Gone\r\n")
        assert not service.must_close

    def test_no_event_is_an_answer(self) -> None:
        """Whatever the types say."""
        service = new()
        for event in (NextAsked(), Violation(reply=NOT_FOUND), ContinueAsked(), ConnectionClosed(), PingAsked()):
            with pytest.raises(LocalProtocolError, match="may not be sent"):
                service.send(event)  # type: ignore[arg-type]  # what is tested
        assert service.turn is Turn.IDLE

    def test_one_invocation_at_a_time(self) -> None:
        """A second poll gets the same event again (observed), but none while the environment answers."""
        lifecycle = StandardLifecycle()
        first, second, third = new(lifecycle), new(lifecycle), new(lifecycle)
        for service in (first, second, third):
            service.receive_data(NEXT)
            heard(service)
        first.send(INVOCATION)
        second.send(INVOCATION)
        first.receive_data(post(RESPONSE))
        heard(first)
        assert_refused(third, INVOCATION)
        first.send(Accepted())
        assert_refused(third, INVOCATION)
        first.receive_data(NEXT)
        heard(first)
        third.send(INVOCATION)
        assert lifecycle.state is State.RUNNING

    def test_a_field_that_is_no_text(self) -> None:
        """Cannot be said, and nothing changed."""
        service = new()
        service.receive_data(NEXT)
        heard(service)
        with pytest.raises(Malformed):
            service.send(Invocation(request_id="id", payload=b"", trace_id="\ud800"))
        service.send(INVOCATION)

    def test_an_answer_without_a_question(self) -> None:
        """Only a refusal may be sent unasked, and it closes the connection."""
        service = new()
        assert b"Connection: close" in service.send(Refused(status=500))
        assert service.must_close

    def test_early(self) -> None:
        """While a stream is being sent: a refusal is said at once, and the connection cannot be kept (RFC 9112, 9.6).

        RS-END-3, RS-EARLY-1: nothing else may be said before its end, and all that was refused here changed nothing.
        """
        answer = refused_413(1)
        lifecycle = busy()
        service = new(lifecycle)
        wire = post(RESPONSE, STREAMING, chunks=(b"a", b"b"))
        service.receive_data(wire[:-12])
        assert len(heard(service)) == 2
        assert_refused(service, Accepted(), INVOCATION, Pong(), RestoreReady(), Continue())
        assert b"Connection: close\r\n" in service.send(answer)
        assert (lifecycle.state, service.turn, service.must_close) == (State.RESPONSE_SENT, Turn.CUT, True)
        service.receive_data(wire[-12:])
        assert service.next_event() is PAUSED
        assert_refused(service, Accepted(), refused_413(1), Continue())

    def test_a_stream_is_accepted_from_its_end_on(self) -> None:
        """RS-END-3: not before its head, each of its chunks and its last byte were read."""
        service = new(busy())
        wire = post(RESPONSE, STREAMING, chunks=(b"a", b"b"))
        for at in range(len(wire)):
            service.receive_data(wire[at : at + 1])
            assert_refused(service, Accepted())
            heard(service)
        assert service.send(Accepted()).startswith(b"HTTP/1.1 202 ")
        assert (service.turn, service.must_close) == (Turn.IDLE, False)

    def test_early_refusal_of_a_counted_body(self) -> None:
        """A body that is still coming may be refused, not accepted (RT-RESP-10)."""
        lifecycle = busy()
        service = new(lifecycle)
        service.receive_data(post(RESPONSE, body=b"[]")[:-1])
        assert service.next_event() is NEED_DATA
        assert_refused(service, Accepted())
        assert b"Connection: close\r\n" in service.send(refused_413(1))
        assert (lifecycle.state, service.turn) == (State.RESPONSE_SENT, Turn.CUT)


class TestContinue:
    """RFC 9110, 10.1.1."""

    def test_buffered(self) -> None:
        """Asked for before the body; said once, and only when asked for (RT-CONN-12)."""
        service = new(busy())
        assert_refused(service, Continue())
        wire = post(RESPONSE, b"Expect: 100-continue\r\n", body=b"[]")
        service.receive_data(wire[:-2])
        assert heard(service) == [ContinueAsked()]
        assert service.send(Continue()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert_refused(service, Continue())
        service.receive_data(wire[-2:])
        assert len(heard(service)) == 1
        service.send(Accepted())
        assert (service.must_close, service.turn) == (False, Turn.IDLE)
        assert_refused(service, Continue())

    @pytest.mark.parametrize("wire", [RESPONSE_WHOLE, post(RESPONSE, chunks=(b"[]",))])
    def test_not_answered(self, wire: bytes) -> None:
        """The runtime may send without waiting; then nothing is to be continued."""
        service = new(busy())
        service.receive_data(wire.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert ContinueAsked() in heard(service)
        assert_refused(service, Continue())
        assert service.send(Accepted()).startswith(b"HTTP/1.1 202 Accepted\r\n")

    def test_streamed(self) -> None:
        """After the start, before the first chunk; leaving it out is no harm."""
        wire = post(RESPONSE, STREAMING, b"Expect: 100-continue\r\n", chunks=(b"a",))
        assert hear(wire)[:3] == [
            ResponseStarted(request_id="id", content_type=""),
            ContinueAsked(),
            ResponseChunk(data=b"a"),
        ]
        service = new(busy())
        service.receive_data(wire[:-11])
        heard(service)
        service.send(Continue())
        service.receive_data(wire[-11:])
        assert heard(service)[-1] == ResponseFinished()

    @pytest.mark.parametrize(
        ("wire", "reply"),
        [
            (post(API + b"invocation/x/response", b"Expect: 100-continue\r\n", body=b"[]"), UNKNOWN_ID),
            (post(b"/nope", b"Expect: 100-continue\r\n", body=b"[]"), NOT_FOUND),
            (
                post(
                    RESPONSE,
                    b"Lambda-Runtime-Function-Response-Mode: x\r\n",
                    b"Expect: 100-continue\r\n",
                    body=b"[]",
                ),
                INVALID_MODE,
            ),
        ],
    )
    def test_a_refused_body_is_not_asked_for(self, wire: bytes, reply: Refused) -> None:
        """It is refused before it is sent, and the connection is closed (RT-CONN-12)."""
        assert hear(wire) == [Violation(reply=reply)]
        service = new(busy())
        service.receive_data(wire[:-2])
        assert heard(service) == [Violation(reply=reply)]
        assert_refused(service, Continue(), Accepted())
        assert b"Connection: close\r\n" in service.send(reply)

    def test_what_has_been_refused_is_not_asked_for(self) -> None:
        """A runtime that did not wait and said too much; and one that was refused before its body was asked for."""
        service = ServiceConnection(busy(), max_payload=3)
        service.receive_data(post(RESPONSE, b"Expect: 100-continue\r\n", chunks=(b"12345",))[:-5])
        assert heard(service)[1:] == [ContinueAsked()]
        assert_refused(service, Continue())
        service = new(busy())
        service.receive_data(post(RESPONSE, STREAMING, b"Expect: 100-continue\r\n", chunks=(b"a",))[:-11])
        assert isinstance(service.next_event(), ResponseStarted)
        service.send(refused_413(1))
        assert service.next_event() is PAUSED

    def test_the_end_instead_of_the_body(self) -> None:
        """The runtime leaves after ``100 Continue``."""
        fault, _, lifecycle = fault_of(post(RESPONSE, b"Expect: 100-continue\r\n", body=b"[]")[:-2], eof=True)
        assert (fault.reply, lifecycle.state) == (TRUNCATED, State.RESPONSE_SENT)


class TestViolations:
    """What the law refuses, with the reply that the service gives; the connection goes on."""

    @pytest.mark.parametrize(
        ("wire", "reply"),
        [
            (get(b"/nope"), NOT_FOUND),  # RT-PATH-2
            (b"HEAD /2018-06-01/ping HTTP/1.1\r\nHost: a\r\n\r\n", Refused(status=405, allow="GET")),
            (post(API + b"invocation/next"), Refused(status=405, allow="GET")),  # RT-PATH-3
            (post(API + b"invocation/x/response", body=b"[]"), UNKNOWN_ID),  # RT-PATH-7
            (post(API + b"invocation//response", body=b"[]"), UNKNOWN_ID),
            (post(API + b"invocation/ID/error", body=b"[]"), UNKNOWN_ID),
            (post(API + b"invocation/x/response", STREAMING, chunks=(b"a", b"b")), UNKNOWN_ID),
            # RT-RESP-6
            (post(RESPONSE, b"Lambda-Runtime-Function-Response-Mode: Streaming\r\n", body=b"[]"), INVALID_MODE),
            (post(RESPONSE, b"Lambda-Runtime-Function-Response-Mode: buffered\r\n", chunks=(b"a",)), INVALID_MODE),
        ],
    )
    def test_refused(self, wire: bytes, reply: Refused) -> None:
        """The body is read and nothing of it is given; then the next request is heard."""
        assert hear(wire) == [Violation(reply=reply)]
        service = new(busy())
        service.receive_data(wire + get(b"/2018-06-01/ping"))
        assert heard(service) == [Violation(reply=reply)]
        assert_refused(service, Accepted(), INVOCATION, Pong())
        answer = service.send(reply)
        assert b"Connection" not in answer
        assert answer.endswith(b"\r\n\r\n") == (reply.status == 405)
        assert heard(service) == [PingAsked()]
        service.send(Pong())

    @pytest.mark.parametrize(
        ("method", "path", "allow"), [(b"POST", b"restore/next", "GET"), (b"GET", b"restore/error", "POST")]
    )
    def test_a_path_that_is_not_served_has_no_right_method(self, method: bytes, path: bytes, allow: str) -> None:
        """RT-RESTORE-2, RT-MANAGED-13: without SnapStart it is 404 whatever the method, with it 405."""
        wire = b"%b %b%b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, API, path)
        for service in (ServiceConnection(), ServiceConnection(ManagedLifecycle())):
            service.receive_data(wire)
            assert heard(service) == [Violation(reply=NOT_FOUND)]
        service = new(StandardLifecycle(snap_start=True))
        service.receive_data(wire)
        assert heard(service) == [Violation(reply=Refused(status=405, allow=allow))]

    def test_the_order_of_judgements(self) -> None:
        """The id, then the state, then the mode, then the body: each is looked at when all before it is right.

        (RT-STATE-1)
        """
        answered = busy()
        answered.asked(BufferedResponse, "id")
        for path, mode, lifecycle, error_type in (
            (RESPONSE.replace(b"/id/", b"/x/"), b"bogus", answered, "InvalidRequestID"),
            (RESPONSE, b"bogus", answered, "InvalidStateTransition"),
            (RESPONSE, b"bogus", busy(), "InvalidFunctionResponseMode"),
            (RESPONSE, b"streaming", busy(), "TruncatedHTTPRequest"),
        ):
            service = new(lifecycle)
            service.receive_data(post(path, STREAMING.replace(b"streaming", mode), chunks=(b"cut",))[:-1])
            heard(service)
            service.receive_data(b"")
            with pytest.raises(RemoteProtocolError) as caught:
                service.next_event()
            assert caught.value.reply is not None
            assert caught.value.reply.error_type == error_type

    def test_after_head_an_answer_has_its_body_again(self) -> None:
        """What was said about one request is forgotten with it."""
        service = new()
        service.receive_data(b"HEAD /2018-06-01/ping HTTP/1.1\r\nHost: a\r\n\r\nx\r\n\r\n")
        (violation,) = heard(service)
        assert isinstance(violation, Violation)
        service.send(violation.reply)
        with pytest.raises(RemoteProtocolError) as caught:
            service.next_event()
        assert caught.value.reply is not None
        assert b"400 Bad Request: " in service.send(caught.value.reply)

    def test_out_of_order(self) -> None:
        """403 names both states; the state is what it was."""
        lifecycle = StandardLifecycle()
        service = new(lifecycle)
        service.receive_data(post(API + b"init/error", body=b"{}"))
        heard(service)
        service.send(Accepted())
        service.receive_data(NEXT)
        (violation,) = heard(service)
        assert isinstance(violation, Violation)
        assert violation.reply.status == 403
        assert "from InitError to Ready failed" in violation.reply.error_message
        service.send(violation.reply)
        assert lifecycle.state is State.INIT_ERROR

    def test_an_invalid_mode_holds_the_environment(self) -> None:
        """For ever, as the emulator does (case a35_invalid_response_mode; RT-RESP-7, UN-10)."""
        lifecycle = busy()
        service = new(lifecycle)
        service.receive_data(post(RESPONSE, b"Lambda-Runtime-Function-Response-Mode: x\r\n"))
        heard(service)
        service.send(INVALID_MODE)
        assert lifecycle.state is State.INVOCATION_RESPONSE

    def test_managed(self) -> None:
        """Another attempt's id is 410; the right one is still taken."""
        lifecycle = ManagedLifecycle()
        service = ServiceConnection(lifecycle)
        service.receive_data(NEXT)
        heard(service)
        service.send(Invocation(request_id="id", payload=b"", invocation_id="i"))
        service.receive_data(post(RESPONSE, b"Lambda-Runtime-Invocation-Id: j\r\n"))
        (violation,) = heard(service)
        assert isinstance(violation, Violation)
        assert violation.reply.status == 410
        service.send(violation.reply)
        service.receive_data(post(RESPONSE, b"Lambda-Runtime-Invocation-Id: i\r\n"))
        assert isinstance(heard(service)[0], BufferedResponse)
        service.send(Accepted())
        assert not lifecycle.attempts

    def test_an_answer_after_the_deadline(self) -> None:
        """410 once, on whichever connection; 400 after that."""
        lifecycle = ManagedLifecycle()
        lifecycle.invoked(INVOCATION)
        lifecycle.expire(INVOCATION.request_id)
        replies: list[int] = []
        for _ in range(3):
            service = ServiceConnection(lifecycle)
            service.receive_data(post(RESPONSE))
            (violation,) = heard(service)
            assert isinstance(violation, Violation)
            service.send(violation.reply)
            replies.append(violation.reply.status)
        assert replies == [410, 400, 400]


class TestLimits:
    """Bodies are bounded, counted or chunked, and so is what is read of a body that is refused."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_of_the_limit(self, stream: bool) -> None:
        """The last byte that fits is taken; the next is 413, and the connection is kept (observed).

        (RT-RESP-13, RS-EARLY-2, LI-PAYLOAD-2)
        """
        limit, fields = (128, STREAMING) if stream else (64, b"")
        for chunked in (False, True):
            fits, over = (
                post(RESPONSE, fields, chunks=(b"x", b"x" * (size - 1)))
                if chunked
                else post(RESPONSE, fields, body=b"x" * size)
                for size in (limit, limit + 1)
            )
            assert not any(isinstance(event, Violation) for event in hear(fits))
            assert hear(over)[-1] == Violation(reply=refused_413(limit))
            lifecycle = busy()
            service = new(lifecycle)
            service.receive_data(over + NEXT)
            heard(service)
            assert_refused(service, Accepted())
            assert b"Connection" not in service.send(refused_413(limit))
            assert lifecycle.state is State.RESPONSE_SENT
            assert heard(service) == [NextAsked()]

    def test_of_other_reports(self) -> None:
        """An error document is bounded too (RT-ERR-2, LI-ERROR-1)."""
        assert hear(post(ERROR, chunks=(b"x" * 40, b"x" * 25)))[-1] == Violation(reply=refused_413(64))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_large_refused_body(self, chunked: bool) -> None:
        """What was refused before its body is read on for 256 KiB and no further, and then the connection is closed.

        (RS-EARLY-2, LI-STREAM-5)
        """
        for size, kept in ((MAX_UNREAD, True), (MAX_UNREAD + 1, False)):
            body = bytes(size)
            wire = post(b"/nope", chunks=(body,)) if chunked else post(b"/nope", body=body)
            service = new()
            service.receive_data(wire + NEXT)
            assert heard(service) == [Violation(reply=NOT_FOUND)]
            assert service.next_event() is PAUSED
            assert (b"Connection: close" in service.send(NOT_FOUND)) is not kept
            assert service.must_close is not kept

    def test_a_large_body_over_the_limit(self) -> None:
        """What became too large is read on for as much as the emulator reads of it, and then cut (LI-PAYLOAD-3)."""
        service = new(busy())
        head = b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
        service.receive_data(head)
        events: list[ServiceEvent] = []
        fed = 0
        while not events:
            assert service.next_event() is NEED_DATA
            service.receive_data(bytes(MAX_PIECE))
            fed += MAX_PIECE
            events += heard(service)
        assert events == [Violation(reply=refused_413(64))]
        assert MAX_PAYLOAD + MAX_UNREAD < fed < MAX_PAYLOAD + MAX_UNREAD + 2 * MAX_PIECE
        assert service.next_event() is PAUSED
        service.receive_data(b"")
        assert service.next_event() is PAUSED
        assert b"Connection: close" in service.send(refused_413(64))

    def test_memory(self) -> None:
        """A body that is too large is not kept, nor is anything after the connection is over."""
        service = new(busy())
        service.receive_data(b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
        ended = new()
        ended.send(Refused(status=500))
        data = bytes(MAX_PIECE)
        tracemalloc.start()
        try:
            for _ in range(70):
                service.receive_data(data)
                assert service.next_event() is NEED_DATA
                ended.receive_data(data)
            assert tracemalloc.get_traced_memory()[1] < 5 * MAX_PIECE
        finally:
            tracemalloc.stop()


class TestFaults:
    """What is not HTTP is raised, with a reply where one can be given; and it is so for ever."""

    @pytest.mark.parametrize(
        ("wire", "status"),
        [
            (b"x\r\n\r\n", 400),
            (b"\r\n" + NEXT, 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),  # RT-CONN-2
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),  # RT-CONN-15
            (b"GET / HTTP/1.1\r\nHost: a\r\na b: c\r\n\r\n", 400),
            (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (post(RESPONSE, b"Expect: x\r\n", body=b"[]"), 417),  # RT-CONN-20
            (post(RESPONSE, b"Transfer-Encoding: gzip\r\n"), 501),  # RT-CONN-21
            (b"POST " + RESPONSE + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
            (b"GET /2018-06-01/ping HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
            (post(b"/a%zz", body=b"[]"), 400),
            (post(b"/2018-06-01/runtime/invocation/%/response", chunks=(b"a",)), 400),
        ],
    )
    def test_heads(self, wire: bytes, status: int) -> None:
        """The reply is plain text, and closes the connection (RT-CONN-16)."""
        fault, service, lifecycle = fault_of(wire)
        assert str(fault) == f"the runtime sent what it may not: {fault.__cause__}"
        assert fault.reply is not None
        assert (fault.reply.status, fault.reply.error_type) == (status, "")
        assert fault.reply.error_message.startswith(f"{status} ")
        assert fault.reply.error_message.endswith(f": {fault.__cause__}")
        assert lifecycle.state is State.RUNNING
        assert service.must_close
        assert_refused(service, Accepted(), INVOCATION, Pong(), Continue())
        answer = service.send(fault.reply)
        assert b"Content-Type: text/plain; charset=utf-8\r\n" in answer
        assert b"Connection: close\r\n" in answer
        assert_refused(service, fault.reply)

    def test_oversize(self) -> None:
        """431 (LI-HEAD-1)."""
        service = new()
        service.receive_data(b"GET / HTTP/1.1\r\nX: " + b"x" * (1 << 20))
        with pytest.raises(RemoteProtocolError) as caught:
            service.next_event()
        assert caught.value.reply is not None
        assert service.send(caught.value.reply).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")

    @pytest.mark.parametrize(
        "wire",
        [
            post(RESPONSE, body=b"[]"),
            post(RESPONSE, STREAMING, chunks=(b"ab", b"c")),
            post(RESPONSE, STREAMING, TRAILER, chunks=(b"a",), end=b"Lambda-Runtime-Function-Error-Type: F.E\r\n"),
            post(ERROR, body=b"[]"),
        ],
    )
    def test_truncated_at_every_byte(self, wire: bytes) -> None:
        """Never a complete report; in its body it is answered as such, and the environment moves on (RT-RESP-14)."""
        body = wire.index(b"\r\n\r\n") + 4
        for cut in range(1, len(wire)):
            lifecycle = busy()
            service = new(lifecycle)
            service.receive_data(wire[:cut])
            assert not any(
                isinstance(event, (BufferedResponse, ResponseFinished, ErrorReported)) for event in heard(service)
            )
            service.receive_data(b"")
            with pytest.raises(RemoteProtocolError) as caught:
                service.next_event()
            reply = caught.value.reply
            assert reply is not None
            assert reply == TRUNCATED if cut >= body else reply.status == 400 and not reply.error_type
            assert lifecycle.state is (State.RESPONSE_SENT if cut >= body else State.RUNNING)
            assert_refused(service, Accepted())
            assert service.send(reply).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    @pytest.mark.parametrize("body", [b"zz\r\n", b"1\na\r\n", b"1\r\naxx", b"0\r\nbad trailer\r\n\r\n"])
    def test_bad_chunks(self, body: bytes) -> None:
        """As truncated: nobody knows what was meant (RT-RESP-14, RS-CHUNK-7, RS-CHUNK-10)."""
        wire = post(RESPONSE, STREAMING, chunks=())[:-5] + body
        fault, service, lifecycle = fault_of(wire)
        assert (fault.reply, lifecycle.state) == (TRUNCATED, State.RESPONSE_SENT)
        assert service.send(TRUNCATED).endswith(b"}\n")

    @pytest.mark.parametrize("path", [b"/nope", API + b"invocation/x/response"])
    def test_a_refusal_stays_what_it_is(self, path: bytes) -> None:
        """A body that breaks off after it was refused is still refused for its first reason (observed)."""
        reply = NOT_FOUND if path == b"/nope" else UNKNOWN_ID
        assert fault_of(post(path, body=b"[]")[:-1], eof=True)[0].reply == reply
        assert fault_of(post(path, chunks=())[:-5] + b"zz\r\n")[0].reply == reply

    @pytest.mark.parametrize(
        "wire", [b"x\r\n\r\n", post(RESPONSE, STREAMING, b"Content-Type: \x01\r\n", chunks=(b"a",))]
    )
    def test_for_ever(self, wire: bytes) -> None:
        """The same words, the same reply, and not one more byte is read, nor one that came with the fault."""
        fault, _, _ = fault_of(wire)
        service = new(busy())
        for data in (wire, NEXT):
            service.receive_data(data)
            with pytest.raises(RemoteProtocolError) as again:
                service.next_event()
            assert (str(again.value), again.value.reply) == (str(fault), fault.reply)

    def test_a_report_that_another_connection_left(self) -> None:
        """The environment of a connection that faults is free for the next (UN-10)."""
        _, _, lifecycle = fault_of(post(RESPONSE, body=b"[]")[:-1], eof=True)
        service = new(lifecycle)
        service.receive_data(NEXT)
        assert heard(service) == [NextAsked()]


PARTS = (
    b"GET ", b"POST ", API, b"invocation/next", b"invocation/id/response", b"invocation/id/error", b"init/error",
    b"restore/next", b" HTTP/1.1\r\nHost: a\r\n", b"Content-Length: 3\r\n", b"Content-Length: 40\r\n", CHUNKED,
    STREAMING, TRAILER, ERROR_TYPE, b"\r\n", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n", b"\0",
    b"Connection: close\r\n", NEXT, NEXT, get(b"/2018-06-01/ping"), post(RESPONSE, body=b"[]"), post(ERROR, body=b"{}"),
    post(RESPONSE, STREAMING, chunks=(b"a", b"b")), post(RESPONSE, body=b"x" * 17),
)  # fmt: skip


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @settings(max_examples=100)
    @given(data=st.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @settings(max_examples=200)
    @given(parts=st.lists(st.sampled_from(PARTS), max_size=12))
    def test_nearly_right(self, parts: list[bytes]) -> None:
        """Requests and parts of requests in any order."""
        one_input(b"".join(parts))


class TestHalfClosed:
    """A peer that has ended its half still waits for what is due."""

    def test_after_a_report(self) -> None:
        """Its answer goes out, and only then the end is told."""
        lifecycle = StandardLifecycle()
        service = ServiceConnection(lifecycle)
        service.receive_data(post(b"/2018-06-01/runtime/init/error", body=b"{}"))
        assert isinstance(service.next_event(), InitErrorReported)
        service.receive_data(b"")
        assert service.next_event() is PAUSED
        assert service.send(Accepted()).startswith(b"HTTP/1.1 202 ")
        assert service.next_event() == ConnectionClosed()

    def test_after_a_poll(self) -> None:
        """It may wait for hours: who is gone is told at once, so that no invocation is given to nobody."""
        service = ServiceConnection()
        service.receive_data(NEXT)
        assert service.next_event() == NextAsked()
        service.receive_data(b"")
        assert service.next_event() == ConnectionClosed()


def test_an_abandoned_connection_holds_nothing() -> None:
    """The environment is free for another connection, as if the runtime had gone."""
    lifecycle = StandardLifecycle()
    service = ServiceConnection(lifecycle)
    service.receive_data(post(b"/2018-06-01/runtime/init/error", body=b"{}"))
    service.next_event()
    service.abandon()
    assert service.must_close
    assert lifecycle.state is State.INIT_ERROR
    with pytest.raises(LocalProtocolError):
        service.send(Accepted())


def test_http_1_0_that_asks_to_be_kept_is_told_that_it_is() -> None:
    """Otherwise it would wait for the end (RT-CONN-14)."""
    service = ServiceConnection()
    service.receive_data(b"GET /2018-06-01/ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    service.next_event()
    assert b"\r\nConnection: keep-alive\r\n" in service.send(Pong())
    assert not service.must_close


def test_which_invocation_is_being_answered() -> None:
    """From the head of an answer that is allowed to what that is answered with (RS-END-7)."""
    service = new(busy())
    assert service.answering == ""
    service.receive_data(post(API + b"invocation/other/response", body=b"{}"))
    assert isinstance(service.next_event(), Violation)
    assert service.answering == ""
    service = new(busy())
    service.receive_data(RESPONSE_WHOLE[:-1])
    assert service.next_event() is NEED_DATA
    assert service.answering == "id"
    service.receive_data(RESPONSE_WHOLE[-1:] + NEXT)
    assert isinstance(service.next_event(), BufferedResponse)
    assert service.answering == "id"
    service.send(Accepted())
    assert service.answering == ""
    assert service.next_event() == NextAsked()
    assert service.answering == ""
    service = new(busy())
    service.receive_data(RESPONSE_WHOLE[:-1])
    service.next_event()
    service.abandon()
    assert service.answering == ""


class TestEdges:
    """Which invocation it is about, what HEAD hears, and what is said of an answer that may not be given."""

    def test_a_managed_invocation_is_over_by_its_own_id(self) -> None:
        """When its mode does not exist, and when its connection is lost."""
        lost, refused = ManagedLifecycle(), ManagedLifecycle()
        for lifecycle in (lost, refused):
            lifecycle.invoked(INVOCATION)
            lifecycle.invoked(Invocation(request_id="other", payload=b""))
        service = ServiceConnection(refused)
        service.receive_data(post(RESPONSE, b"Lambda-Runtime-Function-Response-Mode: odd\r\n", chunks=(b"a",)))
        heard(service)
        assert [*refused.attempts] == ["other"]
        service = ServiceConnection(lost)
        service.receive_data(RESPONSE_WHOLE)
        heard(service)
        service.abandon()
        assert [*lost.attempts] == ["other"]

    def test_head_hears_no_body(self) -> None:
        """It is only counted."""
        service = new()
        service.receive_data(b"HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
        assert heard(service) == [Violation(reply=NOT_FOUND)]
        said = service.send(NOT_FOUND)
        assert b"\r\nContent-Length: 19\r\n" in said
        assert said.endswith(b"\r\n\r\n")

    @pytest.mark.parametrize(
        ("wire", "answer", "message"),
        [
            (b"", Pong(), "Pong may not be sent while the connection is CLOSED, and the connection must be closed"),
            (
                b"",
                Continue(),
                "Continue may not be sent while the connection is CLOSED, and the connection must be closed",
            ),
            (get(API + b"nothing"), Pong(), f"expected the refusal {NOT_FOUND!r} to be sent, got Pong"),
            (NEXT[:-1], Pong(), "Pong may not be sent before the request is complete"),
            (RESPONSE_WHOLE[:-1], Pong(), "Pong may not be sent before the request is complete"),
            (RESPONSE_WHOLE[:-1], Continue(), "Continue may not be sent when it was not asked for"),
            (RESPONSE_WHOLE, Pong(), "Pong does not answer BufferedResponse"),
            (
                NEXT,
                Invocation(request_id="other", payload=b""),
                "an invocation may not be sent while the environment holds another",
            ),
        ],
    )
    def test_messages(self, wire: bytes, answer: Answer, message: str) -> None:
        """What may not be sent, and why not now."""
        service = new(busy())
        service.receive_data(wire)
        heard(service)
        with pytest.raises(LocalProtocolError) as caught:
            service.send(answer)
        assert str(caught.value) == message
