"""What the service answers its callers, as heads, documents and event stream messages, both ways.

Sources: AWS's service model (botocore, lambda/2015-03-31/service-2.json) for names; the order of fields and of message
headers as recorded 2026-09 (github.com/radkawar/stackd, testdata/aws/lambda/streaming.json), that of
``X-Amz-Function-Error`` among them from general knowledge of AWS.
"""

from __future__ import annotations

from typing import Final, assert_never

from lambda_wire import _names as names
from lambda_wire._event_stream import EventStreamHeader, EventStreamMessage
from lambda_wire._fields import without_surrogates
from lambda_wire._heads import field_value
from lambda_wire._invoke_events import (
    REQUEST_ID,
    SAID_ELSEWHERE,
    InvokeAccepted,
    InvokeAnswered,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
    is_error_type,
)
from lambda_wire._json import Json, json_text, parse_json
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import ResponseHead
from lambda_wire._types import Headers

__all__ = [
    "decode_accepted",
    "decode_answered",
    "decode_message",
    "decode_refusal",
    "encode_accepted",
    "encode_answered",
    "encode_message",
    "encode_refusal",
]

_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()
_ERROR_TYPE: Final = names.X_AMZN_ERROR_TYPE.lower()
_EXECUTED_VERSION: Final = names.X_AMZ_EXECUTED_VERSION.lower()
_FUNCTION_ERROR: Final = names.X_AMZ_FUNCTION_ERROR.lower()
_LOG_RESULT: Final = names.X_AMZ_LOG_RESULT.lower()
_REMAPPED_TYPE: Final = names.X_AMZN_REMAPPED_CONTENT_TYPE.lower()
_TRACE_ID: Final = names.X_AMZN_TRACE_ID.lower()


def _present(*fields: tuple[str, str]) -> Headers:
    return tuple(field for field in fields if field[1])


def _others(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] not in SAID_ELSEWHERE and pair[0] != REQUEST_ID)


# -- heads


def encode_answered(event: InvokeAnswered) -> Headers:
    """Return the fields of the head of Invoke's answer, content type first."""
    before = _present(
        (names.CONTENT_TYPE, event.content_type),
        (names.X_AMZN_REQUEST_ID, event.request_id),
        (names.X_AMZ_FUNCTION_ERROR, event.function_error),
    )
    after = _present(
        (names.X_AMZ_EXECUTED_VERSION, event.executed_version),
        (names.X_AMZ_LOG_RESULT, event.log_result),
        (names.X_AMZN_TRACE_ID, event.trace_id),
    )
    return before + event.headers + after


def decode_answered(head: ResponseHead, payload: bytes) -> InvokeAnswered:
    """Return what a whole 2xx answer says."""
    return InvokeAnswered(
        payload=payload,
        status=head.status,
        content_type=field_value(head.headers, _CONTENT_TYPE),
        function_error=field_value(head.headers, _FUNCTION_ERROR),
        log_result=field_value(head.headers, _LOG_RESULT),
        executed_version=field_value(head.headers, _EXECUTED_VERSION),
        request_id=field_value(head.headers, REQUEST_ID),
        trace_id=field_value(head.headers, _TRACE_ID),
        headers=_others(head.headers),
    )


def encode_accepted(event: InvokeAccepted) -> Headers:
    """Return the fields of the head of a streamed answer, content type first."""
    fields = _present(
        (names.CONTENT_TYPE, names.EVENT_STREAM),
        (names.X_AMZN_REQUEST_ID, event.request_id),
        (names.X_AMZ_EXECUTED_VERSION, event.executed_version),
        (names.X_AMZN_TRACE_ID, event.trace_id),
        (names.X_AMZN_REMAPPED_CONTENT_TYPE, event.content_type),
    )
    return fields + event.headers


def decode_accepted(head: ResponseHead) -> InvokeAccepted:
    """Return what the head of a streamed 2xx answer says. SDKs do not look at its content type, nor do we."""
    return InvokeAccepted(
        content_type=field_value(head.headers, _REMAPPED_TYPE),
        executed_version=field_value(head.headers, _EXECUTED_VERSION),
        request_id=field_value(head.headers, REQUEST_ID),
        trace_id=field_value(head.headers, _TRACE_ID),
        headers=_others(head.headers),
    )


# -- refusals


def encode_refusal(event: InvokeRefused) -> tuple[Headers, bytes]:
    """Return the fields and the document of a refusal. Without a type it is a function URL's (recorded)."""
    members = {names.URL_FAULT_MESSAGE: event.message}
    if event.error_type:
        whose = "User" if event.status < 500 else "Service"
        members = {names.FAULT_TYPE: whose, names.FAULT_MESSAGE: event.message}
    fields = _present(
        (names.CONTENT_TYPE, names.JSON),
        (names.X_AMZN_REQUEST_ID, event.request_id),
        (names.X_AMZN_ERROR_TYPE, event.error_type),
    )
    return fields + event.headers, json_text(members).encode("ascii")


def decode_refusal(head: ResponseHead, body: bytes) -> InvokeRefused:
    """Return what an answer outside 2xx says. Its type stands in the header or in the document."""
    document = _members(body)
    types = (field_value(head.headers, _ERROR_TYPE), _text(document, "code"), _text(document, "__type"))
    return InvokeRefused(
        status=head.status,
        error_type=next((name for name in [_shape_name(text) for text in types] if name), ""),
        message=_message(body),
        request_id=field_value(head.headers, REQUEST_ID),
        headers=_others(head.headers),
    )


def _shape_name(error_type: str) -> str:
    """Return ``Name`` of ``namespace#Name:http://...`` (IN-ERROR-13)."""
    name = error_type.partition(":")[0].rpartition("#")[2].strip()
    return name if is_error_type(name) else ""


# -- messages


def _headers(*pairs: tuple[str, str]) -> tuple[EventStreamHeader, ...]:
    return tuple(EventStreamHeader(name=name, value=value) for name, value in pairs if value)


def _event_headers(event_type: str, content_type: str) -> tuple[EventStreamHeader, ...]:
    return _headers(
        (names.EVENT_TYPE, event_type), (names.EVENT_CONTENT_TYPE, content_type), (names.MESSAGE_TYPE, "event")
    )


#: Made once, because a message whose headers are the ones written last costs least.
_CHUNK_HEADERS: Final = _event_headers(names.PAYLOAD_CHUNK, names.OCTET_STREAM)
_COMPLETE_HEADERS: Final = _event_headers(names.INVOKE_COMPLETE, names.JSON)


def encode_message(event: PayloadChunk | InvokeComplete | InvokeFailed) -> EventStreamMessage:
    """Return the message that says ``event``; its headers in AWS's order.

    Raises:
        Malformed: It does not fit a message: a payload above 24 MiB, or text of 32 KiB in a header.
    """
    match event:
        case PayloadChunk():
            return EventStreamMessage(headers=_CHUNK_HEADERS, payload=event.payload)
        case InvokeComplete():
            return EventStreamMessage(headers=_COMPLETE_HEADERS, payload=_completion(event))
        case InvokeFailed():
            return EventStreamMessage(
                headers=_headers(
                    (names.EVENT_ERROR_CODE, event.error_code),
                    (names.EVENT_ERROR_MESSAGE, event.message),
                    (names.MESSAGE_TYPE, "error"),
                )
            )
        case _ as never:
            assert_never(never)


def _completion(event: InvokeComplete) -> bytes:
    """Return the document of ``InvokeComplete``: ``{}`` when there is nothing to say (ES-MESSAGE-12)."""
    members = _present(
        (names.ERROR_CODE, event.error_code),
        (names.ERROR_DETAILS, event.error_details),
        (names.LOG_RESULT, event.log_result),
    )
    return json_text(dict(members)).encode("ascii")


def decode_message(message: EventStreamMessage) -> PayloadChunk | InvokeComplete | InvokeFailed | None:
    """Return what a message says; ``None`` for an event that this version has no name for (ES-MESSAGE-6).

    A message without ``:message-type`` is an event (ES-MESSAGE-3), and a completion that cannot be read says nothing
    (ES-MESSAGE-17).
    """
    match message.text(names.MESSAGE_TYPE):
        case "exception":
            return InvokeFailed(error_code=message.text(names.EXCEPTION_TYPE), message=_message(message.payload))
        case "error":
            return InvokeFailed(
                error_code=message.text(names.EVENT_ERROR_CODE), message=message.text(names.EVENT_ERROR_MESSAGE)
            )
        case "event" | "":
            return _decode_event(message)
        case other:
            reason = f"expected :message-type event, exception or error, got {quote(other)}"
            raise Malformed(reason, rule="ES-MESSAGE-31")


def _decode_event(message: EventStreamMessage) -> PayloadChunk | InvokeComplete | None:
    match message.text(names.EVENT_TYPE):
        case names.PAYLOAD_CHUNK:
            return PayloadChunk(payload=message.payload)
        case names.INVOKE_COMPLETE:
            members = _members(message.payload)
            return InvokeComplete(
                error_code=_text(members, names.ERROR_CODE),
                error_details=_text(members, names.ERROR_DETAILS),
                log_result=_text(members, names.LOG_RESULT),
            )
        case _:
            return None


# -- documents


def _message(body: bytes) -> str:
    """Return what an error document says; what is no document, such as a proxy's page, says itself."""
    document = _members(body)
    if not document:
        return body.decode("utf-8", "replace")
    return _text(document, names.FAULT_MESSAGE) or _text(document, names.URL_FAULT_MESSAGE)


def _members(document: bytes) -> dict[str, Json]:
    try:
        value = parse_json(document)
    except Malformed:
        return {}
    return value if isinstance(value, dict) else {}


def _text(members: dict[str, Json], name: str) -> str:
    """Return a member that is text, ``""`` for any other."""
    value = members.get(name)
    return without_surrogates(value) if isinstance(value, str) else ""
