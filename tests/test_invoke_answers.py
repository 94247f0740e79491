"""What the service answers its callers: what one end writes as heads, documents and messages, the other reads."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_wire._event_stream import EventStreamHeader, EventStreamMessage, HeaderType, encode_event_stream
from lambda_wire._invoke_answers import (
    decode_accepted,
    decode_answered,
    decode_message,
    decode_refusal,
    encode_accepted,
    encode_answered,
    encode_message,
    encode_refusal,
)
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._malformed import Malformed
from lambda_wire._messages import ResponseHead
from lambda_wire._types import Headers
from tests.real_parts import need_module

UTF8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
NAMES = st.just("") | st.text("AZaz09.-_!$", min_size=1, max_size=20)
OTHERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.sampled_from(["retry-after", "allow", "x-amzn-remapped-content-length", "!#$"]), VALUES), max_size=3
).map(tuple)
ANSWERED = st.builds(
    InvokeAnswered,
    payload=st.binary(max_size=20),
    status=st.integers(200, 299).filter(lambda status: status != 204),
    content_type=VALUES,
    function_error=VALUES,
    log_result=VALUES,
    executed_version=VALUES,
    request_id=VALUES,
    trace_id=VALUES,
    headers=OTHERS,
)
ACCEPTED = st.builds(
    InvokeAccepted,
    content_type=VALUES,
    executed_version=VALUES,
    request_id=VALUES,
    trace_id=VALUES,
    headers=OTHERS,
)
REFUSED = st.builds(
    InvokeRefused,
    status=st.integers(300, 599).filter(lambda status: status != 304),
    error_type=NAMES,
    message=UTF8,
    request_id=VALUES,
    headers=OTHERS,
)
CHUNKS = st.builds(PayloadChunk, payload=st.binary(max_size=20))
COMPLETE = st.builds(InvokeComplete, error_code=UTF8, error_details=UTF8, log_result=UTF8)
FAILED = st.builds(InvokeFailed, error_code=UTF8, message=UTF8)


def head(fields: Headers, status: int = 200) -> ResponseHead:
    """Return a head as a reader gives it."""
    return ResponseHead(status=status, headers=tuple((name.lower(), value) for name, value in fields), keep_alive=True)


def refusal(body: bytes, *fields: tuple[str, str], status: int = 404) -> InvokeRefused:
    return decode_refusal(head(fields, status), body)


def message(*headers: tuple[str, str], payload: bytes = b"") -> EventStreamMessage:
    return EventStreamMessage(
        headers=tuple(EventStreamHeader(name=name, value=value) for name, value in headers), payload=payload
    )


class TestInverse:
    """What is written is read."""

    @given(ANSWERED)
    def test_whole(self, event: InvokeAnswered) -> None:
        """Fields and payload."""
        assert decode_answered(head(encode_answered(event), event.status), event.payload) == event

    @given(ACCEPTED)
    def test_streamed(self, event: InvokeAccepted) -> None:
        """The function's content type is not the message's."""
        assert decode_accepted(head(encode_accepted(event))) == event

    @given(REFUSED)
    def test_refused(self, event: InvokeRefused) -> None:
        """Fields and document, with a type or without."""
        fields, body = encode_refusal(event)
        assert decode_refusal(head(fields, event.status), body) == event

    @given(CHUNKS | COMPLETE | FAILED)
    def test_messages(self, event: PayloadChunk | InvokeComplete | InvokeFailed) -> None:
        """Headers and payload."""
        assert decode_message(encode_message(event)) == event


class TestHeads:
    """Fields in the order in which AWS was recorded to send them."""

    def test_whole(self) -> None:
        """Content type first, then what the service adds."""
        event = InvokeAnswered(
            content_type="a/b",
            function_error="Unhandled",
            log_result="bG9n",
            executed_version="$LATEST",
            request_id="id",
            trace_id="Root=1",
            headers=(("x-amzn-remapped-content-length", "0"),),
        )
        assert encode_answered(event) == (
            ("Content-Type", "a/b"),
            ("X-Amzn-RequestId", "id"),
            ("X-Amz-Function-Error", "Unhandled"),
            ("x-amzn-remapped-content-length", "0"),
            ("X-Amz-Executed-Version", "$LATEST"),
            ("X-Amz-Log-Result", "bG9n"),
            ("X-Amzn-Trace-Id", "Root=1"),
        )

    def test_streamed(self) -> None:
        """The function's content type last."""
        event = InvokeAccepted(
            content_type="a/b", executed_version="1", request_id="id", trace_id="Root=1", headers=(("x-more", "1"),)
        )
        assert encode_accepted(event) == (
            ("Content-Type", "application/vnd.amazon.eventstream"),
            ("X-Amzn-RequestId", "id"),
            ("X-Amz-Executed-Version", "1"),
            ("X-Amzn-Trace-Id", "Root=1"),
            ("X-Amzn-Remapped-Content-Type", "a/b"),
            ("x-more", "1"),
        )

    def test_what_is_empty_is_left_out(self) -> None:
        """But for what a streamed answer is."""
        assert encode_answered(InvokeAnswered(content_type="")) == ()
        assert encode_accepted(InvokeAccepted()) == (("Content-Type", "application/vnd.amazon.eventstream"),)

    def test_fields_of_the_message_are_dropped(self) -> None:
        """They say nothing of the call; ``X-Amz-Function-Error`` is not used in a stream (recorded)."""
        fields = (("date", "d"), ("connection", "close"), ("content-length", "2"), ("x-amzn-requestid", "id"))
        assert decode_answered(head((*fields, ("x-b", "1"))), b"") == InvokeAnswered(
            content_type="", request_id="id", headers=(("x-b", "1"),)
        )
        assert decode_accepted(head((*fields, ("x-amz-function-error", "E")))) == InvokeAccepted(request_id="id")


class TestRefusals:
    """What is said by who did not call the function."""

    def test_documents(self) -> None:
        """As the service writes them: a type of error, and whose fault it is (IN-ERROR-9, IN-ERROR-10)."""
        refused = InvokeRefused(
            status=429, error_type="TooManyRequestsException", message="m", request_id="id", headers=(("a", "b"),)
        )
        assert encode_refusal(refused) == (
            (
                ("Content-Type", "application/json"),
                ("X-Amzn-RequestId", "id"),
                ("X-Amzn-ErrorType", "TooManyRequestsException"),
                ("a", "b"),
            ),
            b'{"Type":"User","message":"m"}',
        )
        assert encode_refusal(InvokeRefused(status=500, error_type="E"))[1] == b'{"Type":"Service","message":""}'
        assert encode_refusal(InvokeRefused(status=502, message="m")) == (
            (("Content-Type", "application/json"),), b'{"Message":"m"}',
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("header", "body", "error_type", "text"),
        [
            ("ResourceNotFoundException", b'{"Type":"User","message":"m"}', "ResourceNotFoundException", "m"),
            ("A:http://internal.amazon.com/coral/com.amazon/", b'{"Message":"m"}', "A", "m"),
            ("aws.lambda#A", b"{}", "A", "{}"),
            ("ns#A:http://x/#y", b"", "A", ""),
            ("", b'{"__type":"com.amazon#A","message":"m"}', "A", "m"),
            ("", b'{"code":"A:x","__type":"B","message":"","Message":"M"}', "A", "M"),
            ("A", b'{"code":"B"}', "A", ""),
            ("a b", b'{"code":"B"}', "B", ""),
            ("", b'{"code":404,"message":null}', "", ""),
            ("", b'{"__type":"a\\nb","message":"\\ud800x"}', "", "?x"),
            ("", b'{"message":{"a":1}}', "", ""),
            ("", b"<html>502 Bad Gateway</html>", "", "<html>502 Bad Gateway</html>"),
            ("", b"\xff\x00", "", "\ufffd\x00"),
            ("", b"[1]", "", "[1]"),
            ("", b'"text"', "", '"text"'),
            ("", b"[" * 99_999, "", "[" * 99_999),
            ("", b"", "", ""),
        ],
    )
    def test_read(self, header: str, body: bytes, error_type: str, text: str) -> None:
        """The type from the header or the document, bare; a proxy's page as it stands; whatever it is, it is news.

        It shows IN-ERROR-12, IN-ERROR-13, IN-ERROR-14.
        """
        fields = (("X-Amzn-ErrorType", header),) if header else ()
        assert refusal(body, *fields) == InvokeRefused(status=404, error_type=error_type, message=text)

    def test_fields(self) -> None:
        """The request's id, and the others in order."""
        refused = refusal(b"", ("x-amzn-requestid", "id"), ("retry-after", "1"), ("server", "s"), ("date", "d"))
        assert refused == InvokeRefused(status=404, request_id="id", headers=(("retry-after", "1"), ("server", "s")))

    @pytest.mark.parametrize("status", [600, 999])
    def test_no_status_at_all(self, status: int) -> None:
        """HTTP has none above 599 (RFC 9110, 15)."""
        with pytest.raises(Malformed, match="status from 300 to 599"):
            refusal(b"", status=status)


class TestMessages:
    """Messages of the stream."""

    def test_written(self) -> None:
        """Headers in AWS's order, an empty document when there is nothing to say.

        It shows ES-MESSAGE-1, ES-MESSAGE-2, ES-MESSAGE-13.
        """
        assert encode_message(PayloadChunk(payload=b"x")) == message(
            (":event-type", "PayloadChunk"),
            (":content-type", "application/octet-stream"),
            (":message-type", "event"),
            payload=b"x",
        )
        complete = (
            (":event-type", "InvokeComplete"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
        assert encode_message(InvokeComplete()) == message(*complete, payload=b"{}")
        ended = InvokeComplete(error_code="E", error_details='{"a":"\u00e9"}', log_result="bG9n")
        assert encode_message(ended) == message(
            *complete, payload=b'{"ErrorCode":"E","ErrorDetails":"{\\"a\\":\\"\\u00e9\\"}","LogResult":"bG9n"}'
        )
        assert encode_message(InvokeFailed(error_code="E", message="m")) == message(
            (":error-code", "E"), (":error-message", "m"), (":message-type", "error")
        )

    def test_as_recorded(self) -> None:
        """The last message of a plain answer, byte for byte (Kong's aws-lambda plugin, as recorded for its tests).

        It shows ES-MESSAGE-12.
        """
        assert encode_event_stream(encode_message(InvokeComplete())) == bytes.fromhex(
            "00000066 00000054 1f56c869"
            "0b3a6576656e742d74797065 07 000e 496e766f6b65436f6d706c657465"
            "0d3a636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e"
            "0d3a6d6573736167652d74797065 07 0005 6576656e74"
            "7b7d 7006d467"
        )  # fmt: skip

    def test_too_long_for_a_header(self) -> None:
        """An error message travels in one."""
        with pytest.raises(Malformed, match="32767"):
            encode_message(InvokeFailed(error_code="E", message="x" * 32_768))

    @pytest.mark.parametrize("kind", [(), ((":message-type", "event"),)])
    def test_events(self, kind: tuple[tuple[str, str], ...]) -> None:
        """A message without a type is an event (botocore); one without a name, or with another, is skipped.

        It shows ES-MESSAGE-3, ES-MESSAGE-6.
        """
        assert decode_message(message((":event-type", "PayloadChunk"), *kind, payload=b"x")) == PayloadChunk(
            payload=b"x"
        )
        assert decode_message(message((":event-type", "InvokeComplete"), *kind)) == InvokeComplete()
        for name in ("payloadchunk", "initial-response", "x"):
            assert decode_message(message((":event-type", name), *kind, payload=b"x")) is None
        assert decode_message(message(*kind)) is None

    @pytest.mark.parametrize(
        ("document", "event"),
        [
            (b"", InvokeComplete()),
            (b"{}", InvokeComplete()),
            (b"null", InvokeComplete()),
            (b"{", InvokeComplete()),
            (b"[1]", InvokeComplete()),
            (b'{"ErrorCode":null,"ErrorDetails":1,"LogResult":{},"x":"y"}', InvokeComplete()),
            (b'{"ErrorCode":"E","ErrorDetails":"\\ud800","LogResult":"bG9n"}',
             InvokeComplete(error_code="E", error_details="?", log_result="bG9n")),
        ],
    )  # fmt: skip
    def test_completions(self, document: bytes, event: InvokeComplete) -> None:
        """What cannot be read says nothing: it is complete all the same (botocore; ES-MESSAGE-17)."""
        assert decode_message(message((":event-type", "InvokeComplete"), payload=document)) == event

    @pytest.mark.parametrize(
        ("payload", "text"),
        [(b'{"message":"m"}', "m"), (b'{"Message":"m"}', "m"), (b'{"a":1}', ""), (b"", ""), (b"\xff", "\ufffd")],
    )
    def test_exceptions(self, payload: bytes, text: str) -> None:
        """Their type in a header, what they say in the payload (ES-MESSAGE-27)."""
        failed = message((":message-type", "exception"), (":exception-type", "ThrottlingException"), payload=payload)
        assert decode_message(failed) == InvokeFailed(error_code="ThrottlingException", message=text)

    def test_errors(self) -> None:
        """Both in headers, or left out (ES-MESSAGE-28)."""
        headers = ((":error-code", "E"), (":error-message", "m"))
        assert decode_message(message((":message-type", "error"), *headers)) == InvokeFailed(
            error_code="E", message="m"
        )
        assert decode_message(message((":message-type", "error"), payload=b"x")) == InvokeFailed(error_code="")

    def test_types_that_nobody_knows(self) -> None:
        """The specification has three: what another means cannot be guessed (ES-MESSAGE-5, ES-MESSAGE-31)."""
        with pytest.raises(Malformed, match="event, exception or error, got 'alarm'") as caught:
            decode_message(message((":message-type", "alarm")))
        assert caught.value.rule == "ES-MESSAGE-31"
        number = EventStreamHeader(name=":message-type", value=1, type=HeaderType.INTEGER)
        assert decode_message(EventStreamMessage(headers=(number,))) is None


# -- beside AWS's SDK


@pytest.fixture(scope="module")
def operations() -> Any:  # botocore is not typed
    """Return botocore's model of Lambda."""
    need_module("botocore")
    return importlib.import_module("botocore.session").get_session().get_service_model("lambda").operation_model


def parsed(operation: Any, fields: Headers, status: int, body: bytes) -> Any:
    """Return what botocore makes of a whole answer. Its fields are text in Latin-1, as from http.client."""
    structures = importlib.import_module("botocore.awsrequest")
    headers = structures.HeadersDict(
        {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in fields}
    )
    response = {"headers": headers, "status_code": status, "body": body, "context": {"operation_name": operation.name}}
    return importlib.import_module("botocore.parsers").RestJSONParser().parse(response, operation.output_shape)


def test_botocore_hears_of_messages_what_was_said(operations: Any) -> None:
    """Every member of every message."""
    parser: Any = importlib.import_module("botocore.parsers").EventStreamJSONParser()
    buffer: Any = importlib.import_module("botocore.eventstream").EventStreamBuffer()
    said: list[PayloadChunk | InvokeComplete | InvokeFailed] = [
        PayloadChunk(payload=b"\x00\xff"),
        PayloadChunk(payload=b""),
        InvokeComplete(),
        InvokeComplete(error_code="E", error_details='{"a":"\u00e9\x7f"}', log_result="bG9n"),
        InvokeFailed(error_code="E", message="\u2603"),
    ]
    for event in said:
        buffer.add_data(encode_event_stream(encode_message(event)))
    shape = operations("InvokeWithResponseStream").output_shape.members["EventStream"]
    heard = [parser.parse(found.to_response_dict(), shape) for found in buffer]
    assert heard[:4] == [
        {"PayloadChunk": {"Payload": b"\x00\xff"}},
        {"PayloadChunk": {"Payload": b""}},
        {"InvokeComplete": {}},
        {"InvokeComplete": {"ErrorCode": "E", "ErrorDetails": '{"a":"\u00e9\x7f"}', "LogResult": "bG9n"}},
    ]
    assert heard[4]["Error"] == {"Code": "E", "Message": "\u2603"}


@settings(max_examples=50)
@given(event=st.builds(InvokeRefused, status=st.integers(400, 499), error_type=NAMES.filter(bool), message=UTF8))
def test_botocore_hears_of_refusals_what_was_said(operations: Any, event: InvokeRefused) -> None:
    """Code and message."""
    fields, body = encode_refusal(event)
    error = parsed(operations("Invoke"), fields, event.status, body)["Error"]
    assert (error["Code"], error["Message"]) == (event.error_type, event.message)


def test_botocore_hears_of_whole_answers_what_was_said(operations: Any) -> None:
    """Every member of the model, each from its field."""
    event = InvokeAnswered(
        payload=b"{}", status=202, function_error="Unhandled", log_result="bG9n", executed_version="7", request_id="id"
    )
    heard = parsed(operations("Invoke"), encode_answered(event), event.status, event.payload)
    assert heard.pop("ResponseMetadata")["RequestId"] == "id"
    assert heard == {
        "StatusCode": 202,
        "FunctionError": "Unhandled",
        "LogResult": "bG9n",
        "Payload": "{}",
        "ExecutedVersion": "7",
    }
