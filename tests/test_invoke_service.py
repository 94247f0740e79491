"""The service's end: what it hears, what it answers, and what it makes of a caller that breaks the law."""

from __future__ import annotations

from binascii import b2a_base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_invoke_service import (
    ACCEPTED,
    ANSWERED,
    CHUNK,
    COMPLETE,
    FAILED,
    NO_REFUSALS,
    REFUSED,
    assert_refused,
    one_input,
)
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import Accepted, ConnectionClosed, Continue, ContinueAsked, Refused
from lambda_wire._invoke_asks import too_large, too_large_for_url
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    InvokeViolation,
    OtherAsked,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection, InvokeServiceEvent
from lambda_wire._limits import MAX_INVOKE_EVENT, MAX_PAYLOAD
from lambda_wire._malformed import Malformed
from lambda_wire._signals import NEED_DATA, PAUSED, Signal
from lambda_wire._state import Turn
from lambda_wire.testing import deliveries

WHOLE = b"/2015-03-31/functions/f/invocations"
STREAMED = b"/2021-11-15/functions/f/response-streaming-invocations"
ASKED = InvokeAsked(function_name="f", payload=b"{}")
STREAM_ASKED = InvokeAsked(function_name="f", payload=b"{}", streaming=True)
CLOSED = ConnectionClosed()
LIMIT = 16
TOO_LARGE = InvokeViolation(reply=too_large(LIMIT))
TOO_LARGE_FOR_URL = InvokeViolation(reply=too_large_for_url(LIMIT))
TOO_LARGE_DOCUMENT = (
    b'{"Type":"User","message":"Request must be smaller than 16 bytes for the InvokeFunction operation"}'
)
EXPECT = b"Expect: 100-continue\r\n"
DATE = "Sat, 21 Nov 2026 09:30:16 GMT"


def post(path: bytes = WHOLE, *fields: bytes, body: bytes = b"{}", version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (path, version, b"".join(fields), len(body))
    return head + body


def chunked(path: bytes, *chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end
    return b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


OTHER = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PHRASES = {400: "Bad Request", 505: "HTTP Version Not Supported"}


def new(*wire: bytes) -> InvokeServiceConnection:
    """Return a connection that has received this."""
    service = InvokeServiceConnection(max_payload=LIMIT)
    for data in wire:
        service.receive_data(data)
    return service


def asked(wire: bytes = b"") -> InvokeServiceConnection:
    """Return a connection whose request was heard."""
    service = new(wire or post())
    assert len(heard(service)) == 1
    return service


def heard(service: InvokeServiceConnection) -> list[InvokeServiceEvent]:
    """Return every event that is there."""
    events: list[InvokeServiceEvent] = []
    while not isinstance(event := service.next_event(), Signal):
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def hear(wire: bytes) -> list[InvokeServiceEvent]:
    """Return what a service hears, whichever way ``wire`` is delivered."""
    everything: list[list[InvokeServiceEvent]] = []
    for pieces in deliveries(wire):
        service = new()
        events: list[InvokeServiceEvent] = []
        for data in pieces:
            service.receive_data(data)
            events += heard(service)
        everything.append(events)
    assert all(events == everything[0] for events in everything)
    return everything[0]


def fault_of(wire: bytes, *, eof: bool = False) -> tuple[RemoteProtocolError, InvokeServiceConnection]:
    """Return the fault that every delivery of ``wire`` meets."""
    faults: list[RemoteProtocolError] = []
    service = new()
    for pieces in deliveries(wire):
        service = new()
        with pytest.raises(RemoteProtocolError) as caught:
            _feed(service, [*pieces, b""] if eof else pieces)
        faults.append(caught.value)
    assert len({(str(fault), fault.reply) for fault in faults}) == 1
    return faults[-1], service


def _feed(service: InvokeServiceConnection, pieces: list[bytes]) -> None:
    for data in pieces:
        service.receive_data(data)
        heard(service)


class TestAsks:
    """Every request of a caller, as an event."""

    @pytest.mark.parametrize(
        ("wire", "event"),
        [
            (post(), ASKED),
            (post(version=b"1.0"), ASKED),
            (post(STREAMED), STREAM_ASKED),
            (post(body=b""), ASKED),
            (b"POST " + WHOLE + b" HTTP/1.1\r\nHost: a\r\n\r\n", ASKED),
            (chunked(WHOLE, b"{", b"}", end=b"0\r\nX-Amz-Log-Type: Tail\r\n\r\n"), ASKED),
            (post(body=b'"' + b"x" * 14 + b'"'), InvokeAsked(function_name="f", payload=b'"' + b"x" * 14 + b'"')),
            (
                post(
                    STREAMED.replace(b"/f/", b"/arn%3Aaws/") + b"?Qualifier=1",
                    b"X-Amz-Invocation-Type: Event\r\n",
                    b"X-Amz-Log-Type: Tail\r\n",
                    b"X-Amz-Client-Context: " + b2a_base64(b"{}"),
                    b"X-Amz-Tenant-Id: t\r\nX-Amzn-Trace-Id: Root=1\r\nAuthorization: s\r\n",
                ),
                InvokeAsked(
                    function_name="arn:aws",
                    payload=b"{}",
                    streaming=True,
                    qualifier="1",
                    invocation_type="Event",
                    log_type="Tail",
                    client_context="{}",
                    tenant_id="t",
                    trace_id="Root=1",
                    headers=(("authorization", "s"),),
                ),
            ),
        ],
    )
    def test_calls(self, wire: bytes, event: InvokeAsked) -> None:
        """Whole, whichever way it is framed and delivered (IN-ASK-4)."""
        assert hear(wire) == [event]

    @pytest.mark.parametrize("length", [b"2, 2", b"2,2", b"2\r\nContent-Length: 2", b"00000000000000000002"])
    def test_odd_lengths(self, length: bytes) -> None:
        """A length may be said twice (RFC 9112, 6.3)."""
        assert hear(post().replace(b"Length: 2", b"Length: " + length)) == [ASKED]

    @pytest.mark.parametrize(
        ("wire", "event"),
        [
            (b"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
             OtherAsked(method="GET", target="/a?b=c", headers=(("host", "a"),))),
            (b"PUT / HTTP/1.0\r\nX: y\r\nContent-Length: 1\r\n\r\nz",
             OtherAsked(method="PUT", target="/", headers=(("x", "y"), ("content-length", "1")), body=b"z",
                        http_version="1.0")),
            (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
             OtherAsked(method="OPTIONS", target="*", headers=(("host", "a"),))),
        ],
    )  # fmt: skip
    def test_others(self, wire: bytes, event: OtherAsked) -> None:
        """Whole, as received (IN-PATH-10, FU-EVENT-11)."""
        assert hear(wire) == [event]

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT"])
    @pytest.mark.parametrize("path", [WHOLE, STREAMED])
    def test_other_methods(self, path: bytes, method: bytes) -> None:
        """405 with Allow; to HEAD without the document, whose length is said (IN-PATH-9)."""
        wire = post(path).replace(b"POST", method)
        assert [type(event) for event in hear(wire)] == [InvokeViolation]
        service = new(wire)
        event = service.next_event()
        assert isinstance(event, InvokeViolation)
        said = service.send(event.reply)
        head, body = said.split(b"\r\n\r\n")
        assert head == (
            b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nContent-Length: 44\r\n"
            b"Connection: keep-alive\r\nX-Amzn-ErrorType: MethodNotAllowedException\r\nallow: POST"
        )
        assert body == (b"" if method == b"HEAD" else b'{"Type":"User","message":"Invoke is a POST"}')
        service.receive_data(post())
        assert heard(service) == [ASKED]

    @pytest.mark.parametrize(
        ("wire", "status"),
        [
            (post(body=b"{"), 400),
            (post(WHOLE, b"X-Amz-Invocation-Type: x\r\n"), 400),
            (post(WHOLE, b"X-Amz-Client-Context: \xc3\xa9\r\n"), 400),
            (post(WHOLE, b"X-Amz-Client-Context: \xff\r\n"), 400),
        ],
    )
    def test_what_cannot_be_called(self, wire: bytes, status: int) -> None:
        """It comes with its reply, which may be any refusal; then the connection goes on."""
        (event,) = hear(wire)
        assert isinstance(event, InvokeViolation)
        assert event.reply.status == status
        for reply in (event.reply, REFUSED, Refused(status=500)):
            service = asked(wire)
            assert_refused(service, *NO_REFUSALS)
            assert b"Connection: keep-alive\r\n" in service.send(reply)
            service.receive_data(post())
            assert heard(service) == [ASKED]


class TestTooLarge:
    """An event above the limit: 413, and the connection goes on if it can."""

    @pytest.mark.parametrize(
        ("path", "event", "error_type", "document"),
        [
            (WHOLE, TOO_LARGE, b"\r\nX-Amzn-ErrorType: RequestTooLargeException", TOO_LARGE_DOCUMENT),
            (STREAMED, TOO_LARGE, b"\r\nX-Amzn-ErrorType: RequestTooLargeException", TOO_LARGE_DOCUMENT),
            (b"/", TOO_LARGE_FOR_URL, b"", b'{"Message":"Request must be smaller than 16 bytes"}'),
            (b"/a?b", TOO_LARGE_FOR_URL, b"", b'{"Message":"Request must be smaller than 16 bytes"}'),
        ],
    )
    @pytest.mark.parametrize("body", [b"x" * (LIMIT + 1), b"x" * 500])
    def test_read_to_its_end(
        self, path: bytes, event: InvokeViolation, error_type: bytes, document: bytes, body: bytes
    ) -> None:
        """Who only reads after he wrote hears of it; what is no Invoke is answered as by a URL.

        It shows IN-ERROR-17, FU-EVENT-39.
        """
        for wire in (post(path, body=body), chunked(path, body), chunked(path, *[body[:3]] * 6)):
            assert hear(wire) == [event]
            service = asked(wire)
            assert_refused(service, *NO_REFUSALS)
            said = service.send(event.reply)
            assert said.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
            assert said.endswith(b"\r\nConnection: keep-alive" + error_type + b"\r\n\r\n" + document)
            service.receive_data(post())
            assert heard(service) == [ASKED]

    @pytest.mark.parametrize("announced", [True, False])
    @pytest.mark.parametrize("size", [LIMIT + MAX_PAYLOAD, LIMIT + MAX_PAYLOAD + 1, LIMIT + MAX_PAYLOAD + 400_000])
    @pytest.mark.parametrize("piece", [70_000, 1_000_000, 100_000_000])
    def test_not_read_for_ever(self, size: int, piece: int, announced: bool) -> None:
        """As much again as any payload is read on, and then no more: the same verdict in every delivery."""
        wire = post(body=bytes(size)) if announced else chunked(WHOLE, bytes(size))
        service = new()
        events: list[InvokeServiceEvent] = []
        for at in range(0, len(wire), piece):
            service.receive_data(wire[at : at + piece])
            events += heard(service)
        assert events == [TOO_LARGE]
        kept = size <= LIMIT + MAX_PAYLOAD
        assert (b"Connection: keep-alive\r\n" if kept else b"Connection: close\r\n") in service.send(TOO_LARGE.reply)
        assert service.must_close is not kept
        if not kept:
            service.receive_data(post())
            assert service.next_event() is PAUSED
            assert_refused(service, *NO_REFUSALS, REFUSED)

    @pytest.mark.parametrize(("path", "event"), [(WHOLE, TOO_LARGE), (b"/", TOO_LARGE_FOR_URL)])
    @pytest.mark.parametrize("length", [LIMIT + 1, 10**15])
    def test_never_asked_for(self, path: bytes, event: InvokeViolation, length: int) -> None:
        """Who asks first is refused before he sends, and the connection ends: he might send all the same.

        It shows IN-ASK-22.
        """
        wire = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (path, EXPECT, length)
        assert hear(wire) == [event]
        service = asked(wire)
        assert_refused(service, *NO_REFUSALS)
        assert service.turn is Turn.AWAITING
        service.receive_data(b"x")
        assert service.next_event() is PAUSED
        assert b"Connection: close\r\n" in service.send(event.reply)
        assert (service.must_close, service.next_event()) == (True, PAUSED)

    def test_the_largest(self) -> None:
        """6 MiB (IN-ASK-5)."""
        for more in (0, 1):
            service = InvokeServiceConnection()
            service.receive_data(post(body=b" " * (MAX_INVOKE_EVENT - 2 + more) + b"{}"))
            event = service.next_event()
            assert isinstance(event, InvokeViolation if more else InvokeAsked)

    def test_its_pieces_are_not_held(self) -> None:
        """A body that turns out too large in the middle is forgotten."""
        service = new(chunked(WHOLE, b"x" * LIMIT, end=b""))
        assert heard(service) == []
        service.receive_data(b"1\r\nx\r\n0\r\n\r\n")
        assert heard(service) == [TOO_LARGE]
        service.send(TOO_LARGE.reply)
        service.receive_data(post())
        assert heard(service) == [ASKED]


class TestExpect:
    """``Expect: 100-continue``: the caller waits before he sends."""

    @pytest.mark.parametrize("path", [WHOLE, STREAMED, b"/"])
    def test_asked(self, path: bytes) -> None:
        """Once, and once answered; then the body comes (IN-ASK-22)."""
        wire = post(path, EXPECT)
        assert [type(event) for event in hear(wire)[:1]] == [ContinueAsked]
        service = new(wire[:-2])
        assert heard(service) == [ContinueAsked()]
        assert service.send(Continue()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with pytest.raises(LocalProtocolError, match="was not asked for"):
            service.send(Continue())
        service.receive_data(wire[-2:])
        assert len(heard(service)) == 1
        assert_refused(service, Continue())

    def test_not_answered(self) -> None:
        """He may send without waiting; then nothing is to be continued."""
        service = new(post(WHOLE, EXPECT))
        assert heard(service) == [ContinueAsked(), ASKED]
        assert_refused(service, Continue())
        assert service.send(ANSWERED).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_not_asked(self) -> None:
        """It is not said to anybody else, nor to the next request."""
        for service in (new(), new(post()[:-2]), asked()):
            assert_refused(service, Continue())
        service = new(post(WHOLE, EXPECT)[:-2])
        heard(service)
        service.send(REFUSED)
        assert_refused(service, Continue())

    def test_refused_instead(self) -> None:
        """Then the connection ends: nobody knows whether the body comes (IN-STREAM-18)."""
        service = new(post(WHOLE, EXPECT)[:-2])
        assert heard(service) == [ContinueAsked()]
        assert_refused(service, ANSWERED, ACCEPTED, CHUNK, COMPLETE, FAILED)
        assert b"Connection: close\r\n" in service.send(REFUSED)
        assert (service.turn, service.must_close, service.next_event()) == (Turn.CUT, True, PAUSED)

    def test_a_body_that_turns_out_too_large(self) -> None:
        """Nothing of a refused body is asked for any more."""
        service = new(chunked(WHOLE, b"x" * 17, end=b"").replace(b"Host", EXPECT + b"Host"))
        assert heard(service) == [ContinueAsked()]
        assert_refused(service, Continue())

    def test_a_fault_in_the_body(self) -> None:
        """Nor of one that cannot be read."""
        service = new(chunked(WHOLE, end=b"x\r\n").replace(b"Host", EXPECT + b"Host"))
        assert service.next_event() == ContinueAsked()
        with pytest.raises(RemoteProtocolError):
            service.next_event()
        assert_refused(service, Continue())

    def test_something_else(self) -> None:
        """417."""
        fault, service = fault_of(post(WHOLE, b"Expect: x\r\n"))
        assert fault.reply is not None
        assert service.send(fault.reply).startswith(b"HTTP/1.1 417 Expectation Failed\r\n")


class TestAnswers:
    """Every answer as its bytes, fields in the order in which AWS was recorded to send them."""

    def test_whole(self) -> None:
        """Date, type, length, connection, request id, what the function was, version, log, trace (IN-ANSWER-14)."""
        service = asked()
        answer = InvokeAnswered(
            payload=b"[]",
            function_error="Unhandled",
            log_result="bG9n",
            executed_version="$LATEST",
            request_id="id",
            trace_id="Root=1",
            headers=(("x-amzn-remapped-content-length", "0"),),
        )
        assert service.send(answer, date=DATE) == (
            b"HTTP/1.1 200 OK\r\n"
            b"Date: Sat, 21 Nov 2026 09:30:16 GMT\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: 2\r\n"
            b"Connection: keep-alive\r\n"
            b"X-Amzn-RequestId: id\r\n"
            b"X-Amz-Function-Error: Unhandled\r\n"
            b"x-amzn-remapped-content-length: 0\r\n"
            b"X-Amz-Executed-Version: $LATEST\r\n"
            b"X-Amz-Log-Result: bG9n\r\n"
            b"X-Amzn-Trace-Id: Root=1\r\n\r\n[]"
        )
        assert (service.turn, service.must_close) == (Turn.IDLE, False)

    def test_streamed(self) -> None:
        """Date, type, framing, connection, request id, version, trace, the function's type; one message a chunk.

        It shows ES-MESSAGE-7, ES-MESSAGE-14, IN-STREAM-1, IN-STREAM-3, IN-STREAM-4.
        """
        service = asked(post(STREAMED))
        accepted = InvokeAccepted(
            content_type="text/plain", executed_version="$LATEST", request_id="id", trace_id="Root=1"
        )
        assert service.send(accepted, date=DATE) == (
            b"HTTP/1.1 200 OK\r\n"
            b"Date: Sat, 21 Nov 2026 09:30:16 GMT\r\n"
            b"Content-Type: application/vnd.amazon.eventstream\r\n"
            b"Transfer-Encoding: chunked\r\n"
            b"Connection: keep-alive\r\n"
            b"X-Amzn-RequestId: id\r\n"
            b"X-Amz-Executed-Version: $LATEST\r\n"
            b"X-Amzn-Trace-Id: Root=1\r\n"
            b"X-Amzn-Remapped-Content-Type: text/plain\r\n\r\n"
        )
        assert service.send(PayloadChunk(payload=b"hi")) == b"6c\r\n" + bytes.fromhex(
            "0000006c"  # total length
            "0000005a"  # headers length
            "b25efdcf"  # crc of the eight bytes above
            "0b3a6576656e742d74797065 07 000c 5061796c6f61644368756e6b"  # :event-type: PayloadChunk
            # :content-type: application/octet-stream
            "0d3a636f6e74656e742d74797065 07 0018 6170706c69636174696f6e2f6f637465742d73747265616d"
            "0d3a6d6573736167652d74797065 07 0005 6576656e74"  # :message-type: event
            "6869"  # payload: hi
            "1162e469"  # crc of everything above
        ) + b"\r\n"  # fmt: skip
        assert service.send(COMPLETE) == b"66\r\n" + bytes.fromhex(
            "00000066 00000054 1f56c869"
            "0b3a6576656e742d74797065 07 000e 496e766f6b65436f6d706c657465"  # :event-type: InvokeComplete
            "0d3a636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"  # :content-type
            "0d3a6d6573736167652d74797065 07 0005 6576656e74"  # :message-type: event
            "7b7d 7006d467"
        ) + b"\r\n0\r\n\r\n"  # fmt: skip
        assert (service.turn, service.must_close) == (Turn.IDLE, False)

    def test_a_failure_ends_the_stream(self) -> None:
        """As a completion does (ES-MESSAGE-30)."""
        service = asked(post(STREAMED))
        service.send(ACCEPTED)
        assert service.send(InvokeFailed(error_code="E", message="m")).endswith(b"\r\n0\r\n\r\n")
        assert service.turn is Turn.IDLE

    def test_to_http_1_0(self) -> None:
        """A stream ends with its connection, each message as it is; a whole answer is counted.

        It shows IN-STREAM-6, IN-STREAM-18.
        """
        service = asked(post(STREAMED, version=b"1.0"))
        assert service.send(ACCEPTED).startswith(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nConnection: close\r\n"
        )
        assert service.send(COMPLETE).startswith(b"\0\0\0\x66")
        assert (service.turn, service.must_close) == (Turn.CUT, True)
        service = asked(post(version=b"1.0"))
        assert b"Content-Length: 2\r\nConnection: close\r\n" in service.send(ANSWERED)
        service = asked(post(WHOLE, b"Connection: keep-alive\r\n", version=b"1.0"))
        assert b"Content-Length: 2\r\nConnection: keep-alive\r\n" in service.send(ANSWERED)
        assert not service.must_close

    def test_without_a_body(self) -> None:
        """204 has neither body nor length (IN-ANSWER-4)."""
        assert asked().send(InvokeAnswered(status=204, content_type="")) == (
            b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"
        )
        assert asked().send(InvokeAnswered(status=202, content_type="")) == (
            b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        )

    def test_refusals(self) -> None:
        """In Lambda's words, or in plain ones for what is no HTTP (IN-ERROR-9)."""
        for wire in (post(), post(STREAMED)):
            assert asked(wire).send(InvokeRefused(status=429, error_type="E", message="m", request_id="id")) == (
                b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 29\r\n"
                b"Connection: keep-alive\r\nX-Amzn-RequestId: id\r\nX-Amzn-ErrorType: E\r\n\r\n"
                b'{"Type":"User","message":"m"}'
            )
            assert asked(wire).send(Refused(status=500, error_message="é")) == (
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Length: 3\r\nConnection: keep-alive\r\n\r\n\xc3\xa9\n"
            )

    @pytest.mark.parametrize(
        ("wire", "answer"),
        [(post(), ANSWERED), (post(STREAMED), ACCEPTED), (post(), REFUSED), (post(), Refused(status=500))],
    )
    def test_the_date(self, wire: bytes, answer: InvokeAnswered | InvokeAccepted | InvokeRefused | Refused) -> None:
        """It stands first in every head when it is said, and else nowhere (IN-ANSWER-14); so it is of buffers."""
        line = f"\r\nDate: {DATE}\r\n".encode()
        said, plain = asked(wire).send(answer, date=DATE), asked(wire).send(answer)
        assert said.index(line) == said.index(b"\r\n")
        assert plain == said.replace(line, b"\r\n")
        assert b"".join(asked(wire).send_buffers(answer, date=DATE)) == said
        assert b"".join(asked(wire).send_buffers(answer)) == plain

    def test_payloads_are_not_copied(self) -> None:
        """``send_buffers`` gives the payload as it is."""
        answer = InvokeAnswered(payload=b"x" * 1000)
        assert any(buffer is answer.payload for buffer in asked().send_buffers(answer))
        service = asked(post(STREAMED))
        service.send(ACCEPTED)
        chunk = PayloadChunk(payload=b"x" * 1000)
        assert any(buffer is chunk.payload for buffer in service.send_buffers(chunk))


class TestOrder:
    """A refused send changes nothing."""

    def test_what_does_not_answer(self) -> None:
        """A stream is not answered whole, nor a whole call by a stream; nothing goes before the head."""
        service = asked()
        assert_refused(service, ACCEPTED, CHUNK, COMPLETE, FAILED, Continue())
        service.send(ANSWERED)
        assert_refused(service, *NO_REFUSALS, REFUSED, Refused(status=500))
        service = asked(post(STREAMED))
        assert_refused(service, ANSWERED, CHUNK, COMPLETE, FAILED, Continue())
        service.send(ACCEPTED)
        assert_refused(service, ANSWERED, ACCEPTED, REFUSED, Refused(status=500), Continue())
        service.send(CHUNK)
        service.send(COMPLETE)
        assert_refused(service, *NO_REFUSALS, REFUSED, Refused(status=500))

    @pytest.mark.parametrize("wire", [[], [b"POST " + WHOLE]])
    def test_nothing_was_asked(self, wire: list[bytes]) -> None:
        """Then nothing is answered, not even by a refusal."""
        service = new(*wire)
        assert service.next_event() is NEED_DATA
        assert_refused(service, *NO_REFUSALS, REFUSED, Refused(status=500))

    @pytest.mark.parametrize(
        ("wire", "before", "answer", "message"),
        [
            (post(), [], ACCEPTED, f"InvokeAccepted does not answer what was asked: {ASKED!r}"),
            (post(STREAMED), [], ANSWERED, f"InvokeAnswered does not answer what was asked: {STREAM_ASKED!r}"),
            (OTHER, [], ANSWERED, "InvokeAnswered does not answer what was asked: None"),
            (
                post(body=b" " * 17),
                [],
                ANSWERED,
                f"expected the refusal {TOO_LARGE.reply!r} to be sent, got InvokeAnswered",
            ),
            (post(), [ANSWERED], ANSWERED, "InvokeAnswered answers nothing: no request is open"),
            (post(), [ANSWERED], REFUSED, "InvokeRefused answers nothing: no request is open"),
            (post(), [ANSWERED], Refused(status=500), "Refused answers nothing: no request is open"),
            (post(STREAMED), [ACCEPTED], REFUSED, "InvokeRefused may not be sent while the connection is ANSWERING"),
            (post(), [], CHUNK, "PayloadChunk may not be sent while the connection is AWAITING"),
            (post(STREAMED), [ACCEPTED, COMPLETE], FAILED, "InvokeFailed may not be sent while the connection is IDLE"),
        ],
    )
    def test_what_is_said_of_a_refused_send(
        self, wire: bytes, before: list[InvokeAnswer], answer: InvokeAnswer | Refused, message: str
    ) -> None:
        """Which answer, and what it would have to be instead."""
        service = asked(wire)
        for said in before:
            service.send(said)
        with pytest.raises(LocalProtocolError) as caught:
            service.send(answer)
        assert str(caught.value) == message

    def test_while_it_is_asked(self) -> None:
        """A refusal may come early; then the connection ends."""
        service = new(post()[:-1])
        assert heard(service) == []
        assert_refused(service, *NO_REFUSALS)
        assert b"Connection: close\r\n" in service.send(REFUSED)
        assert (service.turn, service.must_close) == (Turn.CUT, True)
        assert_refused(service, *NO_REFUSALS, REFUSED)

    def test_plain_http(self) -> None:
        """What is no Invoke is answered through ``turns``; no message of a stream can get between."""
        service = asked(OTHER)
        assert_refused(service, *NO_REFUSALS)
        service.turns.start_answer(service.turns.framing(200, None))
        assert service.turn is Turn.ANSWERING
        assert_refused(service, *NO_REFUSALS, REFUSED)
        for event in (CHUNK, COMPLETE):
            with pytest.raises(LocalProtocolError, match=f"^{type(event).__name__} may only follow InvokeAccepted$"):
                service.send(event)
        with pytest.raises(LocalProtocolError, match=r"^an answer may not be sent while the connection is ANSWERING$"):
            service.start_answer(200, (), 0)
        assert b"".join(service.turns.part_buffers(b"x")) == b"1\r\nx\r\n"
        assert b"".join(service.turns.end_answer()) == b"0\r\n\r\n"
        service.receive_data(post())
        assert heard(service) == [ASKED]

    def test_nothing_is_left_of_plain_http(self) -> None:
        """Neither its size nor its refusal counts for the next request, whoever answered it."""
        service = new()
        for size in (10, 10, 17, 10):
            service.receive_data(post(b"/", body=b"x" * size))
            assert [type(event) for event in heard(service)] == [OtherAsked if size <= LIMIT else InvokeViolation]
            service.turns.start_answer(service.turns.framing(204, None))
            assert service.turns.end_answer() == []
            assert_refused(service, *NO_REFUSALS, REFUSED)
        service.receive_data(post(body=b" " * 14 + b"{}"))
        assert len(heard(service)) == 1
        assert service.send(ANSWERED).startswith(b"HTTP/1.1 200 OK\r\n")

    @pytest.mark.parametrize("stranger", [None, b"x", ASKED, Accepted(), CLOSED, ContinueAsked(), TOO_LARGE])
    def test_strangers(self, stranger: object) -> None:
        """What is no answer of this service may not be sent."""
        service = asked()
        with pytest.raises(LocalProtocolError, match=f"^{type(stranger).__name__} may not be sent by a service$"):
            service.send(stranger)  # type: ignore[arg-type]  # what is tested
        assert service.send(ANSWERED)

    def test_what_cannot_be_said(self) -> None:
        """It may be said otherwise after that."""
        service = asked()
        with pytest.raises(Malformed):
            service.send(ANSWERED, date="a\r\nb: c")
        assert service.turn is Turn.AWAITING
        assert service.send(ANSWERED)
        service = asked(post(STREAMED))
        with pytest.raises(Malformed):
            service.send(ACCEPTED, date="\0")
        assert_refused(service, CHUNK)
        service.send(ACCEPTED)
        for event in (
            PayloadChunk(payload=bytes(24 * 1024 * 1024 + 1)),
            InvokeFailed(error_code="x" * 32_768),
            InvokeComplete(error_details="x" * 25_165_825),
        ):
            with pytest.raises(Malformed):
                service.send(event)
            assert service.turn is Turn.ANSWERING
        assert service.send(COMPLETE).endswith(b"0\r\n\r\n")


class TestConnection:
    """One request after the other."""

    def test_pipelined(self) -> None:
        """The next request waits until this one is answered, and gets nothing of it."""
        other = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
        wire = (
            post(STREAMED) + post(body=b"x" * 17) + post() + other + post(WHOLE, b"X-Amz-Log-Type: Tail\r\n") + post()
        )
        for pieces in deliveries(wire):
            service = new()
            events: list[object] = []
            for data in pieces:
                service.receive_data(data)
                while not isinstance(event := service.next_event(), Signal):
                    events.append(event)
                    assert service.next_event() in (PAUSED, NEED_DATA)
                    self._answer(service, event)
            assert events == [
                STREAM_ASKED,
                TOO_LARGE,
                ASKED,
                OtherAsked(method="GET", target="/a", headers=(("host", "a"),)),
                InvokeAsked(function_name="f", payload=b"{}", log_type="Tail"),
                ASKED,
            ]

    def _answer(self, service: InvokeServiceConnection, event: InvokeServiceEvent) -> None:
        if event == STREAM_ASKED:
            service.send(ACCEPTED)
            assert service.next_event() in (PAUSED, NEED_DATA)
            service.send(COMPLETE)
        elif isinstance(event, InvokeAsked):
            service.send(ANSWERED)
        else:
            service.send(REFUSED)

    @pytest.mark.parametrize("wire", [post(WHOLE, b"Connection: close\r\n"), post(version=b"1.0")])
    def test_the_caller_wants_it_closed(self, wire: bytes) -> None:
        """Then the answer says so, and nothing more is read (IN-STREAM-18)."""
        service = asked(wire + post())
        assert not service.must_close
        assert b"Connection: close\r\n" in service.send(ANSWERED)
        assert (service.must_close, service.next_event()) == (True, PAUSED)

    def test_the_end(self) -> None:
        """Between requests it is an event, and says so again."""
        service = new(b"")
        assert heard(service) == [CLOSED]
        assert heard(service) == [CLOSED]
        assert (service.turn, service.must_close) == (Turn.CLOSED, True)
        assert_refused(service, *NO_REFUSALS, REFUSED)

    def test_half_closed(self) -> None:
        """A caller who has ended his half still waits for what is due; only then the end is told."""
        service = new(post(STREAMED), b"")
        assert service.next_event() == STREAM_ASKED
        assert service.next_event() is PAUSED
        service.send(ACCEPTED)
        assert service.next_event() is PAUSED
        service.send(COMPLETE)
        assert heard(service) == [CLOSED]

    @pytest.mark.parametrize("ending", [ANSWERED, None])
    def test_given_up(self, ending: InvokeAnswered | None) -> None:
        """Nothing more is heard or said, whatever has arrived."""
        service = asked(post() + post() + b"x\r\n\r\n")
        if ending is not None:
            service.send(ending)
        service.abandon()
        assert heard(service) == [CLOSED]
        assert heard(service) == [CLOSED]
        assert (service.turn, service.must_close) == (Turn.CLOSED, True)
        assert_refused(service, *NO_REFUSALS, REFUSED)


class TestFaults:
    """What is no HTTP: the fault is for ever, and brings the reply that is sent before the connection ends."""

    @pytest.mark.parametrize(
        ("wire", "status"),
        [
            (b"x\r\n\r\n", 400),
            (b"POST / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
            (post().replace(b"Length: 2", b"Length: 2, 3"), 400),
            (post().replace(b"Length: 2", b"Length: -2"), 400),
            (post().replace(b"Length: 2", b"Length: " + b"9" * 5000), 400),
            (post().replace(b"Length: 2", b"Length: " + b"9" * 21), 400),
            (post().replace(b"Length: 2", b"Length: \xb2"), 400),
            (chunked(WHOLE, end=b"x\r\n"), 400),
            (chunked(WHOLE, b"x" * 17, end=b"x\r\n"), 400),
            (chunked(b"/", b"x", end=b"x\r\n"), 400),
        ],
    )
    def test_faults(self, wire: bytes, status: int) -> None:
        """One reply, and nothing else."""
        fault, service = fault_of(wire)
        assert fault.reply is not None
        assert fault.reply.status == status
        assert str(fault).startswith("the caller sent what it may not: ")
        assert service.must_close
        assert_refused(service, *NO_REFUSALS)
        said = service.send(fault.reply, date=DATE)
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nDate: Sat, 21 Nov 2026 09:30:16 GMT\r\n" in said
        said_of_it = str(fault).removeprefix("the caller sent what it may not: ")
        assert said.endswith(f"\r\nConnection: close\r\n\r\n{status} {PHRASES[status]}: {said_of_it}\n".encode())
        assert_refused(service, *NO_REFUSALS, REFUSED, fault.reply)
        service.receive_data(post())
        with pytest.raises(RemoteProtocolError) as caught:
            service.next_event()
        assert (str(caught.value), caught.value.reply) == (str(fault), fault.reply)

    def test_a_head_that_never_ends(self) -> None:
        """431 (FU-EVENT-38)."""
        service = new(b"GET / HTTP/1.1\r\n" + b"x" * 1_100_000)
        with pytest.raises(RemoteProtocolError) as caught:
            service.next_event()
        assert caught.value.reply is not None
        assert caught.value.reply.status == 431

    @pytest.mark.parametrize("wire", [post()[:-1], post()[:20], chunked(WHOLE, b"{}", end=b"")])
    def test_a_caller_who_leaves_in_the_middle(self, wire: bytes) -> None:
        """He has not asked."""
        fault, service = fault_of(wire, eof=True)
        assert "ended in the middle of" in str(fault)
        assert_refused(service, *NO_REFUSALS)

    def test_after_an_answer(self) -> None:
        """What was asked before is answered before."""
        service = asked(post() + b"x\r\n\r\n")
        assert service.next_event() is PAUSED
        service.send(ANSWERED)
        with pytest.raises(RemoteProtocolError) as caught:
            service.next_event()
        assert caught.value.reply is not None
        assert_refused(service, *NO_REFUSALS)
        assert b"Connection: close" in service.send(caught.value.reply)


PARTS = (
    b"POST %b HTTP/1.1\r\nHost: a\r\n" % WHOLE, b"POST %b HTTP/1.1\r\nHost: a\r\n" % STREAMED,
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"HEAD %b HTTP/1.1\r\nHost: a\r\n" % WHOLE, b"POST %b HTTP/1.0\r\n" % STREAMED, b"Content-Length: 2\r\n",
    b"Content-Length: 17\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", EXPECT,
    b"Connection: close\r\n", b"X-Amz-Client-Context: \xff\r\n", b"X-Amz-Client-Context: e30=\r\n",
    b"X-Amz-Invocation-Type: DryRun\r\n", b"\r\n", b"\n", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n",
    b"11\r\n%b\r\n" % (b" " * 17), b" " * 17, b"\0", post(), post(STREAMED), post(b"/"), post(WHOLE, EXPECT),
    post(body=b"x" * 17), chunked(WHOLE, b"{}"),
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


def test_another_request_is_answered_in_plain_http() -> None:
    """The head in AWS's order, the body through ``turns``; of what is not said there is nothing."""
    assert asked(OTHER).start_answer(200, (), 0) == [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
    ]
    service = InvokeServiceConnection()
    service.receive_data(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
    assert isinstance(service.next_event(), OtherAsked)
    wire = b"".join(
        [
            *service.start_answer(299, (("x-a", "b"), ("content-type", "text/plain")), None, date="now", reason="Fine"),
            *service.turns.part_buffers(b"hi"),
            *service.turns.end_answer(),
        ]
    )
    assert wire == (
        b"HTTP/1.1 299 Fine\r\nDate: now\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: keep-alive\r\nx-a: b\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    assert service.turn is Turn.IDLE
