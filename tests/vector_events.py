"""The events of the roles as the vectors write them: plain objects with the wire's own names, there and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from lambda_wire._events import (
    Accepted,
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
)
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    OtherAsked,
    PayloadChunk,
)

Plain: TypeAlias = dict[str, Any]  # Any: JSON, with bytes
Words: TypeAlias = Mapping[type, tuple[str, Mapping[str, str]]]
"""Each event: what it is called, and the name of each of its fields."""

_RESPONSE: Final = {
    "request_id": "id",
    "content_type": "Content-Type",
    "invocation_id": "Lambda-Runtime-Invocation-Id",
}
_ERROR: Final = {
    "error_type": "Lambda-Runtime-Function-Error-Type",
    "content_type": "Content-Type",
    "payload": "body",
}
_CAUSE: Final = {"xray_cause": "Lambda-Runtime-Function-XRay-Error-Cause"}

RUNTIME_API: Final[Words] = {
    NextAsked: ("next", {}),
    BufferedResponse: ("response", {**_RESPONSE, "payload": "body"}),
    ResponseStarted: (
        "response-start",
        {**_RESPONSE, "response_mode": "Lambda-Runtime-Function-Response-Mode"},
    ),
    ResponseChunk: ("data", {"data": "body"}),
    ResponseFinished: ("response-end", {}),
    ResponseFailed: (
        "response-failed",
        {"error_type": "Lambda-Runtime-Function-Error-Type", "error_body": "Lambda-Runtime-Function-Error-Body"},
    ),
    ErrorReported: (
        "error",
        {"request_id": "id", "invocation_id": "Lambda-Runtime-Invocation-Id", **_ERROR, **_CAUSE},
    ),
    InitErrorReported: ("init/error", {**_ERROR, **_CAUSE}),
    RestoreAsked: ("restore/next", {}),
    RestoreErrorReported: ("restore/error", _ERROR),
    PingAsked: ("ping", {}),
    ContinueAsked: ("expects-continue", {}),
    Invocation: (
        "invocation",
        {
            "request_id": "Lambda-Runtime-Aws-Request-Id",
            "deadline_ms": "Lambda-Runtime-Deadline-Ms",
            "invoked_function_arn": "Lambda-Runtime-Invoked-Function-Arn",
            "trace_id": "Lambda-Runtime-Trace-Id",
            "client_context": "Lambda-Runtime-Client-Context",
            "cognito_identity": "Lambda-Runtime-Cognito-Identity",
            "tenant_id": "Lambda-Runtime-Aws-Tenant-Id",
            "invocation_id": "Lambda-Runtime-Invocation-Id",
            "content_type": "Content-Type",
            "payload": "body",
        },
    ),
    Accepted: ("accepted", {}),
    Refused: (
        "refused",
        {"status": "status", "error_type": "errorType", "error_message": "errorMessage", "allow": "Allow"},
    ),
    RestoreReady: ("restored", {}),
    Pong: ("pong", {}),
    Continue: ("continue", {}),
    ConnectionClosed: ("closed", {}),
}
_ANSWERED: Final = {
    "executed_version": "X-Amz-Executed-Version",
    "request_id": "X-Amzn-RequestId",
    "trace_id": "X-Amzn-Trace-Id",
}
INVOKE: Final[Words] = {
    InvokeAsked: (
        "Invoke",
        {
            "function_name": "FunctionName",
            "qualifier": "Qualifier",
            "invocation_type": "X-Amz-Invocation-Type",
            "log_type": "X-Amz-Log-Type",
            "client_context": "X-Amz-Client-Context",
            "tenant_id": "X-Amz-Tenant-Id",
            "trace_id": "X-Amzn-Trace-Id",
            "payload": "body",
        },
    ),
    OtherAsked: ("other", {"method": "method", "target": "target", "body": "body"}),
    ContinueAsked: ("expects-continue", {}),
    InvokeAnswered: (
        "answer",
        {
            "status": "status",
            "content_type": "Content-Type",
            "function_error": "X-Amz-Function-Error",
            "log_result": "X-Amz-Log-Result",
            **_ANSWERED,
            "payload": "body",
        },
    ),
    InvokeAccepted: ("stream", {"content_type": "X-Amzn-Remapped-Content-Type", **_ANSWERED}),
    PayloadChunk: ("PayloadChunk", {"payload": "Payload"}),
    InvokeComplete: (
        "InvokeComplete",
        {"error_code": "ErrorCode", "error_details": "ErrorDetails", "log_result": "LogResult"},
    ),
    InvokeFailed: ("failed", {"error_code": ":error-code", "message": ":error-message"}),
    InvokeRefused: (
        "refused",
        {"status": "status", "error_type": "x-amzn-ErrorType", "message": "message", "request_id": "X-Amzn-RequestId"},
    ),
    Continue: ("continue", {}),
    ConnectionClosed: ("closed", {}),
}
STREAMING: Final = "InvokeWithResponseStream"

#: What says no more than that the field is absent.
_DEFAULTS: Final = ("RequestResponse", "None", "buffered")


def plain(event: object, words: Words) -> Plain:
    """Return an event as the vectors write it: without what is absent."""
    name, fields = words[type(event)]
    said: Plain = {"event": STREAMING if isinstance(event, InvokeAsked) and event.streaming else name}
    for attribute, member in fields.items():
        value = getattr(event, attribute)
        if value and not (isinstance(value, str) and value in _DEFAULTS):
            said[member] = str(value) if attribute == "deadline_ms" else value
    return said


def event(said: Plain, words: Words) -> Any:  # any event; Any because they have no common type
    """Return the event that an object of the vectors stands for.

    Raises:
        Malformed: It cannot be said.
    """
    wanted = "Invoke" if said["event"] == STREAMING else said["event"]
    kind, fields = next((kind, fields) for kind, (name, fields) in words.items() if name == wanted)
    unknown = said.keys() - {"event", "by", "wire", *fields.values()}
    if unknown:
        raise ValueError(f"{wanted} has no {sorted(unknown)}")
    given: dict[str, Any] = {attribute: said[member] for attribute, member in fields.items() if member in said}
    for attribute, absent in (
        ("content_type", ""),
        ("payload", b""),
        ("error_body", b""),
        ("error_type", ""),
        ("response_mode", "buffered"),
    ):
        if attribute in fields:
            given.setdefault(attribute, absent)
    if "deadline_ms" in given:
        given["deadline_ms"] = int(given["deadline_ms"])
    if said["event"] == STREAMING:
        given["streaming"] = True
    return kind(**given)


def joined(events: list[Plain]) -> Iterator[Plain]:
    """Yield events with what means nothing taken away: where pieces end, and how a buffered response was framed."""
    held: Plain | None = None
    for said in events:
        if held is not None and said["event"] == held["event"] == "data":
            held["body"] += said["body"]
            continue
        if held is not None:
            yield held
        held = dict(said)
    if held is not None:
        yield held


def unframed(events: list[Plain]) -> list[Plain]:
    """Return events with each response that came in chunks without being a stream as the buffered one that it is."""
    found = list(joined(events))
    for at, said in enumerate(found):
        if said["event"] == "response-start" and "Lambda-Runtime-Function-Response-Mode" not in said:
            body = [each for each in found[at + 1 :] if each["event"] == "data"][:1]
            if [each["event"] for each in found[at + 1 :]] == ["data"] * len(body) + ["response-end"]:
                return [*found[:at], {**said, **(body[0] if body else {}), "event": "response"}]
    return found
