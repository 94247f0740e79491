"""The caller's end: what it says, what it hears, and what it makes of a service that breaks the law."""

from __future__ import annotations

import tracemalloc
from itertools import cycle
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_invoke import assert_silenced, one_input
from lambda_wire import _names as names
from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._event_stream import EventStreamHeader, EventStreamMessage, encode_event_stream
from lambda_wire._events import ConnectionClosed, NextAsked
from lambda_wire._heads import USER_AGENT
from lambda_wire._invoke import InvokeConnection, InvokeEvent
from lambda_wire._invoke_answers import encode_message
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._malformed import Malformed
from lambda_wire._signals import NEED_DATA, Signal
from lambda_wire._state import Turn
from lambda_wire.testing import deliveries

COMMON = f"Host: h:1\r\nUser-Agent: {USER_AGENT}\r\n".encode()
CALL = InvokeAsked(function_name="f", payload=b"{}")
STREAMED = InvokeAsked(function_name="f", payload=b"{}", streaming=True)
CLOSED = ConnectionClosed()
ACCEPTED = InvokeAccepted()
ANSWERED = InvokeAnswered(payload=b"[]", content_type="")
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
CHUNK = PayloadChunk(payload=b"x")
COMPLETE = InvokeComplete()
X = encode_event_stream(encode_message(CHUNK))
END = encode_event_stream(encode_message(COMPLETE))
ERROR = b'{"errorMessage":"m","errorType":"E"}'
FAILED = encode_event_stream(encode_message(InvokeFailed(error_code="E", message="m")))

#: The smallest answer that botocore was seen to take, and its headers in another order than AWS's.
MINIMAL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nContent-Length: 102\r\n\r\n"
    + bytes.fromhex(
        "00000066"  # total length
        "00000054"  # headers length
        "1f56c869"  # crc of the eight bytes above
        "0d3a6d6573736167652d7479706507 0005 6576656e74"  # :message-type, a string of 5 bytes: event
        "0b3a6576656e742d7479706507 000e 496e766f6b65436f6d706c657465"  # :event-type: InvokeComplete
        "0d3a636f6e74656e742d7479706507 0010 6170706c69636174696f6e2f6a736f6e"  # :content-type: application/json
        "7b7d"  # payload: {}
        "face259a"  # crc of everything above
    )
)  # fmt: skip


def message(payload: bytes, **headers: str) -> bytes:
    """Return a message on the wire; ``event_type`` stands for ``:event-type``."""
    named = ((":" + name.replace("_", "-"), value) for name, value in headers.items())
    return encode_event_stream(
        EventStreamMessage(
            headers=tuple(EventStreamHeader(name=name, value=value) for name, value in named), payload=payload
        )
    )


def prelude(total: int, headers: int) -> bytes:
    """Return the beginning of a message, its checksum right."""
    lengths = total.to_bytes(4, "big") + headers.to_bytes(4, "big")
    return lengths + crc32(lengths).to_bytes(4, "big")


def counted(*messages: bytes, fields: bytes = b"") -> bytes:
    """Return a streamed answer whose length is known."""
    body = b"".join(messages)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


def chunked(*messages: bytes, end: bytes = b"0\r\n\r\n", fields: bytes = b"") -> bytes:
    """Return a streamed answer, one chunk a message."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in messages) + end
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n" + body


def until_close(*messages: bytes) -> bytes:
    """Return a streamed answer that ends with its connection."""
    return b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(messages)


FRAMINGS = pytest.mark.parametrize("framed", [counted, chunked, until_close])


def asking(ask: InvokeAsked | None = STREAMED) -> InvokeConnection:
    caller = InvokeConnection(host="h:1", max_payload=64)
    if ask is not None:
        caller.send(ask)
    return caller


def heard(caller: InvokeConnection) -> list[InvokeEvent]:
    """Return every event that is there."""
    events: list[InvokeEvent] = []
    while not isinstance(event := caller.next_event(), Signal):
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


def hear(
    wire: bytes, ask: InvokeAsked | None = STREAMED, *, eof: bool = False
) -> tuple[list[InvokeEvent], InvokeConnection]:
    """Return what a caller hears, however it is delivered."""
    everything: list[list[InvokeEvent]] = []
    caller = asking(ask)
    for pieces in deliveries(wire):
        caller = asking(ask)
        events: list[InvokeEvent] = []
        for data in (*pieces, b"") if eof else pieces:
            caller.receive_data(data)
            events += heard(caller)
        everything.append(events)
    assert all(events == everything[0] for events in everything)
    return everything[0], caller


def fault_of(
    wire: bytes, ask: InvokeAsked | None = STREAMED, *, eof: bool = False
) -> tuple[list[InvokeEvent], str, InvokeConnection]:
    """Return what every delivery gives, and the fault that it then meets."""
    stories: list[tuple[list[InvokeEvent], str]] = []
    caller = asking(ask)
    for pieces in deliveries(wire):
        caller = asking(ask)
        events: list[InvokeEvent] = []
        with pytest.raises(RemoteProtocolError) as caught:
            _feed(caller, [*pieces, b""] if eof else pieces, events)
        assert caught.value.reply is None
        stories.append((events, str(caught.value)))
    assert all(story == stories[0] for story in stories)
    return *stories[0], caller


def _feed(caller: InvokeConnection, pieces: list[bytes], events: list[InvokeEvent]) -> None:
    for data in pieces:
        caller.receive_data(data)
        while not isinstance(event := caller.next_event(), Signal):
            events.append(event)


class TestSays:
    """Every call as its bytes."""

    def test_whole(self) -> None:
        """Host and User-Agent first; the payload is counted (IN-PATH-1, IN-ASK-1)."""
        wire = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\n" + COMMON + b"Content-Length: 2\r\n\r\n{}"
        assert asking(None).send(CALL) == wire

    def test_streamed(self) -> None:
        """Another path; whatever the caller adds goes before the length (IN-PATH-2, IN-ASK-10)."""
        ask = InvokeAsked(
            function_name="a:b", streaming=True, qualifier="1", log_type="Tail", headers=(("authorization", "s"),)
        )
        assert asking(None).send(ask) == (
            b"POST /2021-11-15/functions/a%3Ab/response-streaming-invocations?Qualifier=1 HTTP/1.1\r\n"
            + COMMON
            + b"X-Amz-Log-Type: Tail\r\nauthorization: s\r\nContent-Length: 0\r\n\r\n"
        )

    def test_what_a_signer_signs(self) -> None:
        """Method, target and fields are those that are sent, and asking for them changes nothing."""
        caller = InvokeConnection(host="h", user_agent="me/1")
        method, target, fields = caller.request(CALL)
        assert (method, target) == ("POST", "/2015-03-31/functions/f/invocations")
        assert fields == (("Host", "h"), ("User-Agent", "me/1"), ("Content-Length", "2"))
        assert caller.turn is Turn.IDLE
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        assert caller.send(CALL) == f"{method} {target} HTTP/1.1\r\n{head}\r\n{{}}".encode()

    def test_payloads_are_not_copied(self) -> None:
        """``send_buffers`` gives the payload as it is; none, when there is none."""
        assert asking(None).send_buffers(CALL)[1] is CALL.payload
        assert len(asking(None).send_buffers(InvokeAsked(function_name="f"))) == 1

    def test_only_calls(self) -> None:
        """Anything else is not a caller's to say."""
        caller = asking(None)
        for event in (COMPLETE, NextAsked(), None, b"x"):
            with pytest.raises(LocalProtocolError, match=f"^{type(event).__name__} may not be sent by a caller$"):
                caller.send(event)  # type: ignore[arg-type]  # what is tested
        assert caller.turn is Turn.IDLE

    def test_one_at_a_time(self) -> None:
        """A refused call changes nothing: the answer to the one before is heard as if it had not been tried."""
        caller = asking(CALL)
        with pytest.raises(LocalProtocolError, match="InvokeAsked may not be sent while the connection is AWAITING"):
            caller.send(STREAMED)
        caller.receive_data(WHOLE)
        assert heard(caller) == [ANSWERED]

    @pytest.mark.parametrize("host", ["h\r\nX: y", "", "h/x", "é"])
    def test_a_host_that_is_none(self, host: str) -> None:
        """RT-CONN-2: it is refused before there is a connection."""
        with pytest.raises(Malformed, match="host must be"):
            InvokeConnection(host=host)

    def test_a_field_that_is_no_field_value(self) -> None:
        """Nothing is sent, and nothing changed."""
        caller = InvokeConnection(host="h", user_agent="me\n")
        with pytest.raises(Malformed):
            caller.send(CALL)
        assert (caller.turn, caller.must_close, caller.awaiting_answer) == (Turn.IDLE, False, False)


class TestWhole:
    """Answers of Invoke."""

    @pytest.mark.parametrize(
        ("wire", "answer"),
        [
            (WHOLE, ANSWERED),
            (
                (
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Amz-Function-Error: Unhandled\r\n"
                    b"x-amzn-RequestId: id\r\nX-Amz-Log-Result: bG9n\r\nX-Amz-Executed-Version: $LATEST\r\n"
                    b"X-Amzn-Trace-Id: Root=1\r\nx-amzn-remapped-content-length: 0\r\nContent-Length: 2\r\n\r\n{}"
                ),
                InvokeAnswered(
                    payload=b"{}", function_error="Unhandled", request_id="id", log_result="bG9n",
                    executed_version="$LATEST", trace_id="Root=1", headers=(("x-amzn-remapped-content-length", "0"),),
                ),
            ),
            (chunked(b"[", b"]", end=b"0\r\nX-Amz-Function-Error: E\r\n\r\n"), ANSWERED),
            (WHOLE.replace(b"\r\n", b"\r\nX-Amz-Durable-Execution-Arn: arn\r\n", 1),  # IN-ANSWER-16
             InvokeAnswered(payload=b"[]", content_type="", headers=(("x-amz-durable-execution-arn", "arn"),))),
            (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", InvokeAnswered(status=202, content_type="")),
            (b"HTTP/1.1 204 No Content\r\n\r\n", InvokeAnswered(status=204, content_type="")),
            (b"HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", InvokeAnswered(status=299, content_type="")),
        ],
    )  # fmt: skip
    def test_answers(self, wire: bytes, answer: InvokeEvent) -> None:
        """With or without interim responses before it; then the connection is free again.

        It shows IN-ANSWER-5, IN-ANSWER-15.
        """
        for interim in (b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"):
            events, caller = hear(interim + wire, CALL)
            assert events == [answer]
            assert (caller.turn, caller.must_close, caller.awaiting_answer) == (Turn.IDLE, False, False)
            caller.send(CALL)
            caller.receive_data(interim + wire)
            assert heard(caller) == [answer]

    def test_up_to_the_end(self) -> None:
        """HTTP/1.0 without a length: complete when the connection ends, which is told after it."""
        events, caller = hear(b"HTTP/1.0 200 OK\r\n\r\n[]", CALL, eof=True)
        assert (events, caller.must_close) == ([ANSWERED, CLOSED], True)

    def test_the_last_one(self) -> None:
        """The service closes after it."""
        events, caller = hear(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), CALL)
        assert (events, caller.turn, caller.must_close) == ([ANSWERED], Turn.CUT, True)
        assert_silenced(caller)

    @pytest.mark.parametrize("status", [200, 404])
    @pytest.mark.parametrize("framing", [b"Content-Length: 65\r\n\r\n", b"\r\n"])
    def test_too_large(self, framing: bytes, status: int) -> None:
        """Nothing above the limit is held, whatever it answers."""
        wire = b"HTTP/1.1 %d OK\r\n%b" % (status, framing)
        events, fault, caller = fault_of(wire + b"x" * 65, CALL)
        assert (events, fault) == (
            [], "the service sent what it may not: expected an answer of at most 64 bytes, got more"
        )  # fmt: skip
        assert_silenced(caller)
        if framing != b"\r\n":
            assert len(hear(wire.replace(b"65", b"64") + b"x" * 64, CALL)[0]) == 1


class TestRefusals:
    """The function was not called: that is news."""

    @pytest.mark.parametrize("ask", [CALL, STREAMED])
    @pytest.mark.parametrize(
        ("head", "body", "refusal"),
        [
            (
                (
                    b"404 Not Found\r\nX-Amzn-ErrorType: ResourceNotFoundException:http://internal.amazon.com/\r\n"
                    b"x-amzn-RequestId: id\r\n"
                ),
                b'{"Type":"User","Message":"Function not found"}',
                InvokeRefused(
                    status=404, error_type="ResourceNotFoundException", message="Function not found", request_id="id"
                ),
            ),
            (
                b"429 Too Many Requests\r\nretry-after: 1\r\n",  # IN-ERROR-16
                b'{"__type":"aws.lambda#TooManyRequestsException","message":"m"}',
                InvokeRefused(
                    status=429, error_type="TooManyRequestsException", message="m", headers=(("retry-after", "1"),)
                ),
            ),
            (b"502 Bad Gateway\r\n", b"<html>502</html>", InvokeRefused(status=502, message="<html>502</html>")),
            (b"503\r\n", b"", InvokeRefused(status=503)),
            (b"307 Temporary Redirect\r\nLocation: /x\r\n", b"",  # IN-ERROR-18
             InvokeRefused(status=307, headers=(("location", "/x"),))),
            (b"304 Not Modified\r\n", b"", InvokeRefused(status=304)),
            (b"300\r\n", b"", InvokeRefused(status=300)),
        ],
    )  # fmt: skip
    def test_refusals(self, ask: InvokeAsked, head: bytes, body: bytes, refusal: InvokeEvent) -> None:
        """Whatever was asked, whoever says it; then the connection is free again."""
        wire = b"HTTP/1.1 %bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        events, caller = hear(wire, ask)
        assert (events, caller.turn, caller.must_close) == ([refusal], Turn.IDLE, False)
        caller.send(CALL)
        caller.receive_data(WHOLE)
        assert heard(caller) == [ANSWERED]

    def test_unasked(self) -> None:
        """A server may refuse before it is asked, such as 408 (RFC 9110, 15.5.9); it says nothing else unasked."""
        events, caller = hear(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", None)
        assert events == [InvokeRefused(status=408)]
        assert_silenced(caller)
        assert "expected nothing" in fault_of(WHOLE, None)[1]

    def test_no_status(self) -> None:
        """HTTP has none above 599."""
        assert "status from 300 to 599" in fault_of(b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n")[1]


class TestStreamed:
    """Answers of InvokeWithResponseStream. What botocore makes of a case is told where ours differs."""

    @FRAMINGS
    def test_messages(self, framed: object) -> None:
        """Cut anywhere, in every framing."""
        assert callable(framed)
        wire: bytes = framed(X, X, END)
        assert hear(wire, eof=True)[0] == [ACCEPTED, CHUNK, CHUNK, COMPLETE, CLOSED]

    def test_the_head(self) -> None:
        """Told at once. The content type is the function's; ``X-Amz-Function-Error`` is not used here (IN-STREAM-9)."""
        wire = chunked(
            END,
            fields=b"Content-Type: application/vnd.amazon.eventstream\r\nx-amzn-RequestId: id\r\n"
            b"X-Amz-Executed-Version: 7\r\nX-Amzn-Trace-Id: Root=1\r\nX-Amzn-Remapped-Content-Type: a/b\r\n"
            b"X-Amz-Function-Error: E\r\nx-more: 1\r\n",
        )
        accepted = InvokeAccepted(
            content_type="a/b", executed_version="7", request_id="id", trace_id="Root=1", headers=(("x-more", "1"),)
        )
        assert hear(wire)[0] == [accepted, COMPLETE]
        assert hear(wire[: wire.index(b"\r\n\r\n") + 4])[0] == [accepted]

    @pytest.mark.parametrize("kind", [b"text/plain", b"application/json", b""])
    def test_any_http_content_type(self, kind: bytes) -> None:
        """SDKs do not look at it (IN-STREAM-7)."""
        assert hear(counted(END, fields=b"Content-Type: " + kind + b"\r\n"))[0] == [ACCEPTED, COMPLETE]

    def test_the_smallest(self) -> None:
        """One completion, headers in an order of its own (ES-HEADER-6, ES-MESSAGE-24)."""
        assert hear(MINIMAL)[0] == [ACCEPTED, COMPLETE]

    @pytest.mark.parametrize(
        ("message", "event"),
        [
            (message(b"x", event_type="PayloadChunk"), CHUNK),
            (message(b"x", message_type="event", event_type="PayloadChunk"), CHUNK),
            (message(b"", message_type="event", event_type="PayloadChunk"), PayloadChunk(payload=b"")),  # ES-MESSAGE-10
            # ES-MESSAGE-23
            (message(ERROR, message_type="event", event_type="PayloadChunk"), PayloadChunk(payload=ERROR)),
            (message(b"x", message_type="event", event_type="Other"), None),
            (message(b"x", message_type="event"), None),
            (message(b""), None),
        ],
    )
    def test_events(self, message: bytes, event: InvokeEvent | None) -> None:
        """Without ``:message-type``, without ``:content-type``, empty; unknown and unnamed ones are skipped.

        It shows ES-MESSAGE-4.
        """
        assert hear(chunked(message, END))[0] == [ACCEPTED, *([event] if event else []), COMPLETE]
        assert hear(chunked(X, END, message))[0] == [ACCEPTED, CHUNK, COMPLETE] if event is None else True

    @pytest.mark.parametrize(
        ("payload", "complete"),
        [
            (b"", COMPLETE),
            (b'{"ErrorCode":null,"LogResult":null}', COMPLETE),
            (b"{invalid", COMPLETE),
            (b'{"ErrorCode":"E","ErrorDetails":"d","LogResult":"bG9n"}',
             InvokeComplete(error_code="E", error_details="d", log_result="bG9n")),
        ],
    )  # fmt: skip
    def test_completions(self, payload: bytes, complete: InvokeEvent) -> None:
        """An error of the function is no exception; what cannot be read says nothing."""
        assert hear(counted(message(payload, event_type="InvokeComplete")))[0] == [ACCEPTED, complete]

    @pytest.mark.parametrize(
        ("ending", "failed"),
        [
            (FAILED, InvokeFailed(error_code="E", message="m")),
            (message(b'{"message":"m"}', message_type="exception", exception_type="ThrottlingException"),
             InvokeFailed(error_code="ThrottlingException", message="m")),
        ],
    )  # fmt: skip
    def test_failures(self, ending: bytes, failed: InvokeEvent) -> None:
        """They end the stream as a completion does (botocore raises ``EventStreamError``; ES-MESSAGE-29)."""
        events, caller = hear(chunked(X, ending))
        assert (events, caller.turn) == ([ACCEPTED, CHUNK, failed], Turn.IDLE)

    @pytest.mark.parametrize("more", [X, END, FAILED])
    @pytest.mark.parametrize("ending", [END, FAILED])
    @pytest.mark.parametrize("before", [0, 2])
    def test_nothing_follows_the_end(self, before: int, ending: bytes, more: bytes) -> None:
        """SDKs give it; whoever stopped at the completion would never have seen it (ES-MESSAGE-15)."""
        events, fault, caller = fault_of(chunked(*[X] * before, ending, more))
        assert len(events) == 2 + before
        what = {X: "PayloadChunk", END: "InvokeComplete", FAILED: "InvokeFailed"}[more]
        reason = f"expected nothing after the end of the response, got {what}"
        assert fault == f"the service sent what it may not: {reason}"
        assert_silenced(caller)

    def test_http_trailers(self) -> None:
        """Ignored (IN-STREAM-9)."""
        wire = chunked(X, END, end=b"0\r\nLambda-Runtime-Function-Error-Type: E\r\n\r\n")
        assert hear(wire)[0] == [ACCEPTED, CHUNK, COMPLETE]

    def test_no_size_is_too_large(self) -> None:
        """The limit is for whole answers; the specification forbids a client one for messages."""
        big = PayloadChunk(payload=b"x" * 1000)
        wire = chunked(encode_event_stream(encode_message(big)), END)
        assert hear(wire)[0] == [ACCEPTED, big, COMPLETE]

    def test_each_as_it_comes(self) -> None:
        """A message is given with its last byte, and not before."""
        caller = asking()
        caller.receive_data(until_close(X))
        assert heard(caller) == [ACCEPTED, CHUNK]
        for byte in X[:-1]:
            caller.receive_data(bytes([byte]))
            assert caller.next_event() is NEED_DATA
        caller.receive_data(X[-1:] + X)
        assert heard(caller) == [CHUNK, CHUNK]


class TestCutStreams:
    """A stream that does not end as it should. botocore ends its iteration without a word in most of these cases."""

    @pytest.mark.parametrize("status", [b"200 OK", b"202 Accepted", b"204 No Content", b"299 X"])
    def test_no_messages(self, status: bytes) -> None:
        """botocore: an empty stream."""
        wire = b"HTTP/1.1 " + status + b"\r\n" + (b"" if status.startswith(b"204") else b"Content-Length: 0\r\n")
        events, fault, _ = fault_of(wire + b"\r\n")
        reason = "expected InvokeComplete before the end of the response"
        said = f"the service sent what it may not: expected {names.EVENT_STREAM}, got '': {reason}"
        assert (events, fault) == ([ACCEPTED], said)
        events, fault, _ = fault_of(_with_type(wire + b"\r\n", names.EVENT_STREAM))
        assert (events, fault) == ([ACCEPTED], f"the service sent what it may not: {reason}")

    @FRAMINGS
    def test_no_completion(self, framed: object) -> None:
        """The body is whole, the response is not (ES-MESSAGE-16)."""
        assert callable(framed)
        wire: bytes = framed(X)
        events, fault, caller = fault_of(wire, eof=True)
        assert events == [ACCEPTED, CHUNK]
        assert "expected InvokeComplete" in fault
        assert_silenced(caller)

    @FRAMINGS
    @pytest.mark.parametrize("left", [1, 11, 12, 101])
    def test_a_truncated_message(self, framed: object, left: int) -> None:
        """Also after the completion, and it says where (ES-FRAME-11)."""
        assert callable(framed)
        wire: bytes = framed(X, END[:left])
        events, fault, _ = fault_of(wire, eof=True)
        assert events == [ACCEPTED, CHUNK]
        assert f"and then the end of the stream (at byte {len(X) + left})" in fault
        wire = framed(END, X[:left])
        assert "then the end of the stream" in fault_of(wire, eof=True)[1] or left > len(X)

    @pytest.mark.parametrize("wire", [counted(X, END)[:-1], chunked(X, END, end=b"")])
    def test_a_lost_connection(self, wire: bytes) -> None:
        """HTTP says that more was to come: nobody's fault (urllib3: ``ProtocolError`` when chunked, else nothing)."""
        whole = [COMPLETE] if wire.endswith(b"\r\n") else []
        events, caller = hear(wire, eof=True)
        assert events == [ACCEPTED, CHUNK, *whole, CLOSED]
        assert_silenced(caller)
        assert heard(caller) == [CLOSED]

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (END[:-1] + b"\0", "message CRC"),
            (END[:8] + b"\0\0\0\0" + END[12:], "prelude CRC"),
            (b"\0" * 16, "prelude CRC"),
            (b"<html>not a stream</html>", "prelude CRC"),
            (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + END, "prelude CRC"),
            (prelude(12, 0) + bytes(4), "expected a total length of 16 or more, got 12"),
            (prelude(0, 0) + bytes(4), "expected a total length of 16 or more, got 0"),
            (prelude(20, 8) + bytes(8), "headers length 8 exceeds total length 20"),
            (message(b"", message_type="alarm"), "expected :message-type event"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read(self, bad: bytes, reason: str) -> None:
        """Bad checksums, bytes that are no messages, a compressed body: what came before was given."""
        events, fault, caller = fault_of(chunked(X, X, bad))
        assert events == [ACCEPTED, CHUNK, CHUNK]
        assert fault.startswith("the service sent what it may not: ")
        assert reason in fault
        assert_silenced(caller)

    @pytest.mark.parametrize(("wire", "rule"), [(counted(X), "ES-MESSAGE-12"), (counted(END, X), "ES-MESSAGE-14")])
    def test_the_rule_that_is_broken(self, wire: bytes, rule: str) -> None:
        """Is named by what the fault comes from, for whoever explains it."""
        caller = asking()
        caller.receive_data(wire)
        with pytest.raises(RemoteProtocolError) as caught:
            heard(caller)
        assert isinstance(caught.value.__cause__, Malformed)
        assert caught.value.__cause__.rule == rule

    @FRAMINGS
    def test_what_is_no_stream_says_what_it_is(self, framed: object) -> None:
        """Where not one message could be read. The right content type, in any case, is not worth a word.

        It shows IN-STREAM-7.
        """
        assert callable(framed)
        wire: bytes = framed(b"<html>not a stream</html>")
        events, plain, _ = fault_of(_with_type(wire, names.EVENT_STREAM))
        assert events == [ACCEPTED]
        assert plain.startswith("the service sent what it may not: expected prelude CRC ")
        reason = plain.partition(": ")[2]
        assert fault_of(_with_type(wire, "Application/VND.amazon.eventstream ; a=b; c=d"))[1] == plain
        for kind in ("text/html", "text/html; charset=utf-8", ""):
            events, fault, caller = fault_of(_with_type(wire, kind))
            assert events == [ACCEPTED]
            assert fault == f"the service sent what it may not: expected {names.EVENT_STREAM}, got {kind!r}: {reason}"
            assert_silenced(caller)

    @FRAMINGS
    def test_a_stream_by_another_name_is_one(self, framed: object) -> None:
        """Once a message was read, its content type explains nothing; nor that of the answer before."""
        assert callable(framed)
        for first in (X, message(b"", event_type="Other")):
            wire: bytes = framed(first, b"<html>not a stream</html>")
            faults = {fault_of(_with_type(wire, kind))[1] for kind in (names.EVENT_STREAM, "text/html", "")}
            assert len(faults) == 1
            assert names.EVENT_STREAM not in faults.pop()
        caller = asking()
        caller.receive_data(_with_type(counted(X, END), "text/html"))
        assert heard(caller) == [ACCEPTED, CHUNK, COMPLETE]
        caller.send(STREAMED)
        caller.receive_data(_with_type(counted(b"x" * 16), names.EVENT_STREAM))
        assert caller.next_event() == ACCEPTED
        with pytest.raises(RemoteProtocolError) as caught:
            caller.next_event()
        assert names.EVENT_STREAM not in str(caught.value)

    def test_a_long_content_type_is_cut(self) -> None:
        """A peer is quoted, but not at any length."""
        assert len(fault_of(_with_type(counted(b"x" * 16), "x" * 5000))[1]) < 400


def _with_type(wire: bytes, content_type: str) -> bytes:
    """Return an answer with a content type; with none, when it is empty."""
    line = f"Content-Type: {content_type}\r\n" if content_type else ""
    return wire.replace(b"\r\n", b"\r\n" + line.encode("ascii"), 1)


class TestConnection:
    """One call after the other."""

    def test_kept_alive(self) -> None:
        """The call is over when its body's end was read, and not with its completion (IN-STREAM-17)."""
        caller = asking()
        wire = chunked(X, END)
        caller.receive_data(wire[:-5])
        assert heard(caller) == [ACCEPTED, CHUNK, COMPLETE]
        assert (caller.awaiting_answer, caller.must_close) == (True, False)
        with pytest.raises(LocalProtocolError, match="ANSWERING"):
            caller.send(CALL)
        caller.receive_data(wire[-5:])
        assert caller.awaiting_answer
        assert caller.next_event() is NEED_DATA
        assert not caller.awaiting_answer
        caller.send(CALL)
        caller.receive_data(WHOLE)
        assert heard(caller) == [ANSWERED]
        caller.send(STREAMED)
        caller.receive_data(wire)
        assert heard(caller) == [ACCEPTED, CHUNK, COMPLETE]

    def test_nothing_is_left_of_the_call_before(self) -> None:
        """A stream that was refused, then whole answers and streams in turn."""
        caller = asking()
        caller.receive_data(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert heard(caller) == [InvokeRefused(status=404)]
        for _ in range(2):
            caller.send(CALL)
            caller.receive_data(WHOLE)
            assert heard(caller) == [ANSWERED]
            caller.send(STREAMED)
            caller.receive_data(counted(END))
            assert heard(caller) == [ACCEPTED, COMPLETE]

    def test_more_than_was_asked_for(self) -> None:
        """An answer behind the answer would pass for the next one's."""
        caller = asking(CALL)
        caller.receive_data(WHOLE + WHOLE)
        assert caller.next_event() == ANSWERED
        assert caller.must_close
        with pytest.raises(LocalProtocolError, match="must be closed"):
            caller.send(CALL)
        with pytest.raises(RemoteProtocolError, match="expected nothing"):
            caller.next_event()

    def test_given_up(self) -> None:
        """Nothing more is heard, whatever has arrived: no chunk, no fault."""
        for wire in (chunked(X, X, END), chunked(X, b"x" * 16), WHOLE):
            caller = asking()
            caller.receive_data(wire)
            assert caller.next_event() == ACCEPTED
            if wire is not WHOLE:
                assert caller.next_event() == CHUNK
            caller.abandon()
            caller.receive_data(X)
            assert heard(caller) == [CLOSED]
            assert heard(caller) == [CLOSED]
            assert_silenced(caller)

    def test_given_up_between_calls(self) -> None:
        """Nothing is sent on it any more."""
        caller = asking(None)
        caller.abandon()
        assert_silenced(caller)
        assert heard(caller) == [CLOSED]

    def test_not_written_whole(self) -> None:
        """No answer is due to half a call; a refusal may come all the same."""
        caller = asking()
        caller.send_failed()
        assert (caller.awaiting_answer, caller.must_close) == (False, True)
        caller.receive_data(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        assert heard(caller) == [InvokeRefused(status=413)]
        assert_silenced(caller)

    def test_the_end_between_calls(self) -> None:
        """And says so again."""
        caller = asking(None)
        caller.receive_data(b"")
        assert heard(caller) == [CLOSED]
        assert heard(caller) == [CLOSED]

    @pytest.mark.parametrize(
        "wire",
        [b"x\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
         b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000), chunked(X, end=b"x\r\n"),
         b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"],
    )  # fmt: skip
    def test_what_is_no_http(self, wire: bytes) -> None:
        """Every later call says the same."""
        _, fault, caller = fault_of(wire)
        for _ in range(2):
            with pytest.raises(RemoteProtocolError) as caught:
                caller.next_event()
            assert str(caught.value) == fault
        caller.receive_data(WHOLE)
        caller.abandon()
        assert_silenced(caller)

    @pytest.mark.parametrize("size", [24 * 1024 * 1024 + 1, 2**32 - 17])
    def test_a_huge_message_is_waited_for(self, size: int) -> None:
        """The specification forbids a client to enforce limits (botocore: ``InvalidPayloadLength``)."""
        assert hear(until_close(prelude(size + 16, 0)))[0] == [ACCEPTED]

    @settings(max_examples=30)
    @given(
        size=st.integers(65_000, 300_000),
        framing=st.sampled_from(["counted", "chunked", "until close"]),
        status=st.sampled_from([b"200", b"404"]),
        streaming=st.booleans(),
        there=st.lists(st.booleans(), min_size=1, max_size=4),
    )
    def test_a_large_whole_answer(
        self, size: int, framing: str, status: bytes, streaming: bool, there: list[bool]
    ) -> None:
        """May be received where it belongs, and comes as it was sent; a stream is lent nothing."""
        body = bytes(range(251)) * (size // 251)
        fields = {"counted": b"Content-Length: %d\r\n" % len(body), "chunked": b"Transfer-Encoding: chunked\r\n"}
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if framing == "chunked" else body
        wire = b"HTTP/1.1 %b A\r\nX-Amzn-ErrorType: E\r\n%b\r\n%b" % (status, fields.get(framing, b""), data)
        caller = InvokeConnection(host="h:1", max_payload=size)
        caller.send(STREAMED if streaming else CALL)
        streamed = streaming and status == b"200"
        events: list[InvokeEvent] = []
        at, lent, turns = 0, 0, cycle(there)
        while at < len(wire) and not (streamed and at > 1000):
            piece, into = wire[at : at + 1000], caller.receive_buffer
            if into is None or not next(turns):
                caller.receive_data(piece)
            else:
                piece = piece[: len(into)]
                into[: len(piece)] = piece
                caller.receive_data(into[: len(piece)])
                lent += len(piece)
            at += len(piece)
            if not streamed:
                events += heard(caller)
        if streamed:
            assert caller.next_event() == ACCEPTED
            assert (caller.receive_buffer, lent) == (None, 0)
            return
        if framing == "until close":
            caller.receive_data(b"")
            events += heard(caller)[:1]
        else:
            assert caller.idle
            assert (lent > 0) == (any(there) and len(body) > 70_000) or len(body) <= 70_000
        (event,) = events
        assert caller.receive_buffer is None
        if status == b"200":
            assert isinstance(event, InvokeAnswered)
            assert event.payload == body
        else:
            assert isinstance(event, InvokeRefused)

    @pytest.mark.parametrize("answered", [True, False])
    def test_idle(self, answered: bool) -> None:
        """Before a call and after its answer; never again once a call was not written whole."""
        caller = asking(None)
        assert caller.idle
        caller.send(CALL)
        assert not caller.idle
        if answered:
            caller.receive_data(WHOLE)
            assert heard(caller) == [ANSWERED]
        assert caller.idle is answered
        caller.send_failed()
        assert not caller.idle

    def test_a_long_stream_is_not_held(self) -> None:
        """Memory is that of a message, whatever the number of messages."""
        caller = asking()
        caller.receive_data(until_close())
        assert heard(caller) == [ACCEPTED]
        large = encode_event_stream(encode_message(PayloadChunk(payload=bytes(100_000))))
        tracemalloc.start()
        try:
            for _ in range(100):
                caller.receive_data(large)
                assert len(heard(caller)) == 1
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


PARTS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 A\r\n", b"HTTP/1.1 204 A\r\n\r\n", b"HTTP/1.1 100 A\r\n\r\n",
    b"HTTP/1.0 200\r\n", b"X-Amzn-ErrorType: E:x\r\n", b"Content-Length: 2\r\n", b"Content-Length: 102\r\n",
    b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"\n", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n",
    b"\0", b"x" * 40, X, END, FAILED, END[:20], END[20:], WHOLE, MINIMAL, counted(X, END), chunked(X), chunked(X, END),
    b"%x\r\n%b\r\n" % (len(X), X), b"66\r\n%b\r\n" % END, message(b"", event_type="Other"),
    message(b"", message_type="alarm"),
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

    @settings(max_examples=50)
    @given(at=st.integers(0, 500), put=st.binary(max_size=4), wire=st.sampled_from([MINIMAL, chunked(X, END), WHOLE]))
    def test_with_a_mistake(self, at: int, put: bytes, wire: bytes) -> None:
        """A right answer with some bytes overwritten."""
        one_input(wire[:at] + put + wire[at + len(put) :])
