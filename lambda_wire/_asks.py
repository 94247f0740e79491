"""What a runtime asks and reports, as the header fields and the payload of a request, both ways."""

from __future__ import annotations

from lambda_wire import _names as names
from lambda_wire._events import (
    Ask,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    NextAsked,
    PingAsked,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
)
from lambda_wire._heads import field_line, field_value
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias, assert_never
else:
    from lambda_wire._typing import assert_never

__all__ = ["Request", "decode_ask", "decode_start", "encode_ask"]

_CONTENT_TYPE = names.CONTENT_TYPE.lower()
_ERROR_TYPE = names.FUNCTION_ERROR_TYPE.lower()
_INVOCATION_ID = names.INVOCATION_ID.lower()
_MODE = names.FUNCTION_RESPONSE_MODE.lower()
_XRAY_CAUSE = names.FUNCTION_XRAY_ERROR_CAUSE.lower()
_STREAMED = field_line(names.TRANSFER_ENCODING, "chunked") + field_line(
    names.TRAILER, f"{names.FUNCTION_ERROR_TYPE}, {names.FUNCTION_ERROR_BODY}"
)


Request: TypeAlias = (
    NextAsked
    | BufferedResponse
    | ResponseStarted
    | ErrorReported
    | InitErrorReported
    | RestoreAsked
    | RestoreErrorReported
    | PingAsked
)
"""An ``Ask`` that begins a request."""


def encode_ask(event: Request) -> tuple[str, bytes]:
    """Return the field lines and the payload of the request that says ``event``, whose values were checked at birth.

    Empty fields are left out, so an invocation id is echoed exactly when there is one. Both error trailers are
    declared before they are needed: a service may drop undeclared ones silently (RS-TRAILER-4).
    """
    match event:
        case BufferedResponse():
            lines = field_line(names.CONTENT_TYPE, event.content_type)
            return _counted(event.payload, lines, event.invocation_id), event.payload
        case ResponseStarted():
            lines = field_line(names.CONTENT_TYPE, event.content_type)
            if event.response_mode == "streaming":
                lines += field_line(names.FUNCTION_RESPONSE_MODE, names.STREAMING)
            return f"{lines}{field_line(names.INVOCATION_ID, event.invocation_id)}{_STREAMED}", b""
        case NextAsked() | RestoreAsked() | PingAsked():
            return "", b""
        case ErrorReported():
            return _counted(event.payload, _error_lines(event, event.xray_cause), event.invocation_id), event.payload
        case InitErrorReported():
            return _counted(event.payload, _error_lines(event, event.xray_cause)), event.payload
        case RestoreErrorReported():
            return _counted(event.payload, _error_lines(event)), event.payload
        case _ as never:
            return assert_never(never)


def _counted(payload: bytes, lines: str, invocation_id: str = "") -> str:
    echoed = field_line(names.INVOCATION_ID, invocation_id)
    return f"{lines}{echoed}{names.CONTENT_LENGTH}: {len(payload)}\r\n"


def _error_lines(event: ErrorReported | InitErrorReported | RestoreErrorReported, xray_cause: str = "") -> str:
    content_type = field_line(names.CONTENT_TYPE, event.content_type)
    error_type = field_line(names.FUNCTION_ERROR_TYPE, event.error_type)
    return f"{content_type}{error_type}{field_line(names.FUNCTION_XRAY_ERROR_CAUSE, xray_cause)}"


def decode_start(request_id: str, headers: Headers) -> ResponseStarted:
    """Return the start of a response whose body follows; the mode has been checked."""
    mode: Literal["streaming", "buffered"] = "streaming" if field_value(headers, _MODE) else "buffered"
    return ResponseStarted(
        request_id=request_id,
        content_type=field_value(headers, _CONTENT_TYPE),
        invocation_id=field_value(headers, _INVOCATION_ID),
        response_mode=mode,
    )


def decode_ask(ask: type, request_id: str, headers: Headers, payload: bytes) -> Ask:
    """Return the complete request of type ``ask``. The first of repeated fields wins, as in the service's own reader.

    Raises:
        Malformed: A field cannot be a field value; h11 lets some pass.
    """
    if ask is NextAsked:
        return NextAsked()
    content_type, error_type, invocation_id, xray_cause = (
        field_value(headers, name) for name in (_CONTENT_TYPE, _ERROR_TYPE, _INVOCATION_ID, _XRAY_CAUSE)
    )
    if ask is BufferedResponse:
        return BufferedResponse(
            request_id=request_id, payload=payload, content_type=content_type, invocation_id=invocation_id
        )
    if ask is ErrorReported:
        return ErrorReported(
            request_id=request_id,
            error_type=error_type,
            payload=payload,
            xray_cause=xray_cause,
            content_type=content_type,
            invocation_id=invocation_id,
        )
    if ask is InitErrorReported:
        return InitErrorReported(
            error_type=error_type, payload=payload, xray_cause=xray_cause, content_type=content_type
        )
    if ask is RestoreErrorReported:
        return RestoreErrorReported(error_type=error_type, payload=payload, content_type=content_type)
    if ask is RestoreAsked:
        return RestoreAsked()
    assert ask is PingAsked, ask
    return PingAsked()
